"""The ledger as pictures and tables, and where the paper disagrees with itself (notebook 10)."""
