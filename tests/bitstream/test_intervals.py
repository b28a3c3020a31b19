"""Intervals follow their description exactly, fill the range of the coder, and are never empty."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codec.bitstream.intervals import interval, intervals
from codec.bitstream.rangecoder import TOTAL


@st.composite
def scores(draw: st.DrawFn) -> np.ndarray:
    """Draw scores in steps of 1/8, of a small or a large range: float32 [rows, size]."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 40)))
    extent = draw(st.sampled_from((300, 60_000)))
    return (generator.integers(-extent, extent, shape) / 8).astype(np.float32)


def described(row: list[float]) -> list[int]:
    """Return the bounds for one row of scores, as the description in `intervals.py` defines them."""
    weights = [weight(int(max(row) - score)) for score in row]
    sums = [sum(weights[:number]) for number in range(len(row) + 1)]
    return [number + sums[number] * (2**16 - len(row)) // sums[-1] for number in range(len(row) + 1)]


def weight(gap: int) -> int:
    """Return floor(2^(16 - gap / 256)), exactly: its 256th power is at most 2^(4096 - gap)."""
    if gap >= 4096:
        return 0
    root = round(2 ** (16 - gap / 256))
    return root if root**256 <= 2 ** (4096 - gap) else root - 1


@given(scores())
def test_bounds_are_as_described(scores: np.ndarray) -> None:
    assert intervals(scores).tolist() == [described(row) for row in scores.tolist()]


@given(scores())
def test_intervals_fill_the_range_and_none_is_empty(scores: np.ndarray) -> None:
    bounds = intervals(scores)
    assert (bounds[..., 0] == 0).all()
    assert (bounds[..., -1] == TOTAL).all()
    assert (np.diff(bounds) >= 1).all()


@given(scores(), st.integers(0, 2**32 - 1))
def test_one_interval_is_the_same_as_among_all(scores: np.ndarray, seed: int) -> None:
    numbers = np.random.default_rng(seed).integers(0, scores.shape[1], len(scores))
    expected = np.take_along_axis(intervals(scores), numbers[..., None] + np.arange(2), axis=-1)
    np.testing.assert_array_equal(interval(scores, numbers), expected)
