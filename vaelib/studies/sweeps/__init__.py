"""What varies one thing at a time: samples, mixtures, teachers, procedures, sizes (Secs. 5.2 to 5.7, Apps. B.6 to B.8)."""
