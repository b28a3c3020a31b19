"""Chunks are decoded together as long as that takes little memory."""

from __future__ import annotations

import io

import numpy as np

from codec.bitstream import Header, Reader, Writer
from codec.runtime import NumpyCodec


def test_short_chunks_are_not_read_far_ahead(default_codec: NumpyCodec) -> None:
    header = Header(
        sample_rate=48_000,
        channels=1,
        num_samples=4000 * 960,
        model_id=bytes(8),
        num_codebooks=1,
        bits_per_code=10,
        frames_per_chunk=1,
        model_sample_rate=48_000,
        hop_length=960,
    )
    file = io.BytesIO()
    writer = Writer(file, header)
    for _ in range(4000):
        writer.write_chunk(np.zeros((1, 1, 1), np.int32))
    writer.close()
    file.seek(0)
    chunks = Reader(file, default_codec.prior).chunks()
    next(chunks)
    assert file.tell() < len(file.getvalue()) / 2
    assert sum(1 for _ in chunks) == 3999
