"""The headline: four training distributions, one network, three gaps (Sec. 5.2)."""
