"""Timings of the hot paths beside a peer's and this machine's own ceilings; ``make bench``. Never asserted: machines differ.

Each file measures one topic and returns rows (:mod:`.table`); :mod:`.__main__` lists them all.
"""
