"""Turn scores into the intervals of the range coder, with integers only.

A score is the logarithm of a likelihood, in steps of 1/256 of a factor of two. `size` scores give intervals that fill
0 .. 2^16, and none of them is empty:

    gap     = floor(largest score - score)
    weight  = floor(2^(16 - gap / 256)), 0 where gap is 4096 or more
    start   = number + floor(sum of the weights of smaller numbers * (2^16 - size) / sum of all weights)
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.rangecoder import TOTAL

SCORE_BITS = 8  # a factor of two has 2^8 steps


def intervals(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the bounds of all intervals, [.., size + 1], for scores [.., size]."""
    sums, size = _sums_of_weights(scores), scores.shape[-1]
    return _bounds(sums, sums[..., -1:], np.arange(size + 1), size)


def interval(scores: NDArray[np.floating], numbers: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the bounds of one interval, [.., 2], for scores [.., size] and its number [..]."""
    sums, places = _sums_of_weights(scores), numbers[..., np.newaxis] + np.arange(2)
    return _bounds(np.take_along_axis(sums, places, axis=-1), sums[..., -1:], places, scores.shape[-1])


def _sums_of_weights(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return, for each number, the sum of the weights of smaller numbers, and the sum of all: [.., size + 1]."""
    table, gaps = _weights(), scores.max(axis=-1, keepdims=True) - scores
    weights = table[np.minimum(gaps, len(table) - 1).astype(np.int64)]
    sums = np.zeros((*weights.shape[:-1], scores.shape[-1] + 1), np.int64)
    np.cumsum(weights, axis=-1, out=sums[..., 1:])
    return sums


def _bounds(
    sums: NDArray[np.int64], total: NDArray[np.int64], numbers: NDArray[np.integer], size: int
) -> NDArray[np.int64]:
    bounds: NDArray[np.int64] = sums * (TOTAL - size) // total + numbers
    return bounds


@functools.cache  # on first use, since it takes some 7 ms, and not every program range codes
def _weights() -> NDArray[np.int64]:
    """Return the table of floor(2^(16 - gap / 256)) for each gap, with a 0 at the end.

    The first 256 entries are 256th roots, each by eight square roots of integers. The others are these shifted right,
    which is exact: floor(floor(x) / 2^n) is floor(x / 2^n).
    """
    steps = 1 << SCORE_BITS
    first = []
    for gap in range(steps):
        root = 1 << 16 * steps - gap
        for _ in range(SCORE_BITS):
            root = math.isqrt(root)
        first.append(root)
    return np.append(np.array(first) >> np.arange(16)[:, np.newaxis], 0)
