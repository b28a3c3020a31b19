"""Metrics: how close decoded audio is to the recording."""
