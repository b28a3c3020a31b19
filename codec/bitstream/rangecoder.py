r"""An integer range coder: a code takes about log2(2^16 / count) bits (Martin 1979; carries as in Schindler's).

What comes next is one of several intervals that fill 0 .. 2^16: it begins at `start` and is `count` >= 1 wide. All
codes so far are one interval of the fractions between 0 and 1, and each next one divides it:

    low                                     low + range
     |---------------|=============|---------|                   a window of 32 bits on the fraction
                   start      start + count                      in units of range >> 16, from low

`range` is kept above 2^24: each time it falls below, the top byte of `low` is written and both move up by 8 bits. An
addition may carry into bytes that were written already. At the end come the 4 bytes of that number in the window from
`low` to `low + range` (not included) which ends in the most zero bits, without the zero bytes that they end in: a
decoder reads zeros behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

TOTAL_BITS = 16
TOTAL = 1 << TOTAL_BITS  # of all counts

_WIDTH = 32  # bits of `range`, and of the window on `low`
_TOP = 1 << _WIDTH
_LEAST = _TOP >> 8  # below it a byte is written
_WINDOW = _WIDTH // 8  # bytes


def encoded(row: Iterable[tuple[int, int]]) -> bytes:
    """Write codes one after another, each as its interval `start` .. `end` of 0 .. 2^16; ValueError for no such one."""
    low, width, written = 0, _TOP - 1, bytearray()
    for start, end in row:
        if not 0 <= start < end <= TOTAL:
            raise ValueError(f"interval {start} to {end}, expected one within 0 to {TOTAL}")
        unit = width >> TOTAL_BITS
        low += start * unit
        width = (end - start) * unit
        if low >= _TOP:
            low -= _TOP
            _carry(written)
        while width < _LEAST:
            written.append(low >> _WIDTH - 8)
            low = low << 8 & _TOP - 1
            width <<= 8
    if _roundest(low, width) >= _TOP:
        _carry(written)
    return bytes(written) + _ending(low, width)


class RangeDecoder:
    """Reads rows of bytes back side by side: `read` as many codes of each as were written, at the end `faults`.

    Whatever the bytes are, reading goes on as long as it is asked to; a row that no encoder wrote gives some codes, and
    is a fault in the end.
    """

    def __init__(self, rows: Sequence[bytes]) -> None:
        self._rows = rows
        self._lengths = np.array([len(row) for row in rows])
        width = int(self._lengths.max()) + 2 * _WINDOW
        padded = b"".join(row.ljust(width, b"\0") for row in rows)
        content = np.frombuffer(padded, np.uint8).astype(np.int64)
        self._two = content[:-1] << 8 | content[1:]  # the byte at each place and the one behind it
        self._every = np.arange(len(rows))
        self._starts = self._every * width
        self._next = np.full(len(rows), _WINDOW)
        self._last = width - 2  # where two bytes are left
        first = content.reshape(len(rows), width)[:, :_WINDOW]
        self._offset = first @ (256 ** np.arange(_WINDOW)[::-1])  # of the window from low
        self._range = np.full(len(rows), _TOP - 1)
        self._sound = np.full(len(rows), True)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, bounds: NDArray[np.int64]) -> NDArray[np.int64]:
        """The next code of each row, int64 [row]; its intervals begin at `bounds` [row, size + 1], 0 to 2^16."""
        codes: NDArray[np.int64] = np.count_nonzero(bounds[:, 1:] <= self.peek()[:, np.newaxis], axis=1)
        self.take(bounds[self._every, codes], bounds[self._every, codes + 1])
        return codes

    def peek(self) -> NDArray[np.int64]:
        """For each row a number in 0 .. 2^16 that lies in the interval of the next code."""
        place = self._offset // (self._range >> TOTAL_BITS)
        self._sound &= place < TOTAL
        return np.minimum(place, TOTAL - 1)

    def take(self, start: NDArray[np.int64], end: NDArray[np.int64]) -> None:
        """Go on behind the codes at `start` .. `end`, [row] each."""
        unit = self._range >> TOTAL_BITS
        self._range = (end - start) * unit
        self._offset = np.minimum(self._offset - start * unit, self._range - 1)
        self._refill()

    def _refill(self) -> None:
        """Move each row's window on by the bytes, 0 to 2, that make its range large enough again."""
        count = (self._range < _LEAST).astype(np.int64) + (self._range < _LEAST >> 8)
        two, bits = self._two[self._starts + np.minimum(self._next, self._last)], 8 * count
        self._offset = self._offset << bits | two >> 16 - bits
        self._range <<= bits
        self._next += count

    def faults(self) -> list[str]:
        """For each row why no encoder ends so after these codes, or an empty string."""
        return [self._fault(number) for number in range(len(self._rows))]

    def _fault(self, number: int) -> str:
        row, end, width = self._rows[number], int(self._next[number]), int(self._range[number])
        if not self._sound[number]:
            return "bytes that no encoder writes: they point behind the last interval"
        if end > len(row) + _WINDOW:
            return f"{len(row)} bytes, expected more"
        window = int.from_bytes(row[end - _WINDOW : end].ljust(_WINDOW, b"\0"), "big")
        left, expected = row[end - _WINDOW :], _ending(window - int(self._offset[number]) & _TOP - 1, width)
        if left == expected:
            return ""
        return f"ends in {left.hex(' ') or 'nothing'}, expected {expected.hex(' ') or 'nothing'}"


def _carry(written: bytearray) -> None:
    """Add 1 to the bytes as one number; there is room, since all intervals lie below 1."""
    place = len(written) - 1
    while written[place] == 0xFF:
        written[place] = 0
        place -= 1
    written[place] += 1


def _ending(low: int, width: int) -> bytes:
    """The bytes of the window that end a row, 0 to 4."""
    return (_roundest(low, width) & _TOP - 1).to_bytes(_WIDTH // 8, "big").rstrip(b"\0")


def _roundest(low: int, width: int) -> int:
    """The number in low .. low + width (not included) that ends in the most zero bits."""
    bits = _WIDTH
    while (found := -(-low >> bits) << bits) >= low + width:
        bits -= 1
    return found
