"""Files, streams and packets: where bytes, audio and models meet."""
