"""Random priors for tests, and a reference in Python integers.

The reference follows the specification in the docstring of `codec/bitstream/prior.py` line by line, without numpy's
arithmetic. Its functions take the codes of one channel as a list of frames.
"""

from __future__ import annotations

import math

import numpy as np

SIZE = 16  # codewords in a codebook
DIM, BASE = 4, 2  # dimensions of a codeword, and of its base
WIDE, NARROW = 5, 3  # units of the hidden layers
GROUPS = 2
CONTEXT = 2 + 3 * BASE + 2 * DIM
RESET_INTERVAL = 5  # frames

Arrays = dict[str, np.ndarray]


def random_prior(seed: int = 0, codebooks: int = 3, extent: float = 1.0, size: int = SIZE) -> Arrays:
    """Return the arrays of a random prior.

    Args:
        seed: the seed of the random numbers.
        codebooks: how many codebooks the model has.
        extent: the size of the weights. 1 gives clearly different likelihoods, 1000 the most extreme ones.
        size: codewords in a codebook.
    """
    generator = np.random.default_rng(seed)

    def whole(kind: type, largest: float, *shape: int) -> np.ndarray:
        limit = min(largest * extent, np.iinfo(kind).max, 2**22)
        return np.rint(generator.uniform(-limit, limit, shape)).astype(kind)

    def shifts(value: int) -> np.ndarray:
        return np.full(codebooks, value, np.int32)

    return {
        "codewords": whole(np.int8, 60, codebooks, size, DIM),
        "order": np.stack([generator.permutation(size) for _ in range(codebooks)]).astype(np.int16),
        "prediction": whole(np.int16, 3000, BASE, BASE),
        "base_codebooks": np.array(2, np.int32),
        "restart_frames": np.array(RESET_INTERVAL, np.int32),
        "hidden1.kernel": whole(np.int16, 300, codebooks, CONTEXT, WIDE),
        "hidden1.bias": whole(np.int32, 90000, codebooks, WIDE),
        "hidden1.shift": shifts(8),
        "hidden2.kernel": whole(np.int16, 300, codebooks, WIDE, NARROW),
        "hidden2.bias": whole(np.int32, 90000, codebooks, NARROW),
        "hidden2.shift": shifts(8),
        "group.kernel": whole(np.int8, 40, codebooks, NARROW, GROUPS),
        "group.bias": whole(np.int32, 9000, codebooks, GROUPS),
        "group.shift": shifts(3),
        "place.kernel": whole(np.int8, 40, codebooks, GROUPS, NARROW, size // GROUPS),
        "place.bias": whole(np.int32, 9000, codebooks, GROUPS, size // GROUPS),
        "place.shift": shifts(3),
    }


def reference_intervals(
    arrays: Arrays, codes: list[list[int]], codebook: int, depth: int
) -> tuple[list[int], list[list[int]]]:
    """Return the intervals of the next code: of its group, and of its place in each group.

    Args:
        arrays: the prior.
        codes: all frames so far; the last one ends before `codebook`.
        codebook: the number of the next code in its frame.
        depth: the number of codebooks in the stream.
    """
    base, before, earlier, rest, past = _states(arrays, codes)
    first = 16 if len(codes) == 1 else 0
    known = [first, depth, *before, *earlier, *past, *base, *rest]
    for name in ("hidden1", "hidden2"):
        sums = _layer(arrays[f"{name}.kernel"][codebook], arrays[f"{name}.bias"][codebook], known)
        known = [min(max(value >> int(arrays[f"{name}.shift"][codebook]), 0), 255) for value in sums]
    scores = _layer(arrays["group.kernel"][codebook], arrays["group.bias"][codebook], known)
    of_groups = _intervals(scores, int(arrays["group.shift"][codebook]))
    of_places = []
    for kernel, bias in zip(arrays["place.kernel"][codebook], arrays["place.bias"][codebook], strict=True):
        scores = _layer(kernel, bias, known)
        of_places.append(_intervals(scores, int(arrays["place.shift"][codebook])))
    return of_groups, of_places


def _intervals(scores: list[int], shift: int) -> list[int]:
    """Return the starts of the intervals that these scores give, and the end of the last."""
    gaps = [max(scores) - score >> shift for score in scores]
    weights = [int(2 ** (16 - gap / 256)) if gap < 4096 else 0 for gap in gaps]
    places = range(len(weights) + 1)
    return [place + sum(weights[:place]) * (2**16 - len(weights)) // sum(weights) for place in places]


def _layer(kernel: np.ndarray, bias: np.ndarray, values: list[int]) -> list[int]:
    """Return values @ kernel + bias."""
    columns = zip(*kernel.tolist(), strict=True)
    return [
        sum(map(math.prod, zip(values, column, strict=True))) + start
        for column, start in zip(columns, bias.tolist(), strict=True)
    ]


def _states(arrays: Arrays, codes: list[list[int]]) -> tuple[list[int], ...]:
    """Return `base`, `before`, `earlier`, `rest` and `past` of the specification for the next code."""
    prediction, first_others = arrays["prediction"].tolist(), int(arrays["base_codebooks"])
    words = arrays["codewords"].tolist()
    base, before, earlier = ([0] * BASE for _ in range(3))
    rest, past = [0] * DIM, [0] * DIM
    for frame, row in enumerate(codes):
        if frame:
            before, earlier, past = base, before, rest
        base = [0] * BASE
        if frame % RESET_INTERVAL:
            sums = [
                sum(map(math.prod, zip(before, column, strict=True)))
                for column in zip(*prediction, strict=True)
            ]
            base = [min(max(value + 2048 >> 12, -2047), 2047) for value in sums]
        base = _add(base, [words[k][code] for k, code in enumerate(row) if k < first_others])
        rest = _add([0] * DIM, [words[k][code] for k, code in enumerate(row) if k >= first_others])
    return base, before, earlier, rest, past


def _add(start: list[int], rows: list[list[int]]) -> list[int]:
    """Add the first dimensions of the rows to `start`, as many as it has."""
    return [value + sum(row[i] for row in rows) for i, value in enumerate(start)]
