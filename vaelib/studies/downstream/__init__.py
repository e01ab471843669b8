"""What the VAEs are worth in use (Sec. 5.2, Appendices F and G)."""
