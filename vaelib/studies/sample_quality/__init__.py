"""Whether the teacher's samples can be told from real images, and whether they are copies (Appendix D)."""
