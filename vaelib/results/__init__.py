"""Results that come with the project: :mod:`.shipped` packs and reads them, :mod:`.compare` holds a fresh build beside them."""
