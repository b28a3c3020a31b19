"""Trailers are found whatever the length of their index, and all but short streams end with a copy of the header."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from support.streams import CODES, FILE, HEADER, OPENERS, Pipe, joined, random_codes, read_all, write

from codec.bitstream import Reader, trailer
from codec.errors import ChecksumMismatch, Truncated

LONG_HEADER = replace(HEADER, num_samples=None, frames_per_chunk=50)
COPIED = write(LONG_HEADER, random_codes(LONG_HEADER, 170), 100_000)


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


def test_streams_from_1024_bytes_on_end_with_a_copy_of_the_header():
    for payload in range(950, 1_000):
        header = replace(HEADER, channels=1, num_codebooks=1, bits_per_code=8, frames_per_chunk=payload)
        header = replace(header, num_samples=0)
        written = write(header, np.zeros((1, payload, 1), int))
        chunks_end = len(written) - 3 - 16 - (43 if written[-43:-37] == b"LAM\x9a\r\n" else 0)
        assert (written[-43:] == written[:43]) == (chunks_end >= 1_024)


@pytest.mark.parametrize("opener", OPENERS.values(), ids=OPENERS)
def test_a_stream_with_a_copy_is_read_to_its_very_end(opener):
    reader, chunks, error = read_all(opener(COPIED))
    assert error is None and reader.num_samples == 100_000
    assert (reader.chunk_offsets is not None) == (opener is not Pipe)
    np.testing.assert_array_equal(joined(chunks, LONG_HEADER), random_codes(LONG_HEADER, 170))
    pipe = Pipe(COPIED + b"the next stream")
    assert len(list(Reader(pipe))) == 4
    assert pipe.data == b"the next stream"


@pytest.mark.parametrize("opener", OPENERS.values(), ids=OPENERS)
@pytest.mark.parametrize("at", range(1, 44))
def test_a_damaged_or_cut_copy_is_an_error_after_all_chunks(opener, at):
    reader, chunks, error = read_all(
        opener(COPIED[:-at] + bytes([COPIED[-at] ^ 4]) + COPIED[len(COPIED) - at + 1 :])
    )
    place = len(COPIED) - 43
    assert type(error) is ChecksumMismatch
    assert str(error) == f"copy of the header at byte {place}: damaged, expected the 43 bytes of the header"
    assert len(chunks) == 4 and list(reader) == []
    _, chunks, error = read_all(opener(COPIED[:-at]))
    assert type(error) is Truncated and str(error).startswith(f"copy of the header at byte {place}: ")
    assert len(chunks) == 4


def test_a_stream_with_a_copy_can_seek():
    reader = Reader(io.BytesIO(COPIED))
    reader.seek(3)
    assert [chunk.index for chunk in reader] == [3]
    reader.seek(1)
    assert [chunk.index for chunk in reader] == [1, 2, 3]
