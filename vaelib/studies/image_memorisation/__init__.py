"""What a VAE remembers of single training images: each left out once, its log p(x) compared."""
