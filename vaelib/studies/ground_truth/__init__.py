"""Training distributions and estimators where the truth is known (Sec. 4.1, Appendix B.5)."""
