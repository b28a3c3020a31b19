"""Training: from a folder of recordings to a preset. Only the command line imports it."""
