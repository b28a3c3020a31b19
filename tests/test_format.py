"""The .lam file: what is written is read, by our reader and by one made from the drawing."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import (
    CODES,
    FILE,
    HEADER,
    HERE,
    MODEL,
    OPENERS,
    Pipe,
    joined,
    random_codes,
    read_all,
    write,
    write_varying,
)

import codec.bitstream.format as layout
import codec.bitstream.reader as reading
from codec.bitstream import Header, Reader, Writer, check_model, default_frames_per_chunk, thin
from codec.bitstream.fields import varint, varints
from codec.errors import WrongModel

headers = st.builds(
    Header,
    sample_rate=st.integers(1_000, 1_000_000),
    channels=st.integers(1, 8),
    num_samples=st.none(),
    model_id=st.binary(min_size=8, max_size=8),
    num_codebooks=st.integers(1, 32),
    bits_per_code=st.integers(1, 16),
    frames_per_chunk=st.integers(1, 60),
    model_sample_rate=st.integers(8_000, 1_000_000),
    hop_length=st.integers(1, 8_000),
)


@given(headers, st.integers(0, 130), st.booleans(), st.sampled_from(sorted(OPENERS)), st.data())
def test_round_trip(header, frames, live, opener, data):
    most = frames * header.hop_length * header.sample_rate // header.model_sample_rate
    num_samples = data.draw(st.integers(0, most))
    header = replace(header, num_samples=None if live else num_samples)
    codes = random_codes(header, frames)
    written = write(header, codes, num_samples)
    reader, chunks, error = read_all(OPENERS[opener](written))
    assert error is None
    assert reader.header == header
    assert reader.num_samples == num_samples
    assert [chunk.index for chunk in chunks] == list(range(-(-frames // header.frames_per_chunk)))
    assert all(chunk.start_frame == chunk.index * header.frames_per_chunk for chunk in chunks)
    assert all(chunk.codes.dtype == np.int32 for chunk in chunks)
    np.testing.assert_array_equal(joined(chunks, header), codes)
    assert list(reader) == []


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
    monkeypatch.setattr(layout, "MAX_INDEX", 2)
    written = write(HEADER, CODES)
    assert len(written) == len(FILE) - 3
    for opener in OPENERS.values():
        reader, chunks, error = read_all(opener(written))
        assert (error, reader.chunk_offsets, reader.num_samples) == (None, None, 8_000)
        np.testing.assert_array_equal(joined(chunks, HEADER), CODES)


def test_a_long_index_is_found_though_it_begins_before_the_tail(monkeypatch):
    monkeypatch.setattr(reading, "_TAIL", 17)
    reader = Reader(io.BytesIO(FILE))
    assert reader.chunk_offsets == (43, 79, 115)
    reader.seek(2)
    np.testing.assert_array_equal(joined(list(reader), HEADER), CODES[:, 8:])


@given(st.lists(st.integers(0, 2**28 - 1)))
def test_varints(values):
    data = b"".join(map(varint, values))
    assert varints(data).tolist() == values


@pytest.mark.parametrize("data", [b"\x80", b"\x01\x80", b"\x80\x80\x80\x80\x01"])
def test_a_row_that_is_not_of_varints(data):
    with pytest.raises(ValueError, match="not a row of varints"):
        varints(data)


# -- the drawing is enough --


def parse_by_the_drawing(data: bytes) -> dict:
    """A reader made from the text at the top of format.py with struct and zlib alone."""

    def crc_holds(*parts: bytes, crc: bytes) -> bool:
        return struct.pack("<I", zlib.crc32(b"".join(parts))) == crc

    def read_varint(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            value |= (data[at] & 0x7F) << shift
            shift += 7
            at += 1
            if data[at - 1] < 0x80:
                return value, at

    assert data[:6] == bytes.fromhex("4C 41 4D 9A 0D 0A")
    assert crc_holds(data[:39], crc=data[39:43])
    version, flags, rate, model_rate, hop, per_chunk = struct.unpack_from("<BBIIHH", data, 6)
    channels, codebooks, width, model, num_samples = struct.unpack_from("<BBB8sQ", data, 20)
    assert version == 1 and flags in (0, 1)
    at, frames, rows, offsets = 43, 0, [[] for _ in range(channels)], []
    while data[at] != 0:
        offsets.append(at)
        tag, fields_end = read_varint(at)
        coding, count = tag % 4, codebooks
        if coding == 2:
            assert flags == 1
            value, fields_end = read_varint(fields_end)
            count, coding = divmod(value, 2)
            assert count < codebooks
        size, fields_end = read_varint(fields_end)
        payload = data[fields_end + 4 : fields_end + 4 + size]
        number = struct.pack("<Q", len(offsets) - 1)
        assert crc_holds(number, data[at:fields_end], payload, crc=data[fields_end : fields_end + 4])
        assert coding == 0
        bits = "".join(f"{byte:08b}" for byte in payload)
        codes = [int(bits[i * width : (i + 1) * width], 2) for i in range(channels * (tag // 4) * count)]
        for channel in range(channels):
            for frame in range(tag // 4):
                first = (channel * (tag // 4) + frame) * count
                rows[channel].append(codes[first : first + count])
        frames += tag // 4
        at = fields_end + 4 + size
    trailer = at
    at, ends = at + 1, []
    for offset in offsets:
        size, at = read_varint(at)
        ends.append(offset + size)
    final_samples, index_size = struct.unpack_from("<QI", data, at)
    assert crc_holds(data[trailer : at + 12], crc=data[at + 12 :])
    assert index_size == at - trailer - 1
    assert ends == [*offsets[1:], trailer][: len(ends)]
    assert num_samples in (final_samples, 2**64 - 1)
    return {
        "header": (
            rate,
            channels,
            final_samples,
            model,
            codebooks,
            width,
            per_chunk,
            model_rate,
            hop,
            flags == 1,
        ),
        "codes": rows,
        "offsets": offsets,
    }


@given(headers, st.integers(0, 9))
def test_a_reader_made_from_the_drawing_agrees(header, frames):
    codes = random_codes(header, frames)
    written = write(header, codes, num_samples=0)
    found = parse_by_the_drawing(written)
    assert Header(*found["header"]) == replace(header, num_samples=0)
    assert found["codes"] == codes.tolist()
    assert tuple(found["offsets"]) == Reader(io.BytesIO(written)).chunk_offsets


@given(headers, st.integers(0, 9), st.randoms(use_true_random=False))
def test_and_where_chunks_have_fewer_codebooks(header, frames, random):
    header = replace(header, varies=True, frames_per_chunk=min(header.frames_per_chunk, 3))
    codes = random_codes(header, frames)
    counts = [
        random.choice((0, header.num_codebooks, random.randint(0, header.num_codebooks))) for _ in codes[0]
    ]
    written = write_varying(header, codes, counts)
    found = parse_by_the_drawing(written)
    assert Header(*found["header"]) == replace(header, num_samples=0)
    size = header.frames_per_chunk
    expected = [[row[: counts[at // size]].tolist() for at, row in enumerate(channel)] for channel in codes]
    assert found["codes"] == expected
    for opener in OPENERS.values():
        _, chunks, error = read_all(opener(written))
        assert error is None
        assert [row.tolist() for chunk in chunks for row in chunk.codes[0]] == expected[0]
        assert all(chunk.codes.shape[2] == count for chunk, count in zip(chunks, counts, strict=False))
    assert tuple(found["offsets"]) == Reader(io.BytesIO(written)).chunk_offsets


# -- what it costs --


@pytest.mark.parametrize("codebooks, bitrate", [(3, 1_500), (6, 3_000), (12, 6_000), (24, 12_000)])
@pytest.mark.parametrize("live", [False, True])
def test_framing_costs_at_most_two_percent(codebooks, bitrate, live):
    facts = {"channels": 1, "num_codebooks": codebooks, "bits_per_code": 10}
    facts |= {"hop_length": 960, "model_sample_rate": 48_000}
    frames_per_chunk = default_frames_per_chunk(**facts)
    num_samples = 60 * 48_000
    header = Header(
        48_000,
        num_samples=None if live else num_samples,
        model_id=MODEL,
        frames_per_chunk=frames_per_chunk,
        **facts,
    )
    frames = -(-(num_samples + 480) // 960)  # the model's delay takes one frame more
    written = write(header, random_codes(header, frames), num_samples)
    last_row = frames * codebooks * 10 / 8 - 60 * bitrate / 8
    assert len(written) - last_row <= 60 * bitrate / 8 * 1.02
    assert frames_per_chunk == (200 if bitrate == 1_500 else 100 if bitrate == 3_000 else 50)


@given(
    st.integers(1, 8),
    st.integers(1, 255),
    st.integers(1, 16),
    st.integers(1, 65_535),
    st.integers(1_000, 1_000_000),
)
def test_the_default_chunk_is_within_the_limits(channels, codebooks, bits, hop, rate):
    facts = {"channels": channels, "num_codebooks": codebooks, "bits_per_code": bits}
    facts |= {"hop_length": hop, "model_sample_rate": rate}
    frames = default_frames_per_chunk(**facts)
    Header(48_000, num_samples=0, model_id=MODEL, frames_per_chunk=frames, **facts)


# -- wrong arguments --


@pytest.mark.parametrize(
    "name, value",
    [
        ("sample_rate", 0),
        ("sample_rate", 48_000.0),
        ("model_sample_rate", 2**32),
        ("hop_length", 0),
        ("channels", 9),
        ("num_codebooks", 0),
        ("bits_per_code", 17),
        ("frames_per_chunk", 0),
        ("frames_per_chunk", 3_001),
        ("num_samples", -1),
        ("num_samples", 10**15),
        ("model_id", b"short"),
    ],
)
def test_a_header_outside_the_limits(name, value):
    with pytest.raises(ValueError, match=name):
        replace(HEADER, **{name: value})


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


def test_check_model():
    check_model(HEADER, MODEL)
    with pytest.raises(
        WrongModel, match="header: model 0123456789abcdef at byte 23, expected 0000000000000000"
    ):
        check_model(HEADER, bytes(8))


def test_the_bitstream_needs_nothing_but_numpy():
    code = (
        "import sys, codec.bitstream;"
        "print([name for name in ('tensorflow', 'keras', 'jax', 'soundfile') if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=HERE.parent, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


# -- a lower bitrate --


@given(st.integers(1, 3), st.integers(1, 230), st.integers(1, 24), st.sampled_from((1, 7, 50, 100)))
def test_thinned_streams_hold_the_first_codes_of_each_row(channels, frames, keep, frames_per_chunk):
    codes = np.random.default_rng(frames).integers(0, 1024, (channels, frames, 24))
    facts = {"hop_length": 960, "model_sample_rate": 48_000, "bits_per_code": 10, "num_codebooks": 24}
    header = Header(48_000, channels, frames * 960, MODEL, frames_per_chunk=frames_per_chunk, **facts)
    target = io.BytesIO()
    thin(Reader(io.BytesIO(write(header, codes))), target, keep)
    reader = Reader(io.BytesIO(target.getvalue()))
    np.testing.assert_array_equal(joined(list(reader), reader.header), codes[..., :keep])
    assert reader.num_samples == frames * 960
    assert reader.header.frames_per_chunk % frames_per_chunk == 0
    if frames_per_chunk in (1, 7):
        assert reader.header.frames_per_chunk == frames_per_chunk


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_thinning_where_chunks_have_fewer_already(keep):
    header = replace(HEADER, varies=True, frames_per_chunk=50, num_samples=None)  # whole seconds stay, too
    codes, counts = random_codes(header, 190), [2, 0, 3, 1]
    target = io.BytesIO()
    thin(Reader(Pipe(write_varying(header, codes, counts))), target, keep)
    expected = write_varying(
        replace(header, num_codebooks=keep), codes, [min(count, keep) for count in counts]
    )
    assert target.getvalue() == expected


@pytest.mark.parametrize("keep", [0, 4])
def test_thinning_to_what_is_not_there(keep):
    with pytest.raises(ValueError, match=f"num_codebooks {keep}, expected 1 to"):
        thin(Reader(io.BytesIO(FILE)), io.BytesIO(), keep)
