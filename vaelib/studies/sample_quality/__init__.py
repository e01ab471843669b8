"""Whether the teacher's samples can be distinguished from real images, and whether they are copies (Appendix D)."""
