"""The range coder is reversible, takes the bits it should, and never reads damaged bytes as the same symbols."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.bitstream.rangecoder import TOTAL, RangeDecoder, RangeEncoder

Interval = tuple[int, int]  # start and count


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    """Draw any interval; more often one at an end, a very narrow or a very wide one."""
    count = draw(st.one_of(st.sampled_from((1, 2, TOTAL - 1, TOTAL)), st.integers(1, TOTAL)))
    last = TOTAL - count
    return draw(st.one_of(st.sampled_from((0, last)), st.integers(0, last))), count


def encode(row: list[Interval]) -> bytes:
    """Encode a row, half of it at a time."""
    encoder, middle = RangeEncoder(), len(row) // 2
    for part in (row[:middle], row[middle:]):
        encoder.write((start, start + count) for start, count in part)
    return encoder.finish()


def decode(data: bytes, tables: list[list[Interval]]) -> list[Interval]:
    """Decode one symbol for each table, which holds all intervals of that symbol."""
    decoder = RangeDecoder([data])
    symbols = [table[decoder.read(bounds_of([table]))[0]] for table in tables]
    (fault,) = decoder.faults()
    if fault:
        raise ValueError(fault)
    return symbols


def bounds_of(tables: list[list[Interval]]) -> np.ndarray:
    return np.array([[*(start for start, _ in table), TOTAL] for table in tables])


def table_with(interval: Interval) -> list[Interval]:
    """Return the interval, and the intervals before and after it that fill the range."""
    start, count = interval
    parts = [(0, start), interval, (start + count, TOTAL - start - count)]
    return [part for part in parts if part[1]]


def test_the_encoded_bytes_never_change() -> None:
    assert encode([]) == b""
    assert encode([(0, TOTAL)] * 9) == b""
    assert encode([(0, 1)] * 3).hex() == "000000000000"
    assert encode([(1, 1)] * 3).hex() == "000100000000"
    assert encode([(TOTAL - 1, 1)] * 6).hex() == "fffeffffffffffffffffffff80"
    row = [(k * 7919 % 60000, 1 + k * k * 31 % 5000) for k in range(20)]
    assert encode(row).hex() == "00001ef6a2451e488f4c4747149e09d3b8"


@given(st.lists(intervals(), max_size=200))
def test_symbols_are_decoded_again_and_take_the_bits_they_should(row: list[Interval]) -> None:
    data = encode(row)
    assert decode(data, [table_with(interval) for interval in row]) == row
    bits = sum(math.log2(TOTAL / count) for _, count in row)
    assert len(data) * 8 <= bits * 1.0005 + 0.01 * len(row) + 16


def test_a_carry_runs_through_many_bytes() -> None:
    guide, row = RangeDecoder([b"\x80" + bytes(60)]), []  # stays near 1/2, and finally goes above it
    for _ in range(30):
        (place,) = guide.peek()
        guide.take(place - 1, place + 1)
        row.append((int(place) - 1, 2))
    (place,) = guide.peek().tolist()
    below = encode([*row, (place - 1, 1)])
    row.append((place + 1, 1))
    data = encode(row)
    assert (below[:50], data[:50]) == (b"\x7f" + b"\xff" * 49, b"\x80" + bytes(49))
    assert decode(data, [table_with(interval) for interval in row]) == row


@given(st.binary(max_size=40), st.lists(intervals(), max_size=60))
def test_any_bytes_are_a_fault_or_encode_to_the_same_bytes(data: bytes, row: list[Interval]) -> None:
    try:
        symbols = decode(data, [table_with(interval) for interval in row])
    except ValueError:
        return
    assert encode(symbols) == data


@given(st.lists(intervals(), min_size=9, max_size=9), st.integers(0, 2))
def test_byte_strings_are_decoded_independently_also_of_a_truncated_one(
    row: list[Interval], cut: int
) -> None:
    rows = [row, row[::-1], row[4:] + row[:4]]
    coded = list(map(encode, rows))
    coded[cut] = coded[cut][:-1]
    decoder = RangeDecoder(coded)
    for column in zip(*rows, strict=True):
        bounds = np.array([[0, start, start + count, TOTAL] for start, count in column])
        symbols = decoder.read(bounds)
        assert all(number == 1 for place, number in enumerate(symbols) if place != cut)
    assert [place for place, fault in enumerate(decoder.faults()) if fault and place != cut] == []


@given(st.lists(intervals(), min_size=1, max_size=60), st.data())
def test_truncated_bytes_are_a_fault_or_other_symbols(row: list[Interval], given_data: st.DataObject) -> None:
    data = encode(row)
    cut = data[: given_data.draw(st.integers(0, max(len(data) - 1, 0)))]
    try:
        symbols = decode(cut, [table_with(interval) for interval in row])
    except ValueError:
        return
    assert symbols != row or cut == data


def test_additional_bytes_are_a_fault() -> None:
    row = [(300, 7)] * 5
    with pytest.raises(ValueError, match="ends in"):
        decode(encode(row) + b"\x01", [table_with(interval) for interval in row])


@pytest.mark.parametrize(("start", "count"), [(-1, 2), (0, 0), (5, -1), (TOTAL, 1), (1, TOTAL)])
def test_intervals_outside_the_range_are_refused(start: int, count: int) -> None:
    with pytest.raises(ValueError, match="interval"):
        encode([(start, count)])
