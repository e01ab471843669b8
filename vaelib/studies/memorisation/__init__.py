"""When does the teacher begin to memorise, and what becomes of the VAE that learns from it?"""
