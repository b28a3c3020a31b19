"""Codes with a fixed number of bits.

Each code takes `bits_per_code` bits, most significant bit first. Codes follow each other without gaps, and zero bits
fill the last byte. Three codes a, b, c of 10 bits:

    byte     0        1        2        3
    bit      76543210 76543210 76543210 76543210
             aaaaaaaa aabbbbbb bbbbcccc cccccc00
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_BITS_PER_CODE = 16


def packed_size(count: int, bits_per_code: int) -> int:
    """Return the number of bytes that `count` codes take."""
    return (count * bits_per_code + 7) // 8


def pack(codes: ArrayLike, bits_per_code: int) -> bytes:
    """Convert codes to bits, the last axis fastest.

    Raises:
        ValueError: the codes are not integers from 0 to 2 ** bits_per_code - 1.
    """
    _check_width(bits_per_code)
    values = np.asarray(codes)
    if values.dtype.kind not in "iu":
        raise ValueError(f"codes must be integers, not {values.dtype}")
    values = values.ravel()
    outside = (values < 0) | (values >= 1 << bits_per_code)
    if outside.any():
        raise ValueError(f"code {values[outside][0]} does not fit {bits_per_code} bits")
    values = values.astype(np.uint16)
    bits = np.empty((values.size, bits_per_code), np.uint8)
    for column in range(bits_per_code):
        bits[:, column] = (values >> (bits_per_code - 1 - column)) & 1
    return np.packbits(bits).tobytes()


def unpack(data: bytes, count: int, bits_per_code: int) -> NDArray[np.int32]:
    """Convert bits back to codes, int32 [count]; the inverse of `pack`.

    Raises:
        ValueError: `data` has another length than `pack` gives, or its padding bits are not zero.
    """
    _check_width(bits_per_code)
    size = packed_size(count, bits_per_code)
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes, expected {size} for {count} codes of {bits_per_code} bits")
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    used = count * bits_per_code
    if bits[used:].any():
        raise ValueError(f"padding bits {''.join(map(str, bits[used:]))}, expected zeros")
    columns = bits[:used].reshape(count, bits_per_code)
    values = np.zeros(count, np.int32)
    for column in range(bits_per_code):
        values = (values << 1) | columns[:, column]
    return values


def _check_width(bits_per_code: int) -> None:
    if not 1 <= bits_per_code <= MAX_BITS_PER_CODE:
        raise ValueError(f"bits_per_code {bits_per_code} must be from 1 to {MAX_BITS_PER_CODE}")
