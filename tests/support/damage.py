"""Files coded in memory, and damage to them."""

from __future__ import annotations

import io
from typing import BinaryIO, cast

import numpy as np
from support.coding import decompressed, file_of

from codec import bitstream
from codec.coding.concealment import Loss
from codec.coding.encoder_stream import EncoderStream
from codec.protocol import StreamingCodec


def coded(model: StreamingCodec, sound: np.ndarray, rate: int, frames: int | None = None) -> bytes:
    """Return a packed file at 6 codebooks, in chunks of this many frames."""
    stream = EncoderStream(model, rate, sound.shape[1], num_codebooks=6, frames_per_chunk=frames)
    return file_of(stream, sound, len(sound))


def recover(
    lam: bytes,
    model: StreamingCodec,
    start: float = 0.0,
    end: float | None = None,
    opened: type = io.BytesIO,
) -> tuple[np.ndarray, list[Loss]]:
    """Return the sound and the losses of a damaged file; `opened` makes a file or a pipe of it."""
    sound, report = decompressed(cast(BinaryIO, opened(lam)), model, start=start, end=end, recover=True)
    return sound, list(report.losses)


def offsets(lam: bytes) -> tuple[int, ...]:
    """Return the byte at which each chunk begins."""
    return bitstream.Reader(io.BytesIO(lam)).chunk_offsets or ()


def damaged(lam: bytes, *chunks: int) -> bytes:
    """Return the file with one changed byte in each of these chunks."""
    data = bytearray(lam)
    for chunk in chunks:
        data[offsets(lam)[chunk] + 9] ^= 0xFF
    return bytes(data)
