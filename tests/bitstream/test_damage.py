"""Truncated, damaged, foreign and false .lam files raise the right error, and nothing large is allocated."""

from __future__ import annotations

import io
import struct
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.streams import (
    CODES,
    FILE,
    HEADER,
    OPENERS,
    Pipe,
    joined,
    raw_chunk,
    raw_trailer,
    read_all,
    with_crc,
    write,
    write_varying,
)

from codec.bitstream import Reader
from codec.bitstream.fields import varint
from codec.errors import BitstreamError, ChecksumMismatch, CodecError, Truncated, UnsupportedVersion


@pytest.mark.parametrize("opener", OPENERS.values(), ids=OPENERS)
def test_a_truncated_stream_gives_its_complete_chunks(opener):
    offsets = (*Reader(io.BytesIO(FILE)).chunk_offsets, FILE.index(b"\0", len(FILE) - 20))
    for length in range(len(FILE)):
        _, chunks, error = read_all(opener(FILE[:length]))
        whole = sum(length >= end for end in offsets[1:])
        assert type(error) is Truncated
        assert f"at byte {length}," in str(error) or length == 0
        np.testing.assert_array_equal(joined(chunks, HEADER), CODES[:, : whole * 4])


@pytest.mark.parametrize("opener", OPENERS.values(), ids=OPENERS)
@pytest.mark.parametrize("kind", ["whole", "live", "varying"])
def test_every_flipped_bit_is_found(opener, kind):
    header = replace(HEADER, num_samples=None if kind == "live" else 8_000, varies=kind == "varying")
    counts = [2, 0, 3] if header.varies else [3, 3, 3]
    written = write_varying(header, CODES, counts) if header.varies else write(header, CODES, 8_000)
    for bit in range(len(written) * 8):
        _, chunks, error = read_all(opener(flip_bit(written, bit)))
        assert error is not None, bit
        for chunk, count in zip(chunks, counts, strict=False):
            expected = CODES[:, chunk.start_frame : chunk.start_frame + 4, :count]
            np.testing.assert_array_equal(chunk.codes, expected)


