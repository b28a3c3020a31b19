"""The arrays of a prior: their names, types and sizes, checked before they are read, and their values.

`prior.py` says what they mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from codec.errors import shortened

Array = NDArray[np.integer]
Sizes = dict[str, int]  # of the dimensions, by the names in LAYOUT

LAYOUT = {  # name of an array -> type and names of its dimensions
    "codewords": (np.int8, ("codebooks", "size", "dim")),
    "order": (np.int16, ("codebooks", "size")),
    "prediction": (np.int16, ("base", "base")),
    "base_codebooks": (np.int32, ()),
    "restart_frames": (np.int32, ()),
    "hidden1.kernel": (np.int16, ("codebooks", "context", "wide")),
    "hidden1.bias": (np.int32, ("codebooks", "wide")),
    "hidden1.shift": (np.int32, ("codebooks",)),
    "hidden2.kernel": (np.int16, ("codebooks", "wide", "narrow")),
    "hidden2.bias": (np.int32, ("codebooks", "narrow")),
    "hidden2.shift": (np.int32, ("codebooks",)),
    "group.kernel": (np.int8, ("codebooks", "narrow", "groups")),
    "group.bias": (np.int32, ("codebooks", "groups")),
    "group.shift": (np.int32, ("codebooks",)),
    "place.kernel": (np.int8, ("codebooks", "groups", "narrow", "members")),
    "place.bias": (np.int32, ("codebooks", "groups", "members")),
    "place.shift": (np.int32, ("codebooks",)),
}
_MAX_SIZES = {"codebooks": 2**8, "size": 2**14, "dim": 2**10, "wide": 2**10, "narrow": 2**7}
MAX_SHIFT, MAX_BIAS = 30, 2**22
_LIMITS = {  # smallest and largest value, where not all values of the type are allowed
    "base_codebooks": (1, 2**8),
    "restart_frames": (1, 2**16),
    "hidden1.shift": (0, MAX_SHIFT),
    "hidden2.shift": (0, MAX_SHIFT),
    "group.shift": (0, MAX_SHIFT),
    "group.bias": (-MAX_BIAS, MAX_BIAS),
    "place.shift": (0, MAX_SHIFT),
    "place.bias": (-MAX_BIAS, MAX_BIAS),
}
MAX_NUMBERS = 2**27  # in all arrays together; the prior of `lamella-48k` has 8 million


def check(arrays: Mapping[str, Array]) -> None:
    """Raise ValueError unless these are the arrays of a prior, and no sum can be rounded."""
    sizes = check_sizes({name: (array.dtype.name, array.shape) for name, array in arrays.items()})
    for name, (low, high) in _LIMITS.items():
        least, most = arrays[name].min(), arrays[name].max()
        if least < low or most > high:
            raise ValueError(f"{name} is {least} to {most}, expected {low} to {high}")
    if (np.sort(arrays["order"], axis=-1) != np.arange(sizes["size"])).any():
        raise ValueError("an order that does not contain each code exactly once")


def check_sizes(found: Mapping[str, tuple[str, tuple[int, ...]]]) -> Sizes:
    """Return the sizes of the dimensions, given numpy's name of the type and the shape of each array.

    Raises:
        ValueError: these are not the arrays of a prior, or they do not fit each other.
    """
    for words, odd in (("missing", LAYOUT.keys() - found.keys()), ("unknown", found.keys() - LAYOUT.keys())):
        if odd:
            raise ValueError(f"arrays are {words}: {shortened(odd)}")
    sizes: Sizes = {}
    for name in LAYOUT:
        _check_shape(name, *found[name], sizes)
    context = 2 + 3 * sizes["base"] + 2 * sizes["dim"]
    if sizes["context"] != context or sizes["base"] > sizes["dim"]:
        raise ValueError(f"a context of {sizes['context']}, expected {context}")
    if sizes["groups"] * sizes["members"] != sizes["size"]:
        raise ValueError(f"{sizes['groups']} groups of {sizes['members']}, expected {sizes['size']} in all")
    numbers = sum(math.prod(shape) for _, shape in found.values())
    if numbers > MAX_NUMBERS:
        raise ValueError(f"{numbers} numbers, expected at most {MAX_NUMBERS}")
    return sizes


def _check_shape(name: str, kind: str, shape: tuple[int, ...], sizes: Sizes) -> None:
    """Check one array against `LAYOUT`, and its shape against the `sizes` seen so far, which it extends."""
    expected, dimensions = np.dtype(LAYOUT[name][0]).name, LAYOUT[name][1]
    if kind != expected or len(shape) != len(dimensions):
        raise ValueError(
            f"{name} is {kind} of {len(shape)} dimensions, expected {expected} of {len(dimensions)} dimensions"
        )
    for dimension, size in zip(dimensions, shape, strict=True):
        if sizes.setdefault(dimension, size) != size or not 1 <= size <= _MAX_SIZES.get(dimension, size):
            raise ValueError(f"{name} has shape {shape}, which does not fit: {dimension} {size}")
