"""Recovery repairs the header and finds the intact chunks: damage costs at most the chunk that it hit."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.streams import (
    CODES,
    FILE,
    HEADER,
    Pipe,
    random_codes,
    raw_chunk,
    raw_trailer,
    with_crc,
    write,
    write_varying,
)

from codec.bitstream import Chunk, Reader, RecoveringReader, recovery
from codec.bitstream.fields import varint
from codec.errors import BitstreamError, ChecksumMismatch, TooLong, UnsupportedVersion

LIVE = write(replace(HEADER, num_samples=None), CODES, 8_000)
COUNTS = [2, 0, 3]
VARYING = write_varying(replace(HEADER, varies=True), CODES, COUNTS)
LONG_HEADER = replace(HEADER, num_samples=None, frames_per_chunk=50, num_codebooks=12, channels=1)
LONG_CODES = random_codes(LONG_HEADER, 620)
LONG = write(LONG_HEADER, LONG_CODES, 500_000)  # 12 chunks of 758 bytes, and one shorter
START, SIZE = 43, 758


def recover(data: bytes) -> tuple[RecoveringReader, list[Chunk]]:
    reader = RecoveringReader(io.BytesIO(data))
    return reader, list(reader)


def numbers(data: bytes) -> list[int]:
    """Return the numbers of the recovered chunks, and check their codes."""
    chunks = recover(data)[1]
    for chunk in chunks:
        expected = LONG_CODES[:, chunk.start_frame : chunk.start_frame + chunk.codes.shape[1]]
        np.testing.assert_array_equal(chunk.codes, expected)
    return [chunk.index for chunk in chunks]


@pytest.mark.parametrize("data", [FILE, LIVE, VARYING], ids=["file", "live", "varying"])
def test_a_byte_of_damage_anywhere_costs_at_most_the_chunk_it_hit(data: bytes) -> None:
    offsets = (*(Reader(io.BytesIO(data)).chunk_offsets or ()), len(data) - 3 - 17, len(data))
    counts = COUNTS if data is VARYING else [3, 3, 3]
    for at in range(START, len(data)):
        for change in (0x01, 0x10, 0xFF, data[at]):  # the last makes it zero
            if not change:
                continue
            damaged = data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]
            reader, chunks = recover(damaged)
            hit = next(number for number in range(4) if at < offsets[number + 1])
            assert [chunk.index for chunk in chunks] == [number for number in range(3) if number != hit]
            for chunk in chunks:
                start = chunk.index * 4
                np.testing.assert_array_equal(chunk.codes, CODES[:, start : start + 4, : counts[chunk.index]])
            assert reader.num_samples == (None if data is LIVE and hit == 3 else 8_000)


@given(st.integers(0, 42), st.integers(1, 255), st.sampled_from([FILE, LIVE, VARYING, LONG]))
def test_any_damaged_byte_of_a_header_costs_nothing(at: int, change: int, data: bytes) -> None:
    damaged = data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]
    reader, chunks = recover(damaged)
    expected = Reader(io.BytesIO(data))
    assert (reader.header, reader.num_samples) == (expected.header, expected.num_samples)
    assert [chunk.codes.tolist() for chunk in chunks] == [chunk.codes.tolist() for chunk in expected]
    assert reader.header_repaired and reader.chunk_offsets == expected.chunk_offsets


@given(st.binary(min_size=43, max_size=43), st.binary(max_size=200))
def test_any_damage_to_the_whole_header_of_a_stream_with_a_copy_costs_nothing(
    start: bytes, tail: bytes
) -> None:
    reader, chunks = recover(start + LONG[43:])
    assert reader.header == LONG_HEADER and reader.num_samples == 500_000
    assert [chunk.index for chunk in chunks] == list(range(13))
    assert numbers(start + LONG[43:] + tail) == list(range(13))  # also if something was appended


def test_bytes_missing_or_added_in_the_header_cost_nothing_if_there_is_a_copy() -> None:
    for start in (b"", LONG[:20], LONG[1:43], b"?" + LONG[:43], bytes(5_000)):
        reader, _ = recover(start + LONG[43:])
        assert reader.header == LONG_HEADER and reader.header_repaired
        assert numbers(start + LONG[43:]) == list(range(13))


def test_several_damaged_bytes_in_a_header_without_a_copy_are_an_error() -> None:
    damaged = FILE[:30] + bytes(byte ^ 1 for byte in FILE[30:33]) + FILE[33:]
    with pytest.raises(ChecksumMismatch, match="header at byte 0: checksum"):
        recover(damaged)


def test_a_header_of_a_newer_version_is_not_repaired() -> None:
    newer = with_crc(LONG[:6] + b"\2" + LONG[7:39])
    with pytest.raises(UnsupportedVersion, match="format version 2"):
        recover(newer + LONG[43:-43] + newer)


@given(st.integers(0, 42), st.integers(1, 255))
def test_a_damaged_copy_costs_neither_a_chunk_nor_the_index(at: int, change: int) -> None:
    place = len(LONG) - 43 + at
    reader, chunks = recover(LONG[:place] + bytes([LONG[place] ^ change]) + LONG[place + 1 :])
    assert [chunk.index for chunk in chunks] == list(range(13))
    assert reader.chunk_offsets is not None and not reader.header_repaired


def test_chunks_behind_much_noise_are_found() -> None:
    noise = np.random.default_rng(0).bytes(800_000)
    chunks = [raw_chunk(number, 50 * 4, bytes([number % 251]) * 750) for number in range(1_523)]
    _, found = recover(LONG[:START] + noise + b"".join(chunks))
    assert [chunk.index for chunk in found] == list(range(1_523))
    _, found = recover(LONG[:START] + chunks[0] + noise + b"".join(chunks[1:]))
    assert [chunk.index for chunk in found] == list(range(1_523))
    _, found = recover(LONG[:START] + noise + chunks[7] + noise)  # one chunk alone may be one by chance
    assert found == []
    _, found = recover(LONG[:START] + noise + chunks[7])
    assert [chunk.index for chunk in found] == [7]


def test_a_truncated_file_gives_its_complete_chunks() -> None:
    for length in range(START, len(LONG), 37):
        whole = 13 if length >= 9446 else (length - START) // SIZE
        assert numbers(LONG[:length]) == list(range(whole))


@pytest.mark.parametrize("cut", [len(LONG), len(LONG) - 1, 9000])
@pytest.mark.parametrize("at", range(6))
def test_the_chunk_after_a_damaged_length_is_found(at: int, cut: int) -> None:
    """Recovery finds it with and without the index. The fields and the checksum of chunk 3 take 8 bytes."""
    place = START + 3 * SIZE + at
    damaged = LONG[:place] + bytes([LONG[place] ^ 0x41]) + LONG[place + 1 : cut]
    last = 13 if cut > 9000 else 11
    assert numbers(damaged) == [0, 1, 2, *range(4, last)]


def test_chunks_of_fewer_codebooks_are_found_too() -> None:
    """Damage each field of each chunk in turn, without a trailer. A short chunk after it cannot be found."""
    expected = {0: [1, 2], 1: [0], 2: [0, 1]}
    starts = Reader(io.BytesIO(VARYING)).chunk_offsets or ()
    for hit, start in enumerate(starts):
        for at in range(start, start + 7):
            damaged = VARYING[:at] + bytes([VARYING[at] ^ 0x41]) + VARYING[at + 1 : -1]
            assert [chunk.index for chunk in recover(damaged)[1]] == expected[hit]


def test_chunks_around_missing_or_additional_bytes_are_found() -> None:
    at = START + 5 * SIZE + 100
    assert numbers(LONG[:at] + LONG[at + 10 :]) == [0, 1, 2, 3, 4, *range(6, 13)]
    assert numbers(LONG[:at] + bytes(1000) + LONG[at:]) == [0, 1, 2, 3, 4, *range(6, 13)]
    assert numbers(LONG[: START + SIZE] + LONG[START + 4 * SIZE :]) == [0, *range(4, 13)]
    assert numbers(LONG[:START] + LONG[START + 3 * SIZE + 1 :]) == list(range(4, 13))


def test_a_chunk_that_begins_between_two_blocks_of_the_search_is_found() -> None:
    for size in range(2**16 - 20, 2**16 + 3):
        filled = LONG[: START + SIZE] + b"\xff" * size + LONG[START + SIZE : -1]
        assert numbers(filled) == list(range(13))


def test_a_trailer_that_contradicts_the_file_costs_at_most_the_index() -> None:
    wrong = FILE[:136] + raw_trailer([36, 35, 22], 8_000)
    assert [chunk.index for chunk in recover(wrong)[1]] == [0]  # sizes with the right sum are trusted
    other = FILE[:136] + raw_trailer([36, 36, 21], 7_000)
    reader, chunks = recover(other)
    assert (len(chunks), reader.num_samples, reader.chunk_offsets) == (3, 8_000, None)


def test_chunks_with_an_unknown_coding_are_lost() -> None:
    newer = raw_chunk(1, 4 * 4 + 1, bytes(30))
    data = FILE[:79] + newer + FILE[115:136] + raw_trailer([36, 36, 21], 8_000)
    assert [chunk.index for chunk in recover(data)[1]] == [0, 2]


def test_a_damaged_file_can_seek() -> None:
    reader = RecoveringReader(io.BytesIO(LONG[:3000] + b"?" + LONG[3001:]))
    reader.seek(3)
    assert [chunk.index for chunk in reader] == list(range(4, 13))


class CountingFile(io.BytesIO):
    """A file that counts the bytes read."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


