"""Sound files and pipes to blocks of float32 samples [time, channels], and back, in constant memory.

    AudioReader -> blocks -> Resampler -> ... -> SecondsResampler -> blocks -> AudioWriter

`codec.audio.wav` decodes plain WAV and raw PCM, so they stream through pipes. `codec.audio.joined` reads all other
formats, from a pipe by way of a temporary file: libsndfile decodes them (`codec.audio.sndfile`), or FFmpeg those that
it does not know (`codec.audio.pyav`). Files are checked to be whole; on request, `codec.audio.recovery` reads what is
left of those that are not. soxr changes sample rates.
"""

from __future__ import annotations

from codec.audio.blocks import (
    MAX_CHANNELS,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    Block,
    check_supported,
)
from codec.audio.reading import AudioReader, RawReader, SampleReader
from codec.audio.resampling import Resampler, SecondsResampler, margin
from codec.audio.writing import AudioWriter, RawWriter, SampleWriter

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
    "SecondsResampler",
    "check_supported",
    "margin",
]
