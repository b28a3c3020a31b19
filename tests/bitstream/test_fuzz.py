"""The fuzz target on drawn and on damaged streams; `tests/fuzz` holds the search that is guided by coverage."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
import target

SEEDS = target.seeds()


@pytest.mark.parametrize("mode", range(16))
def test_sound_streams(mode: int) -> None:
    mine = [seed for seed in SEEDS if seed[0] == mode]
    assert len(mine) == 10
    for seed in mine:
        target.check(seed)


@given(st.sampled_from(SEEDS), st.sampled_from(SEEDS), st.data())
def test_two_streams_spliced_with_some_bytes_changed(
    first: bytes, second: bytes, data: st.DataObject
) -> None:
    cut, on = data.draw(st.integers(1, len(first))), data.draw(st.integers(1, len(second)))
    spliced = bytearray(first[:cut] + second[on:])
    for _ in range(data.draw(st.integers(0, 3))):
        spliced[data.draw(st.integers(0, len(spliced) - 1))] = data.draw(st.integers(0, 255))
    target.check(bytes(spliced))


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    target.check(data)


def test_what_is_put_right_is_read() -> None:
    for seed, field in ((target.SOUND, 46), (SEEDS[3][1:], 47)):
        damaged = bytearray(seed)
        damaged[39] ^= 1  # checksums of the header, of a chunk, of the trailer
        damaged[field] ^= 1
        damaged[-1] ^= 1
        assert target.repaired(bytes(damaged)) == seed
