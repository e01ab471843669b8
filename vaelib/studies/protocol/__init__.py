"""Which protocol is the paper's: candidates against its raw curves."""