@pytest.mark.parametrize("opener", OPENERS.values(), ids=OPENERS)
def test_flipped_bits_allocate_nothing_large(opener):
    tracemalloc.start()
    for bit in range(0, len(FILE) * 8, 5):
        read_all(opener(flip_bit(FILE, bit)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6


def flip_bit(data: bytes, bit: int) -> bytes:
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


@given(st.binary(max_size=200), st.booleans(), st.sampled_from(sorted(OPENERS)))
def test_any_bytes_give_chunks_or_a_bitstream_error(data, with_header, opener):
    start = HEADER.to_bytes() if with_header else b""
    _, _, error = read_all(OPENERS[opener](start + data))
    assert isinstance(error, BitstreamError)


@given(st.data(), st.sampled_from(sorted(OPENERS)))
def test_wrong_numbers_in_a_header_with_a_correct_checksum_allocate_nothing_large(data, opener):
    fields = bytearray(HEADER.to_bytes()[:39])
    for _ in range(data.draw(st.integers(1, 3))):
        fields[data.draw(st.integers(8, 38))] = data.draw(st.integers(0, 255))
    tracemalloc.start()
    read_all(OPENERS[opener](with_crc(bytes(fields)) + FILE[43:]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


def header_with(at: int, value: bytes) -> bytes:
    data = HEADER.to_bytes()[:39]
    return with_crc(data[:at] + value + data[at + len(value) :])


START = HEADER.to_bytes()
SPARE = raw_chunk(0, 4 * 4, FILE[49:79])
DAMAGED = {
    "empty": (b"", Truncated, "header at byte 0: the stream is empty, expected at least 43 bytes"),
    "magic alone": (
        FILE[:6],
        Truncated,
        "header at byte 0: the stream ends at byte 6, expected at least 43 bytes",
    ),
    "a WAV": (
        b"RIFF\x24\x08\0\0WAVE",
        BitstreamError,
        "not a Lamella file: 52 49 46 46 24 08 at byte 0, expected 4c 41 4d 9a 0d 0a",
    ),
    "text transfer": (
        FILE.replace(b"\r\n", b"\n"),
        BitstreamError,
        "expected 4c 41 4d 9a 0d 0a: perhaps changed by a transfer as text",
    ),
    "newer": (header_with(6, b"\2"), UnsupportedVersion, "header: format version 2 at byte 6, expected 1"),
    "flags": (
        header_with(7, b"\x80"),
        UnsupportedVersion,
        "header: flags 0x80 at byte 7, expected 0x00 or 0x01",
    ),
    "header damage": (flip(FILE, 30), ChecksumMismatch, "header at byte 0: checksum "),
    "no channels": (
        header_with(20, b"\0"),
        BitstreamError,
        "header at byte 0: channels 0, expected an integer from 1 to 8",
    ),
    "huge claim": (
        header_with(31, struct.pack("<Q", 10**15)),
        BitstreamError,
        "header at byte 0: num_samples 1000000000000000, expected an integer from 0 to 281474976710656",
    ),
    "long claim": (
        header_with(31, struct.pack("<Q", 10**14)) + SPARE + raw_trailer([len(SPARE)], 10**14),
        BitstreamError,
        "trailer at byte 79: 100000000000000 samples in at most 4 frames, expected at least 113378684808",
    ),
    "two counts": (
        START + SPARE + raw_trailer([len(SPARE)], 10),
        BitstreamError,
        "trailer at byte 79: 10 samples, expected 8000 as in the header",
    ),
    "chunk damage": (flip(FILE, 90), ChecksumMismatch, "chunk 1 at byte 79 (0.08 s): checksum "),
    "chunks swapped": (
        START + FILE[79:115] + FILE[43:79],
        ChecksumMismatch,
        "chunk 0 at byte 43 (0.00 s): checksum ",
    ),
    "cut between chunks": (
        FILE[:115],
        Truncated,
        "chunk 2 at byte 115 (0.16 s): the stream ends at byte 115, expected at least 1 bytes more",
    ),
    "cut in a chunk": (
        FILE[:100],
        Truncated,
        "chunk 1 at byte 79 (0.08 s): the stream ends at byte 100, expected at least 15 bytes more",
    ),
    "trailer damage": (flip(FILE, len(FILE) - 1), ChecksumMismatch, "trailer at byte 136: checksum "),
    "too many frames": (
        START + raw_chunk(0, 5 * 4, b""),
        BitstreamError,
        "chunk 0 at byte 43 (0.00 s): 5 frames, expected 1 to 4",
    ),
    "no frames": (
        START + raw_chunk(0, 1, b""),
        BitstreamError,
        "chunk 0 at byte 43 (0.00 s): 0 frames, expected 1 to 4",
    ),
    "large payload": (
        START + varint(4 * 4) + varint(2**28 - 1),
        BitstreamError,
        "chunk 0 at byte 43 (0.00 s): payload of 268435455 bytes, expected at most 30",
    ),
    "small payload": (
        START + raw_chunk(0, 4 * 4, bytes(29)),
        BitstreamError,
        "chunk 0 at byte 43 (0.00 s): 29 bytes, expected 30 for 24 codes of 10 bits",
    ),
    "padding": (
        START + raw_chunk(0, 1 * 4, bytes(7) + b"\1"),
        BitstreamError,
        "chunk 0 at byte 43 (0.00 s): padding bits 0001, expected zeros",
    ),
    "newer coding": (
        START + raw_chunk(0, 4 * 4 + 3, bytes(20)),
        UnsupportedVersion,
        "chunk 0 at byte 43 (0.00 s): coding 3, expected 0 (packed), 1 (range coded) or 2 (fewer codebooks)",
    ),
    "fewer codebooks in a stream that does not vary": (
        START + raw_chunk(0, 4 * 4 + 2, bytes(20), 2 * 2),
        BitstreamError,
        "chunk 0 at byte 43 (0.00 s): 2 codebooks, expected no chunk of fewer in this stream",
    ),
    "fewer codebooks that are all": (
        header_with(7, b"\1") + raw_chunk(0, 4 * 4 + 2, bytes(30), 3 * 2),
        BitstreamError,
        "chunk 0 at byte 43 (0.00 s): 3 codebooks, expected at most 2",
    ),
    "more than fewer codebooks take": (
        header_with(7, b"\1") + raw_chunk(0, 4 * 4 + 2, bytes(21), 2 * 2),
        BitstreamError,
        "chunk 0 at byte 43 (0.00 s): payload of 21 bytes, expected at most 20",
    ),
    "silence with a payload": (
        header_with(7, b"\1") + raw_chunk(0, 4 * 4 + 2, b"\0", 0),
        BitstreamError,
        "chunk 0 at byte 43 (0.00 s): payload of 1 bytes, expected at most 0",
    ),
    "silence range coded": (
        header_with(7, b"\1") + raw_chunk(0, 4 * 4 + 2, b"", 1),
        BitstreamError,
        "chunk 0 at byte 43 (0.00 s): silence in coding 1, expected 0",
    ),
    "after a shorter chunk": (
        START + raw_chunk(0, 2 * 4, bytes(15)) + raw_chunk(1, 4 * 4, bytes(30)),
        BitstreamError,
        "chunk 1 at byte 64 (0.04 s): found after a shorter chunk, expected the end",
    ),
    "long varint": (
        START + b"\x90\x00",
        BitstreamError,
        "chunk 0 at byte 43 (0.00 s): 90 00 is not a varint of at most 4 bytes",
    ),
    "endless varint": (
        START + b"\xff" * 9,
        BitstreamError,
        "chunk 0 at byte 43 (0.00 s): ff ff ff ff is not a varint of at most 4 bytes",
    ),
}


def test_the_damaged_files_assume_these_offsets():
    assert Reader(io.BytesIO(FILE)).chunk_offsets == (43, 79, 115)
    assert FILE[43:79] == raw_chunk(0, 4 * 4, FILE[49:79])
    assert FILE[136:] == raw_trailer([36, 36, 21], 8_000)


@pytest.mark.parametrize("opener", OPENERS.values(), ids=OPENERS)
@pytest.mark.parametrize("data, kind, message", DAMAGED.values(), ids=DAMAGED)
def test_errors_state_what_was_found_and_expected_and_where(data, kind, message, opener):
    _, _, error = read_all(opener(data))
    assert type(error) is kind
    assert message in str(error)
    assert "\n" not in str(error)
    assert isinstance(error, CodecError)


CHUNKS = FILE[43:136]
WRONG_INDEX = {
    "sizes that do not add up": (raw_trailer([36, 36, 22], 8_000), "gives 94 bytes of chunks, expected 93"),
    "a size too small": (raw_trailer([88, 5], 8_000), "gives 93 bytes of chunks, expected 93"),
    "not varints": (
        with_crc(b"\0\x80" + struct.pack("<QI", 8_000, 1)),
        "the index is not a row of varints of at most 4 bytes",
    ),
    "too many samples": (
        raw_trailer([36, 36, 21], 2**50),
        "1125899906842624 samples, expected at most 281474976710656",
    ),
}


@pytest.mark.parametrize("trailer, message", WRONG_INDEX.values(), ids=WRONG_INDEX)
def test_an_impossible_index_is_refused_when_the_file_is_opened(trailer, message):
    live = replace(HEADER, num_samples=None).to_bytes()
    with pytest.raises(BitstreamError, match=f"trailer at byte 136: .*{message}"):
        Reader(io.BytesIO(live + CHUNKS + trailer))


def test_an_index_that_contradicts_the_chunks_is_an_error():
    _, chunks, error = read_all(io.BytesIO(START + CHUNKS + raw_trailer([36, 35, 22], 8_000)))
    assert len(chunks) == 1
    assert str(error) == "chunk 1 at byte 79 (0.08 s): ends at byte 115, expected 114 as in the index"
    inner = raw_trailer([36, 36], 8_000)
    _, chunks, error = read_all(
        io.BytesIO(START + CHUNKS[:72] + inner + raw_trailer([36, 36, len(inner)], 8_000))
    )
    assert len(chunks) == 2
    assert str(error) == "trailer at byte 115: expected chunk 2 there, as in the index"
    _, _, error = read_all(Pipe(START + CHUNKS + raw_trailer([36, 35, 22], 8_000)))
    assert str(error) == "trailer at byte 136: the index does not give the sizes of the 3 chunks"


def test_a_short_last_chunk_cannot_hide_missing_samples():
    header = replace(HEADER, num_samples=None)
    body = raw_chunk(0, 4, bytes(8))
    trailer = raw_trailer([len(body)], 3_000)  # needs 4 frames, the most that this chunk could have had
    for opener in OPENERS.values():
        _, chunks, error = read_all(opener(header.to_bytes() + body + trailer))
        assert len(chunks) == 1
        message = (
            f"trailer at byte {43 + len(body)}: 3000 samples in at most 1 frames, expected at least 4 frames"
        )
        assert str(error) == message


@pytest.mark.parametrize("opener", OPENERS.values(), ids=OPENERS)
@pytest.mark.parametrize("at", [80 + 4, 90, 120])
def test_reading_continues_after_a_damaged_chunk(opener, at):
    reader, chunks, error = read_all(opener(flip(FILE, at)))
    assert type(error) is ChecksumMismatch
    damaged = 1 if at < 115 else 2
    rest = list(reader)
    assert [chunk.index for chunk in chunks + rest] == [index for index in range(3) if index != damaged]
    assert reader.num_samples == 8_000


def test_large_claims_without_data_allocate_nothing():
    huge = header_with(31, struct.pack("<Q", 2**48))
    tracemalloc.start()
    for opener in OPENERS.values():
        for body in (b"", varint(4 * 4) + varint(30), varint(4 * 4) + varint(2**28 - 1)):
            assert isinstance(read_all(opener(huge + body))[2], BitstreamError)
        claim = with_crc(b"\0" + struct.pack("<QI", 2**48, 2**32 - 1))
        assert isinstance(read_all(opener(huge + claim))[2], BitstreamError)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


def test_the_largest_valid_claims_take_less_than_64_mib():
    live = replace(HEADER, num_samples=None, frames_per_chunk=1)
    index = (
        live.to_bytes() + bytes(6 * 2**20) + with_crc(b"\0" + b"\6" * 2**20 + struct.pack("<QI", 0, 2**20))
    )
    wide = replace(live, channels=8, num_codebooks=43, bits_per_code=16, frames_per_chunk=3_000)
    chunk = wide.to_bytes() + raw_chunk(0, 4 * 3_000, bytes(2 * 8 * 3_000 * 43))
    for data, count in ((index, 0), (chunk, 1)):
        tracemalloc.start()
        reader, chunks, error = read_all(io.BytesIO(data))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert isinstance(error, BitstreamError) and len(chunks) == count
        assert reader.chunk_offsets is None or reader.chunk_offsets[-1] == 43 + 6 * (2**20 - 1)
        assert peak < 2**26
