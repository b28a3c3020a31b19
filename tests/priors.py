"""Priors for tests: of drawn whole numbers, and one in Python's integers, from the page of `prior.py`."""

from __future__ import annotations

import math

import numpy as np

SIZE, DIM, BASE, WIDE, NARROW = 16, 4, 2, 5, 3  # codewords, dimensions, those of the base, hidden units
CONTEXT = 1 + 3 * BASE + 4 * DIM
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
        "prediction": whole(np.int16, 3000, BASE, BASE),
        "base_codebooks": np.array(2, np.int32),
        "restart_frames": np.array(RESTART, np.int32),
        "hidden1.kernel": whole(np.int16, 300, codebooks, CONTEXT, WIDE),
        "hidden1.bias": whole(np.int32, 90000, codebooks, WIDE),
        "hidden1.shift": shifts(8),
        "hidden2.kernel": whole(np.int16, 300, codebooks, WIDE, NARROW),
        "hidden2.bias": whole(np.int32, 90000, codebooks, NARROW),
        "hidden2.shift": shifts(8),
        "output.kernel": whole(np.int8, 40, codebooks, NARROW, size),
        "output.bias": whole(np.int32, 9000, codebooks, size),
        "output.shift": shifts(3),
    }


def bounds_by_the_page(arrays: Arrays, codes: list[list[int]], codebook: int) -> list[int]:
    """The intervals of the next code, of one channel: `codes` are all frames, the last one up to before `codebook`."""
    base, before, earlier, rest, past = states_by_the_page(arrays, codes, codebook)
    first = 16 if len(codes) == 1 else 0
    known = [first, *base, *before, *earlier, *rest, *map(abs, rest), *past, *map(abs, past)]
    for name in ("hidden1", "hidden2"):
        known = [
            min(max(value >> int(arrays[f"{name}.shift"][codebook]), 0), 255)
            for value in layer(arrays, name, codebook, known)
        ]
    scores = layer(arrays, "output", codebook, known)
    gaps = [max(scores) - score >> int(arrays["output.shift"][codebook]) for score in scores]
    weights = [int(2 ** (16 - gap / 256)) if gap < 4096 else 0 for gap in gaps]
    places = range(len(weights) + 1)
    return [code + sum(weights[:code]) * (2**16 - len(weights)) // sum(weights) for code in places]


def layer(arrays: Arrays, name: str, codebook: int, values: list[int]) -> list[int]:
    kernel, bias = arrays[f"{name}.kernel"][codebook].tolist(), arrays[f"{name}.bias"][codebook].tolist()
    return [
        sum(map(math.prod, zip(values, column, strict=True))) + bias[i]
        for i, column in enumerate(zip(*kernel, strict=True))
    ]


def states_by_the_page(arrays: Arrays, codes: list[list[int]], codebook: int) -> tuple[list[int], ...]:
    """base, before, earlier, rest and past of the next code."""
    prediction, first_others = arrays["prediction"].tolist(), int(arrays["base_codebooks"])
    words = arrays["codewords"].tolist()
    base, before, earlier = ([0] * BASE for _ in range(3))
    rest, past = [0] * DIM, [0] * DIM
    for frame, row in enumerate(codes):
        past_row = codes[frame - 1] if frame else []
        if frame:
            before, earlier = base, before
        base = [0] * BASE
        if frame % RESTART:
            sums = [
                sum(map(math.prod, zip(before, column, strict=True)))
                for column in zip(*prediction, strict=True)
            ]
            base = [min(max(value + 2048 >> 12, -2047), 2047) for value in sums]
        base = add(base, [words[k][code] for k, code in enumerate(row) if k < first_others])
        rest = add([0] * DIM, [words[k][code] for k, code in enumerate(row) if k >= first_others])
        upto = [words[k][code] for k, code in enumerate(past_row) if first_others <= k <= codebook]
        past = add([0] * DIM, upto if codebook >= first_others else [])
    return base, before, earlier, rest, past


def add(start: list[int], rows: list[list[int]]) -> list[int]:
    """The sum, of as many dimensions as `start` has."""
    return [value + sum(row[i] for row in rows) for i, value in enumerate(start)]
