"""Writers write to anything that accepts bytes, and refuse what the stream cannot hold."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from support.streams import CODES, FILE, HEADER, Pipe

from codec.bitstream import Writer


def test_a_writer_needs_only_write_also_if_it_takes_few_bytes_at_a_time():
    pipe = Pipe(step=5)
    writer = Writer(pipe, HEADER)
    for start in (0, 4, 8):
        writer.write_chunk(CODES[:, start : start + 4])
    writer.close()
    writer.close()
    assert pipe.written == FILE


@pytest.mark.parametrize(
    "codes, message",
    [
        (np.zeros((2, 5, 3), int), "5 frames, expected 1 to 4"),
        (np.zeros((2, 0, 3), int), "0 frames, expected 1 to 4"),
        (np.zeros((1, 4, 3), int), r"codes of shape \[1, 4, 3\], expected \[2, frame, 3\]"),
        (np.zeros((4, 3), int), r"codes of shape \[4, 3\]"),
        (np.full((2, 4, 3), 1024), "code 1024 does not fit 10 bits"),
        (np.full((2, 4, 3), -1), "code -1 does not fit 10 bits"),
        (np.zeros((2, 4, 3)), "codes must be integers"),
    ],
)
def test_a_writer_refuses_wrong_codes_and_continues(codes, message):
    file = io.BytesIO()
    writer = Writer(file, HEADER)
    with pytest.raises(ValueError, match=message):
        writer.write_chunk(codes)
    for start in (0, 4, 8):
        writer.write_chunk(CODES[:, start : start + 4])
    with pytest.raises(ValueError, match="only the last chunk may have fewer than 4 frames"):
        writer.write_chunk(CODES[:, :4])
    with pytest.raises(ValueError, match="7 samples, expected 8000 as in the header"):
        writer.close(7)
    writer.close(8_000)
    assert file.getvalue() == FILE
    with pytest.raises(ValueError, match="the stream is closed"):
        writer.write_chunk(CODES[:, :4])


def test_a_writer_refuses_impossible_numbers_of_samples_and_codebooks():
    with pytest.raises(ValueError, match="8000 samples in at most 0 frames, expected at least 10 frames"):
        Writer(io.BytesIO(), HEADER).close()
    live = Writer(io.BytesIO(), replace(HEADER, num_samples=None))
    for count in (0, 2):
        with pytest.raises(ValueError, match=rf"shape \[2, 4, {count}\], expected \[2, frame, 3\]"):
            live.write_chunk(np.zeros((2, 4, count), int))
    with pytest.raises(ValueError, match=r"expected \[2, frame, 0 to 3\]"):
        Writer(io.BytesIO(), replace(HEADER, varies=True)).write_chunk(np.zeros((2, 4, 4), int))
    with pytest.raises(ValueError, match="num_samples is needed to end a stream of unknown length"):
        live.close()
    with pytest.raises(ValueError, match="num_samples 10"):
        live.close(10**15)
