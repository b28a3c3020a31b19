"""The model in numpy, for coding."""
