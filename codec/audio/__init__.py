"""Sound files and pipes to blocks of float32 samples, and back."""

from __future__ import annotations

from codec.audio.reading import (
    MAX_CHANNELS,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    AudioReader,
    AudioWriter,
    Block,
    RawReader,
    RawWriter,
    Resampler,
    SampleReader,
    SampleWriter,
    check_supported,
)

__all__ = [
    "MAX_CHANNELS",
    "MAX_SAMPLE_RATE",
    "MIN_SAMPLE_RATE",
    "AudioReader",
    "AudioWriter",
    "Block",
    "RawReader",
    "RawWriter",
    "Resampler",
    "SampleReader",
    "SampleWriter",
    "check_supported",
]
