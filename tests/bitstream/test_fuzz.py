"""The fuzz target on random and damaged streams; `tests/fuzz` has the search that is guided by coverage."""

from __future__ import annotations

import pytest
from fuzz import target
from hypothesis import given
from hypothesis import strategies as st

SEEDS = target.seeds()


@pytest.mark.parametrize("mode", range(16))
def test_valid_streams_pass_in_every_mode(mode: int) -> None:
    of_mode = [seed for seed in SEEDS if seed[0] == mode]
    assert len(of_mode) == 6 + 6  # written here, and golden
    for seed in of_mode:
        target.check(seed)


@given(st.sampled_from(SEEDS), st.sampled_from(SEEDS), st.data())
def test_two_streams_joined_with_some_bytes_changed_pass(
    first: bytes, second: bytes, data: st.DataObject
) -> None:
    cut, on = data.draw(st.integers(1, len(first))), data.draw(st.integers(1, len(second)))
    spliced = bytearray(first[:cut] + second[on:])
    for _ in range(data.draw(st.integers(0, 3))):
        spliced[data.draw(st.integers(0, len(spliced) - 1))] = data.draw(st.integers(0, 255))
    target.check(bytes(spliced))


@given(st.binary(max_size=300))
def test_any_bytes_pass(data: bytes) -> None:
    target.check(data)


def test_damaged_checksums_are_corrected() -> None:
    for seed, field in ((target.VALID, 46), (SEEDS[3][1:], 47)):
        damaged = bytearray(seed)
        damaged[39] ^= 1  # the checksums of the header, a chunk and the trailer
        damaged[field] ^= 1
        damaged[-1] ^= 1
        assert target.repaired(bytes(damaged)) == seed
