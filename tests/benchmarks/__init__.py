"""Timings of the hot paths beside this machine's own ceilings; ``make bench``. Never asserted: machines differ."""