WIDE = replace(
    LONG_HEADER, channels=8, num_codebooks=43, bits_per_code=16, frames_per_chunk=3000, varies=True
)
CLAIM = varint(3000 * 4 + 1) + varint(2_000_000)
WASTING = {  # streams of some 10,000 bytes, or 100,000, made to waste time
    "the beginning of a chunk": LONG[:START] + LONG[START : START + 4] * 25_000,
    "large claims": WIDE.to_bytes() + (CLAIM + b"1234") * 10_000,
    "intact chunks and large claims": WIDE.to_bytes()
    + b"".join(raw_chunk(number, 3000 * 4 + 2, b"", 0) + CLAIM for number in range(3_000)),
    "intact chunks and ends": WIDE.to_bytes()
    + b"".join(raw_chunk(number, 3000 * 4 + 2, b"", 0) + b"\0" for number in range(4_000)),
    "an index of large claims": WIDE.to_bytes()
    + (CLAIM + b"1234") * 9_000
    + raw_trailer([len(CLAIM) + 4] * 9_000, 0),
}


@pytest.mark.parametrize("data", WASTING.values(), ids=WASTING)
def test_the_work_for_a_stream_made_to_waste_time_is_bounded(
    monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setattr(recovery, "_BUDGET", 2**18)
    file = CountingFile(data)
    found = [chunk.index for chunk in RecoveringReader(file)]
    assert found == list(range(len(found)))
    assert file.count < 2**18 + 8 * len(data)


def test_chunks_of_invalid_codes_are_decoded_only_as_long_as_the_size_lets_expect() -> None:
    header = replace(HEADER, num_samples=None, frames_per_chunk=1, hop_length=60_000, model_sample_rate=1_000)
    chunks = (raw_chunk(number, 1 * 4, bytes(7) + b"\1") for number in range(200))  # 200 minutes
    reader = RecoveringReader(io.BytesIO(header.to_bytes() + b"".join(chunks)))
    with pytest.raises(TooLong, match=r"s of sound in 2843 bytes, .* all of it has invalid codes"):
        list(reader)


def test_a_pipe_is_refused() -> None:
    with pytest.raises(ValueError, match="seek"):
        RecoveringReader(Pipe(FILE))  # type: ignore[arg-type]
    with pytest.raises(BitstreamError, match="not a Lamella file"):
        RecoveringReader(Pipe(bytes(43) + FILE[43:]))  # type: ignore[arg-type]


def test_a_damaged_byte_is_repaired_by_the_checksum_even_if_another_file_follows() -> None:
    other = write(
        replace(LONG_HEADER, num_codebooks=24), random_codes(replace(LONG_HEADER, num_codebooks=24), 99), 0
    )
    reader, _ = recover(LONG[:20] + b"\7" + LONG[21:] + other)
    assert reader.header == LONG_HEADER


@given(st.data())
def test_any_bytes_after_a_header_give_chunks_in_order(data: st.DataObject) -> None:
    """Removed, changed, repeated and foreign bytes cause no error, and no chunk comes twice."""
    first, second = data.draw(st.permutations([FILE, LIVE, VARYING]))[:2]
    body, other = first[43:], second[43:]
    for _ in range(data.draw(st.integers(1, 3))):
        start, end = sorted(data.draw(st.tuples(st.integers(0, len(body)), st.integers(0, len(body)))))
        body = data.draw(
            st.sampled_from(
                [
                    body[:start],
                    body[:start] + bytes(byte ^ 0x20 for byte in body[start:end]) + body[end:],
                    body[:start] + body[end:],
                    body[:end] + body[start:],
                    body[:start] + other[end:],
                ]
            )
        )
    _, chunks = recover(data.draw(st.sampled_from([FILE[:43], LIVE[:43], VARYING[:43]])) + body)
    indices = [chunk.index for chunk in chunks]
    assert indices == sorted(set(indices))
