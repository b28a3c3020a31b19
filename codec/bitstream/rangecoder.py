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

TOTAL_BITS = 16
TOTAL = 1 << TOTAL_BITS  # of all counts

_WIDTH = 32  # bits of `range`, and of the window on `low`
_TOP = 1 << _WIDTH
_LEAST = _TOP >> 8  # below it a byte is written


class RangeEncoder:
    """Writes codes one after another, each as its interval."""

    def __init__(self) -> None:
        self._low, self._range = 0, _TOP - 1
        self._written = bytearray()

    def encode(self, start: int, count: int) -> None:
        """Write what lies at `start` .. `start + count` of 0 .. 2^16. Raises ValueError for no such interval."""
        if not 0 <= start < start + count <= TOTAL:
            raise ValueError(f"interval at {start} of width {count}, expected one within 0 .. {TOTAL}")
        unit = self._range >> TOTAL_BITS
        self._low += start * unit
        self._range = count * unit
        if self._low >= _TOP:
            self._low -= _TOP
            _carry(self._written)
        while self._range < _LEAST:
            self._written.append(self._low >> _WIDTH - 8)
            self._low = self._low << 8 & _TOP - 1
            self._range <<= 8

    def finish(self) -> bytes:
        """End the row; return all of its bytes."""
        if _roundest(self._low, self._range) >= _TOP:
            _carry(self._written)
        return bytes(self._written) + _ending(self._low, self._range)


class RangeDecoder:
    """Reads codes back: `peek`, find the interval around that number, `take` it; at the end `finish`.

    Whatever the bytes are, reading goes on as long as it is asked to; what no encoder wrote raises ValueError.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next = _WIDTH // 8
        self._code = int.from_bytes(data[: self._next].ljust(self._next, b"\0"), "big")
        self._offset, self._range = self._code, _TOP - 1  # the offset is that of the code from low

    def peek(self) -> int:
        """Return a number in 0 .. 2^16 that lies in the interval of the next code. Raises ValueError if none has it."""
        place = self._offset // (self._range >> TOTAL_BITS)
        if place >= TOTAL:
            raise ValueError("bytes that no encoder writes: they point behind the last interval")
        return place

    def take(self, start: int, count: int) -> None:
        """Go on behind the code at `start` .. `start + count`. Raises ValueError where the data has ended before."""
        unit = self._range >> TOTAL_BITS
        self._offset -= start * unit
        self._range = count * unit
        while self._range < _LEAST:
            if self._next >= len(self._data) + _WIDTH // 8:
                raise ValueError(f"{len(self._data)} bytes, expected more")
            byte = self._data[self._next] if self._next < len(self._data) else 0
            self._code = (self._code << 8 | byte) & _TOP - 1
            self._offset = self._offset << 8 | byte
            self._range <<= 8
            self._next += 1

    def finish(self) -> None:
        """Raise ValueError unless the data ends as an encoder of these codes ends it."""
        low = self._code - self._offset & _TOP - 1
        left, expected = self._data[self._next - _WIDTH // 8 :], _ending(low, self._range)
        if left != expected:
            raise ValueError(
                f"ends in {left.hex(' ') or 'nothing'}, expected {expected.hex(' ') or 'nothing'}"
            )


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
