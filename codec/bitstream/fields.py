"""The small parts of which the layout in `format.py` is made: exact reads and writes, varints, checksums."""

from __future__ import annotations

import io
import struct
import zlib
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from codec.errors import BitstreamError, ChecksumMismatch, Truncated

CRC = struct.Struct("<I")
MAX_VARINT = 4  # bytes


class Source:
    """Reads a binary file object from where it is and counts bytes from there.

    The file may be a pipe that gives less than it was asked for.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.position = 0  # bytes from the start of the stream
        seekable = getattr(file, "seekable", None)
        self.seekable: bool = bool(seekable and seekable())
        self._file = file
        self._start = file.tell() if self.seekable else 0

    def read_up_to(self, size: int) -> bytes:
        """Read `size` bytes, fewer only where the file ends."""
        data = bytearray()
        while len(data) < size:
            block = self._file.read(size - len(data))
            if block is None:
                raise BlockingIOError("the file is in non-blocking mode, expected one that waits for data")
            if not block:
                break
            data += block
        self.position += len(data)
        return bytes(data)

    def read_exactly(self, size: int, where: str) -> bytes:
        """Read `size` bytes. Raises Truncated where the file ends before."""
        data = self.read_up_to(size)
        if len(data) < size:
            missing = size - len(data)
            raise Truncated(
                f"{where}: the stream ends at byte {self.position}, expected at least {missing} bytes more"
            )
        return data

    def read_varint(self, where: str) -> tuple[int, bytes]:
        """Read a varint; return its value and its bytes.

        Raises Truncated, or BitstreamError if it is longer than need be or than is allowed.
        """
        data = self.read_exactly(1, where)
        while data[-1] >= 0x80 and len(data) < MAX_VARINT:
            data += self.read_exactly(1, where)
        value = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(data))
        if data != varint(value):
            raise BitstreamError(f"{where}: {data.hex(' ')} is not a varint of at most {MAX_VARINT} bytes")
        return value, data

    def seek(self, position: int) -> None:
        """Go to a byte of the stream."""
        self._file.seek(self._start + position)
        self.position = position

    def length(self) -> int:
        """Return the number of bytes from the start of the stream to the end of the file, and go there."""
        self._file.seek(0, 2)
        self.position = self._file.tell() - self._start
        return self.position


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all bytes, also to a file that takes only some at a time."""
    while data:
        written = file.write(data)
        if written is None and isinstance(file, io.RawIOBase):
            raise BlockingIOError(
                "the file is in non-blocking mode, expected one that waits until it has room"
            )
        data = data[len(data) if written is None else written :]


def varint(value: int) -> bytes:
    """Return 0 <= value < 2^28 in bytes of 7 bits, the least significant first."""
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def varints(data: bytes) -> NDArray[np.int64]:
    """Read a row of varints, int64 [number]. Raises ValueError if one is too long or not whole."""
    row = np.frombuffer(data, np.uint8)
    last = np.flatnonzero(row < 0x80)
    first = np.concatenate([[0], last[:-1] + 1])[: len(last)]
    lengths = last - first + 1
    if lengths.sum() != len(row) or (lengths > MAX_VARINT).any():
        raise ValueError(f"not a row of varints of at most {MAX_VARINT} bytes")
    if not len(row):
        return np.zeros(0, np.int64)
    places = np.arange(len(row)) - np.repeat(first, lengths)
    return np.add.reduceat((row & 0x7F).astype(np.int64) << 7 * places, first)


def with_crc(data: bytes) -> bytes:
    """Append the CRC-32 of the bytes."""
    return data + CRC.pack(zlib.crc32(data))


def check_crc(data: bytes, where: str) -> None:
    """Raise ChecksumMismatch unless the last four bytes are the CRC-32 of those before."""
    (found,) = CRC.unpack(data[-CRC.size :])
    compare_crc(found, zlib.crc32(data[: -CRC.size]), where)


def compare_crc(stored: int, computed: int, where: str) -> None:
    """Raise ChecksumMismatch unless the checksum of the bytes found is the one stored with them."""
    if stored != computed:
        raise ChecksumMismatch(f"{where}: checksum {computed:08x}, expected {stored:08x}")
