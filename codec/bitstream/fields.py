"""The fields of the layout in `format.py`: exact reads, varints and checksums."""

from __future__ import annotations

import os
import struct
import zlib
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from codec.errors import BitstreamError, ChecksumMismatch, Truncated
from codec.files import read_up_to

CRC = struct.Struct("<I")
MAX_VARINT = 4  # bytes


class ByteReader:
    """Read a binary file object, which may be a pipe, and count bytes from its current position.

    Attributes:
        position: bytes from the start of the stream.
        seekable: True if the file can seek.
        size: bytes of the stream; None if the file cannot seek.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.position = 0
        seekable = getattr(file, "seekable", None)
        self.seekable: bool = bool(seekable and seekable())
        self._file = file
        self._start = file.tell() if self.seekable else 0
        self.size = self._end() if self.seekable else None

    def read_up_to(self, size: int) -> bytes:
        """Read `size` bytes, fewer only where the file ends."""
        data = read_up_to(self._file, size)
        self.position += len(data)
        return data

    def read_exactly(self, size: int, where: str) -> bytes:
        """Read `size` bytes. Raises Truncated, with `where` in its message, if the file ends earlier."""
        data = self.read_up_to(size)
        if len(data) < size:
            missing = size - len(data)
            raise Truncated(
                f"{where}: the stream ends at byte {self.position}, expected at least {missing} bytes more"
            )
        return data

    def read_varint(self, where: str) -> tuple[int, bytes]:
        """Read a varint; return its value and its bytes.

        Args:
            where: the place in the stream, for messages.

        Raises:
            Truncated: the file ends inside it.
            BitstreamError: it is longer than necessary or than allowed.
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

    def _end(self) -> int:
        """Return the size of the stream; stay where it is."""
        self._file.seek(0, os.SEEK_END)
        end = self._file.tell()
        self._file.seek(self._start)
        return max(0, end - self._start)


def varint(value: int) -> bytes:
    """Return 0 <= value < 2^28 in bytes of 7 bits, the least significant first."""
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def varints(data: bytes) -> NDArray[np.int64]:
    """Decode consecutive varints, int64 [number]. Raises ValueError if one is too long or incomplete."""
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
    """Raise ChecksumMismatch unless the last four bytes are the CRC-32 of the preceding bytes."""
    (stored,) = CRC.unpack(data[-CRC.size :])
    compare_crc(stored, zlib.crc32(data[: -CRC.size]), where)


def compare_crc(stored: int, computed: int, where: str) -> None:
    """Raise ChecksumMismatch unless the computed checksum equals the stored one."""
    if stored != computed:
        raise ChecksumMismatch(f"{where}: checksum {computed:08x}, expected {stored:08x}")
