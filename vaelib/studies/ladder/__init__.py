"""A ladder of teachers, from pure memory to new real images."""
