"""How close decoded audio is to its source: metrics in numpy, no network."""
