"""The layout: written files are read, also by a reader made from its description, and framing takes few bytes."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.streams import (
    HEADER,
    MODEL,
    OPENERS,
    TESTS,
    joined,
    random_codes,
    read_all,
    write,
    write_varying,
)

from codec.bitstream import Header, Reader, check_model, default_frames_per_chunk
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
def test_written_codes_are_read_again(header, frames, live, opener, data):
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


# -- the description is complete --


def parse_as_described(data: bytes) -> dict:
    """Read a file as the text at the top of format.py describes it, with struct and zlib alone."""

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
    assert crc_holds(data[trailer : at + 12], crc=data[at + 12 : at + 16])
    assert index_size % 2**31 == at - trailer - 1
    assert data[at + 16 :] == (data[:43] if index_size >= 2**31 else b"")
    assert (index_size >= 2**31) == (trailer >= 1024)
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
def test_a_reader_made_from_the_description_agrees(header, frames):
    codes = random_codes(header, frames)
    written = write(header, codes, num_samples=0)
    parsed = parse_as_described(written)
    assert Header(*parsed["header"]) == replace(header, num_samples=0)
    assert parsed["codes"] == codes.tolist()
    assert tuple(parsed["offsets"]) == Reader(io.BytesIO(written)).chunk_offsets


@given(headers, st.integers(0, 9), st.randoms(use_true_random=False))
def test_a_reader_made_from_the_description_agrees_on_varying_chunks(header, frames, random):
    header = replace(header, varies=True, frames_per_chunk=min(header.frames_per_chunk, 3))
    codes = random_codes(header, frames)
    counts = [
        random.choice((0, header.num_codebooks, random.randint(0, header.num_codebooks))) for _ in codes[0]
    ]
    written = write_varying(header, codes, counts)
    parsed = parse_as_described(written)
    assert Header(*parsed["header"]) == replace(header, num_samples=0)
    size = header.frames_per_chunk
    expected = [[row[: counts[at // size]].tolist() for at, row in enumerate(channel)] for channel in codes]
    assert parsed["codes"] == expected
    for opener in OPENERS.values():
        _, chunks, error = read_all(opener(written))
        assert error is None
        assert [row.tolist() for chunk in chunks for row in chunk.codes[0]] == expected[0]
        assert all(chunk.codes.shape[2] == count for chunk, count in zip(chunks, counts, strict=False))
    assert tuple(parsed["offsets"]) == Reader(io.BytesIO(written)).chunk_offsets


# -- the size of the framing --


@pytest.mark.parametrize("codebooks, bitrate", [(3, 1_500), (6, 3_000), (12, 6_000), (24, 12_000)])
@pytest.mark.parametrize("live", [False, True])
def test_framing_takes_at_most_two_percent_and_the_copy_of_the_header(codebooks, bitrate, live):
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
    frames = -(-(num_samples + 480) // 960)  # the model's delay takes one more frame
    written = write(header, random_codes(header, frames), num_samples)
    last_row = frames * codebooks * 10 / 8 - 60 * bitrate / 8
    assert len(written) - last_row <= 60 * bitrate / 8 * 1.02 + 43
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
def test_header_values_outside_the_limits_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        replace(HEADER, **{name: value})


def test_another_model_is_refused():
    check_model(HEADER, MODEL)
    with pytest.raises(
        WrongModel, match="header: model 0123456789abcdef at byte 23, expected 0000000000000000"
    ):
        check_model(HEADER, bytes(8))


def test_the_bitstream_loads_no_framework_and_no_audio_library():
    code = (
        "import sys, codec.bitstream;"
        "print([name for name in ('tensorflow', 'keras', 'jax', 'soundfile') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=TESTS.parent, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
