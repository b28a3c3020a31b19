"""Training: from a folder of audio to a preset. Imported by nothing but itself and the command line."""
