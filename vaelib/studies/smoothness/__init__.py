"""The density of the encoder between two images (Sec. 5.3)."""
