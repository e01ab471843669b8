"""What each ELBO is made of: rate and distortion of the four methods, active units, bits/dim."""
