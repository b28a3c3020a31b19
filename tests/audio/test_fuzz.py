"""The fuzz target for WAV on random and damaged files; `tests/fuzz` has the search that is guided by coverage."""

from __future__ import annotations

import pytest
from fuzz import wav_target
from hypothesis import given
from hypothesis import strategies as st

SEEDS = wav_target.seeds()


@pytest.mark.parametrize("seed", SEEDS[:20])
def test_valid_files_pass(seed: bytes) -> None:
    wav_target.check(seed)


@given(st.sampled_from(SEEDS), st.data())
def test_files_with_some_bytes_changed_pass(seed: bytes, data: st.DataObject) -> None:
    changed = bytearray(seed[: data.draw(st.integers(1, len(seed)))])
    for _ in range(data.draw(st.integers(0, 4))):
        changed[data.draw(st.integers(0, min(80, len(changed)) - 1))] = data.draw(st.integers(0, 255))
    wav_target.check(bytes(changed))


@given(st.binary(max_size=200))
def test_any_bytes_pass(data: bytes) -> None:
    wav_target.check(data)
