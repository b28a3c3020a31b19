"""Trailers are found whatever the length of their index, and a very long stream does without one."""

from __future__ import annotations

import io

import numpy as np
from support.streams import CODES, FILE, HEADER, OPENERS, joined, read_all, write

from codec.bitstream import Reader, trailer


def test_very_long_streams_have_no_index_but_are_read(monkeypatch):
    monkeypatch.setattr(trailer, "MAX_INDEX", 2)
    written = write(HEADER, CODES)
    assert len(written) == len(FILE) - 3
    for opener in OPENERS.values():
        reader, chunks, error = read_all(opener(written))
        assert (error, reader.chunk_offsets, reader.num_samples) == (None, None, 8_000)
        np.testing.assert_array_equal(joined(chunks, HEADER), CODES)


def test_an_index_longer_than_the_first_read_is_found(monkeypatch):
    monkeypatch.setattr(trailer, "_TAIL", 17)
    reader = Reader(io.BytesIO(FILE))
    assert reader.chunk_offsets == (43, 79, 115)
    reader.seek(2)
    np.testing.assert_array_equal(joined(list(reader), HEADER), CODES[:, 8:])
