"""Readers give any chunk of files and pipes, and the length as soon as it is known."""

from __future__ import annotations

import io
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
from support.streams import CODES, FILE, HEADER, Pipe, joined, write

from codec.bitstream import Reader, Writer


def test_the_length_is_known_from_a_file_at_first_and_from_a_pipe_at_its_end():
    written = write(replace(HEADER, num_samples=None), CODES, 7_000)
    assert Reader(io.BytesIO(written)).num_samples == 7_000
    reader = Reader(Pipe(written))
    assert (reader.num_samples, reader.chunk_offsets) == (None, None)
    assert len(list(reader)) == 3
    assert reader.num_samples == 7_000


def test_chunks_can_be_read_in_any_order():
    reader = Reader(io.BytesIO(FILE))
    assert len(reader.chunk_offsets) == 3
    for index in (2, 0, 1, 1):
        reader.seek(index)
        chunk = next(iter(reader))
        assert (chunk.index, chunk.start_frame) == (index, index * 4)
        np.testing.assert_array_equal(chunk.codes, CODES[:, index * 4 : index * 4 + 4])
    list(reader)
    reader.seek(1)
    assert [chunk.index for chunk in reader] == [1, 2]
    with pytest.raises(ValueError, match="no chunk 3 in a stream of 3"):
        reader.seek(3)
    with pytest.raises(ValueError, match="no index"):
        Reader(Pipe(FILE)).seek(0)


def test_a_stream_may_begin_anywhere_in_a_file():
    file = io.BytesIO(b"something else" + FILE)
    file.seek(14)
    reader = Reader(file)
    assert reader.chunk_offsets[0] == 43
    reader.seek(1)
    np.testing.assert_array_equal(joined(list(reader), HEADER), CODES[:, 4:])


def test_nothing_after_the_trailer_is_read():
    pipe = Pipe(FILE + b"the next stream")
    assert len(list(Reader(pipe))) == 3
    assert pipe.data == b"the next stream"
    assert len(list(Reader(io.BytesIO(FILE + b"tag")))) == 3


def test_an_operating_system_pipe_is_written_and_read():
    read_end, write_end = os.pipe()

    def send() -> None:
        with open(write_end, "wb", buffering=0) as file:
            writer = Writer(file, replace(HEADER, num_samples=None))
            for start in (0, 4, 8):
                writer.write_chunk(CODES[:, start : start + 4])
            writer.close(8_000)

    thread = threading.Thread(target=send)
    thread.start()
    with open(read_end, "rb", buffering=0) as file:
        reader = Reader(file)
        np.testing.assert_array_equal(joined(list(reader), HEADER), CODES)
    thread.join()
    assert reader.num_samples == 8_000


def test_a_live_chunk_can_be_read_when_it_has_been_written():
    pipe = Pipe(step=10**6)
    writer = Writer(pipe, replace(HEADER, num_samples=None, frames_per_chunk=1))
    pipe.data, pipe.written = pipe.written, b""
    chunks = iter(Reader(pipe))
    for frame in range(10):
        writer.write_chunk(CODES[:, frame : frame + 1])
        pipe.data, pipe.written = pipe.written, b""
        np.testing.assert_array_equal(next(chunks).codes, CODES[:, frame : frame + 1])
        assert pipe.data == b""


def test_files_in_non_blocking_mode_are_an_error_and_not_the_end():
    class NonBlocking(Pipe):
        def read(self, size=-1):
            return None

        def write(self, data):
            return None

    with pytest.raises(BlockingIOError, match="non-blocking"):
        Reader(NonBlocking())
    with pytest.raises(BlockingIOError, match="non-blocking"):
        Writer(NonBlocking(), HEADER)
