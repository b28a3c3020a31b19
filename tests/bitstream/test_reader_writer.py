"""Reader and writer of .lam files: any file or pipe, any chunk, and what the writer refuses."""

from __future__ import annotations

import io
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
from support.streams import CODES, FILE, HEADER, OPENERS, Pipe, joined, read_all, write

from codec.bitstream import Reader, Writer, trailer


def test_a_file_tells_its_length_at_once_and_a_pipe_at_the_end():
    written = write(replace(HEADER, num_samples=None), CODES, 7_000)
    assert Reader(io.BytesIO(written)).num_samples == 7_000
    reader = Reader(Pipe(written))
    assert (reader.num_samples, reader.chunk_offsets) == (None, None)
    assert len(list(reader)) == 3
    assert reader.num_samples == 7_000


def test_seek_reads_any_chunk_in_any_order():
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


def test_nothing_behind_the_trailer_is_read():
    pipe = Pipe(FILE + b"the next stream")
    assert len(list(Reader(pipe))) == 3
    assert pipe.data == b"the next stream"
    assert len(list(Reader(io.BytesIO(FILE + b"tag")))) == 3


def test_a_real_pipe():
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


def test_a_live_chunk_is_there_as_soon_as_it_was_written():
    pipe = Pipe(step=10**6)
    writer = Writer(pipe, replace(HEADER, num_samples=None, frames_per_chunk=1))
    pipe.data, pipe.written = pipe.written, b""
    chunks = iter(Reader(pipe))
    for frame in range(10):
        writer.write_chunk(CODES[:, frame : frame + 1])
        pipe.data, pipe.written = pipe.written, b""
        np.testing.assert_array_equal(next(chunks).codes, CODES[:, frame : frame + 1])
        assert pipe.data == b""


def test_a_writer_needs_write_alone_and_takes_short_writes():
    pipe = Pipe(step=5)
    writer = Writer(pipe, HEADER)
    for start in (0, 4, 8):
        writer.write_chunk(CODES[:, start : start + 4])
    writer.close()
    writer.close()
    assert pipe.written == FILE


def test_files_that_do_not_wait_are_an_error_and_not_the_end():
    class Impatient(Pipe):
        def read(self, size=-1):
            return None

        def write(self, data):
            return None

    with pytest.raises(BlockingIOError, match="non-blocking"):
        Reader(Impatient())
    with pytest.raises(BlockingIOError, match="non-blocking"):
        Writer(Impatient(), HEADER)


def test_endless_streams_have_no_index_but_are_read(monkeypatch):
    monkeypatch.setattr(trailer, "MAX_INDEX", 2)
    written = write(HEADER, CODES)
    assert len(written) == len(FILE) - 3
    for opener in OPENERS.values():
        reader, chunks, error = read_all(opener(written))
        assert (error, reader.chunk_offsets, reader.num_samples) == (None, None, 8_000)
        np.testing.assert_array_equal(joined(chunks, HEADER), CODES)


def test_a_long_index_is_found_though_it_begins_before_the_tail(monkeypatch):
    monkeypatch.setattr(trailer, "_TAIL", 17)
    reader = Reader(io.BytesIO(FILE))
    assert reader.chunk_offsets == (43, 79, 115)
    reader.seek(2)
    np.testing.assert_array_equal(joined(list(reader), HEADER), CODES[:, 8:])


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
def test_a_writer_refuses_wrong_codes_and_goes_on(codes, message):
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


def test_a_writer_refuses_counts_that_cannot_be():
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
