"""How the gaps move where the paper leaves a choice (Appendix A)."""
