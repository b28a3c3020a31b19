"""Where bytes, audio and arrays meet."""
