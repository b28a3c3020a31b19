r"""An integer range coder, after Martin (1979), with Schindler's carry propagation.

A symbol is one of several intervals that fill 0 .. 2^16. It begins at `start`, is `count` >= 1 wide, and takes about
log2(2^16 / count) bits.

All symbols so far make one interval of the fractions between 0 and 1, and the next symbol selects a part of it:

    low                                     low + range
     |---------------|=============|---------|                   a window of 32 bits on the fraction
                   start      start + count                      in units of range >> 16, from low

`range` stays above 2^24. Whenever it falls below, the top byte of `low` is written, and both are shifted left by 8
bits. An addition may carry into bytes that were already written.

At the end follow up to 4 bytes: the number in the window from `low` to `low + range` (exclusive) that ends in the most
zero bits, without trailing zero bytes. A decoder reads zeros after the last byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

TOTAL_BITS = 16
TOTAL = 1 << TOTAL_BITS  # of all counts

_RANGE_BITS = 32  # of `range`, and of the window on `low`
_FULL = 1 << _RANGE_BITS
_LEAST = _FULL >> 8  # below it a byte is written
_WINDOW = _RANGE_BITS // 8  # bytes


class RangeEncoder:
    """Encode one byte string: `write` any number of symbols, then `finish`."""

    def __init__(self) -> None:
        self._low, self._range, self._written = 0, _FULL - 1, bytearray()

    def write(self, intervals: Iterable[tuple[int, int]]) -> None:
        """Encode symbols, each given as the `start` and `end` of its interval of 0 .. 2^16.

        Raises:
            ValueError: an interval is empty or outside 0 .. 2^16.
        """
        low, width, written = self._low, self._range, self._written
        for start, end in intervals:
            if not 0 <= start < end <= TOTAL:
                raise ValueError(f"interval {start} to {end}, expected one within 0 to {TOTAL}")
            unit = width >> TOTAL_BITS
            low += start * unit
            width = (end - start) * unit
            if low >= _FULL:
                low -= _FULL
                _carry(written)
            while width < _LEAST:
                written.append(low >> _RANGE_BITS - 8)
                low = low << 8 & _FULL - 1
                width <<= 8
        self._low, self._range = low, width

    def finish(self) -> bytes:
        """Return all bytes. Nothing may be written afterwards."""
        if _roundest(self._low, self._range) >= _FULL:
            _carry(self._written)
        return bytes(self._written) + _last_bytes(self._low, self._range)


class RangeDecoder:
    """Decode several byte strings in parallel: `read` gives the next symbol of each.

    Reading never fails, for any bytes. Afterwards, `faults` names the byte strings that no encoder wrote.

    Args:
        payloads: the byte strings.
    """

    def __init__(self, payloads: Sequence[bytes]) -> None:
        self._payloads = payloads
        lengths = [len(payload) for payload in payloads]
        width = max(lengths) + 2 * _WINDOW
        padded = b"".join(payload.ljust(width, b"\0") for payload in payloads)
        content = np.frombuffer(padded, np.uint8).astype(np.int64)
        self._byte_pairs = content[:-1] << 8 | content[1:]  # each byte and the one after it
        self._rows = np.arange(len(payloads))
        self._starts = self._rows * width
        self._next = np.full(len(payloads), _WINDOW)
        self._last = width - 2  # position of the last two bytes
        window = content.reshape(len(payloads), width)[:, :_WINDOW]
        self._offset = window @ (256 ** np.arange(_WINDOW)[::-1])  # of the window from low
        self._range = np.full(len(payloads), _FULL - 1)
        self._valid = np.full(len(payloads), True)

    def __len__(self) -> int:
        return len(self._payloads)

    def read(self, bounds: NDArray[np.int64]) -> NDArray[np.int64]:
        """Decode the next symbol of each byte string.

        Args:
            bounds: [row, size + 1], from 0 to 2^16; symbol k has the interval from bound k to bound k + 1.

        Returns:
            The symbols, int64 [row].
        """
        symbols: NDArray[np.int64] = np.count_nonzero(bounds[:, 1:] <= self.peek()[:, np.newaxis], axis=1)
        self.take(bounds[self._rows, symbols], bounds[self._rows, symbols + 1])
        return symbols

    def peek(self) -> NDArray[np.int64]:
        """Return, for each byte string, a number in 0 .. 2^16 inside the interval of its next symbol."""
        place = self._offset // (self._range >> TOTAL_BITS)
        self._valid &= place < TOTAL
        return np.minimum(place, TOTAL - 1)

    def take(self, start: NDArray[np.int64], end: NDArray[np.int64]) -> None:
        """Move past the symbols whose intervals are `start` .. `end`, [row] each."""
        unit = self._range >> TOTAL_BITS
        self._range = (end - start) * unit
        self._offset = np.minimum(self._offset - start * unit, self._range - 1)
        self._refill()

    def _refill(self) -> None:
        """Shift in the 0 to 2 bytes that make each range large enough again."""
        count = (self._range < _LEAST).astype(np.int64) + (self._range < _LEAST >> 8)
        pair, bits = self._byte_pairs[self._starts + np.minimum(self._next, self._last)], 8 * count
        self._offset = self._offset << bits | pair >> 16 - bits
        self._range <<= bits
        self._next += count

    def faults(self) -> list[str]:
        """Return, for each byte string, why no encoder writes it for the symbols read; empty if valid."""
        return [self._fault(number) for number in range(len(self._payloads))]

    def _fault(self, number: int) -> str:
        payload, end, width = self._payloads[number], int(self._next[number]), int(self._range[number])
        if not self._valid[number]:
            return "bytes that no encoder writes: they point past the last interval"
        if end > len(payload) + _WINDOW:
            return f"{len(payload)} bytes, expected more"
        window = int.from_bytes(payload[end - _WINDOW : end].ljust(_WINDOW, b"\0"), "big")
        rest = payload[end - _WINDOW :]
        expected = _last_bytes(window - int(self._offset[number]) & _FULL - 1, width)
        if rest == expected:
            return ""
        return f"ends in {rest.hex(' ') or 'nothing'}, expected {expected.hex(' ') or 'nothing'}"


def _carry(written: bytearray) -> None:
    """Add 1 to the bytes as one number. It cannot overflow, since all intervals lie below 1."""
    place = len(written) - 1
    while written[place] == 0xFF:
        written[place] = 0
        place -= 1
    written[place] += 1


def _last_bytes(low: int, width: int) -> bytes:
    """Return the 0 to 4 bytes of the window that end the encoded bytes."""
    return (_roundest(low, width) & _FULL - 1).to_bytes(_WINDOW, "big").rstrip(b"\0")


def _roundest(low: int, width: int) -> int:
    """Return the number in low .. low + width (exclusive) that ends in the most zero bits."""
    bits = _RANGE_BITS
    while (rounded := -(-low >> bits) << bits) >= low + width:
        bits -= 1
    return rounded
