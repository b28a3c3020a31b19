"""Codes to bytes and back, with the standard library, numpy, `codec.errors` and `codec.files` only."""

from __future__ import annotations

from codec.bitstream.format import (
    Chunk,
    Header,
    StoredChunk,
    check_model,
    default_frames_per_chunk,
    frames_per_second,
)
from codec.bitstream.limits import check_plausible, plausible_seconds
from codec.bitstream.prior import Prior
from codec.bitstream.reader import Reader, grouped
from codec.bitstream.recovery import RecoveringReader
from codec.bitstream.thinning import thin
from codec.bitstream.writer import Writer

__all__ = [
    "Chunk",
    "Header",
    "Prior",
    "Reader",
    "RecoveringReader",
    "StoredChunk",
    "Writer",
    "check_model",
    "check_plausible",
    "default_frames_per_chunk",
    "frames_per_second",
    "grouped",
    "plausible_seconds",
    "thin",
]
