"""Priors for tests: of drawn whole numbers, and one in Python's integers, from the page of `prior.py`."""

from __future__ import annotations

import math

import numpy as np

SIZE, DIM, BASE, WIDE, NARROW = 16, 4, 2, 5, 3  # codewords, dimensions, those of the base, hidden units
GROUPS = 2
CONTEXT = 2 + 3 * BASE + 2 * DIM
RESTART = 5  # frames

Arrays = dict[str, np.ndarray]


def drawn(seed: int = 0, codebooks: int = 3, extent: float = 1.0, size: int = SIZE) -> Arrays:
    """Arrays of a prior; with an extent of 1 its intervals differ much, with one of 1000 it is as steep as can be."""
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
        "restart_frames": np.array(RESTART, np.int32),
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


def bounds_by_the_page(
    arrays: Arrays, codes: list[list[int]], codebook: int, depth: int
) -> tuple[list[int], list[list[int]]]:
    """The intervals of the next code's group, and of its place in each group, of one channel of a stream.

    `codes` are all frames, the last one up to before `codebook`; the stream has `depth` codebooks.
    """
    base, before, earlier, rest, past = states_by_the_page(arrays, codes)
    first = 16 if len(codes) == 1 else 0
    known = [first, depth, *before, *earlier, *past, *base, *rest]
    for name in ("hidden1", "hidden2"):
        sums = layer(arrays[f"{name}.kernel"][codebook], arrays[f"{name}.bias"][codebook], known)
        known = [min(max(value >> int(arrays[f"{name}.shift"][codebook]), 0), 255) for value in sums]
    scores = layer(arrays["group.kernel"][codebook], arrays["group.bias"][codebook], known)
    of_groups = intervals_by_the_page(scores, int(arrays["group.shift"][codebook]))
    of_places = []
    for kernel, bias in zip(arrays["place.kernel"][codebook], arrays["place.bias"][codebook], strict=True):
        scores = layer(kernel, bias, known)
        of_places.append(intervals_by_the_page(scores, int(arrays["place.shift"][codebook])))
    return of_groups, of_places


def intervals_by_the_page(scores: list[int], shift: int) -> list[int]:
    gaps = [max(scores) - score >> shift for score in scores]
    weights = [int(2 ** (16 - gap / 256)) if gap < 4096 else 0 for gap in gaps]
    places = range(len(weights) + 1)
    return [place + sum(weights[:place]) * (2**16 - len(weights)) // sum(weights) for place in places]


def layer(kernel: np.ndarray, bias: np.ndarray, values: list[int]) -> list[int]:
    columns = zip(*kernel.tolist(), strict=True)
    return [
        sum(map(math.prod, zip(values, column, strict=True))) + start
        for column, start in zip(columns, bias.tolist(), strict=True)
    ]


def states_by_the_page(arrays: Arrays, codes: list[list[int]]) -> tuple[list[int], ...]:
    """base, before, earlier, rest and past of the next code."""
    prediction, first_others = arrays["prediction"].tolist(), int(arrays["base_codebooks"])
    words = arrays["codewords"].tolist()
    base, before, earlier = ([0] * BASE for _ in range(3))
    rest, past = [0] * DIM, [0] * DIM
    for frame, row in enumerate(codes):
        if frame:
            before, earlier, past = base, before, rest
        base = [0] * BASE
        if frame % RESTART:
            sums = [
                sum(map(math.prod, zip(before, column, strict=True)))
                for column in zip(*prediction, strict=True)
            ]
            base = [min(max(value + 2048 >> 12, -2047), 2047) for value in sums]
        base = add(base, [words[k][code] for k, code in enumerate(row) if k < first_others])
        rest = add([0] * DIM, [words[k][code] for k, code in enumerate(row) if k >= first_others])
    return base, before, earlier, rest, past


def add(start: list[int], rows: list[list[int]]) -> list[int]:
    """The sum, of as many dimensions as `start` has."""
    return [value + sum(row[i] for row in rows) for i, value in enumerate(start)]
