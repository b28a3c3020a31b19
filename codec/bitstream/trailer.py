"""The trailer at the end of a stream, which holds the sizes of all chunks and the number of samples."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from codec.bitstream.fields import CRC, ByteReader, check_crc, varint, varints, with_crc
from codec.bitstream.format import HEADER, MIN_CHUNK
from codec.errors import BitstreamError, ChecksumMismatch

MAX_INDEX = 2**20  # bytes; decoded to offsets it takes 58 times as much memory

_FOOTER = struct.Struct("<QII")  # num_samples, size of the index, CRC-32
_TAIL = 2**16  # bytes at the end of a file that one read takes


class Index:
    """The index of a trailer, built chunk by chunk.

    Attributes:
        sizes: the sizes of the chunks as varints; empty once they would take more than MAX_INDEX bytes.
    """

    def __init__(self) -> None:
        self.sizes = bytearray()
        self._full = False

    def add(self, size: int) -> None:
        """Append the size of a chunk in bytes."""
        data = varint(size)
        self._full = self._full or len(self.sizes) + len(data) > MAX_INDEX
        if self._full:
            self.sizes.clear()
        else:
            self.sizes += data


class Trailer(NamedTuple):
    """A trailer whose CRC-32 is right; its content is not checked yet.

    Attributes:
        offset: its first byte in the stream.
        sizes: the index, the sizes of the chunks as varints.
        num_samples: source samples in a channel.
    """

    offset: int
    sizes: bytes
    num_samples: int

    @property
    def where(self) -> str:
        """Return the place in the stream, for messages."""
        return f"trailer at byte {self.offset}"

    def chunk_offsets(self) -> tuple[int, ...]:
        """Return the first byte of each chunk. Raises BitstreamError unless the chunks fill the stream."""
        try:
            sizes = varints(self.sizes)
        except ValueError as error:
            raise BitstreamError(f"{self.where}: the index is {error}") from None
        total, expected = int(sizes.sum()), self.offset - HEADER.size
        if total != expected or (sizes < MIN_CHUNK).any():
            raise BitstreamError(
                f"{self.where}: the index gives {total} bytes of chunks, expected {expected}"
            )
        return tuple((HEADER.size + np.cumsum(sizes) - sizes).tolist())


def trailer_bytes(index: Index, num_samples: int) -> bytes:
    """Return the bytes that end a stream."""
    footer = _FOOTER.pack(num_samples, len(index.sizes), 0)
    return with_crc(b"\0" + index.sizes + footer[: -CRC.size])


def read_trailer(source: ByteReader, offset: int, index_size: int) -> Trailer:
    """Read the trailer after its first byte, the 0.

    Args:
        source: the stream.
        offset: the first byte of the trailer.
        index_size: bytes of the index of the chunks read so far.

    Raises:
        Truncated: the stream ends inside it.
        ChecksumMismatch: it is damaged, or its index has another size.
    """
    where = f"trailer at byte {offset}"
    data = b"\0" + source.read_exactly(index_size + _FOOTER.size, where)
    check_crc(data, where)
    return _decoded(data, offset)


def find_trailer(source: ByteReader) -> Trailer | None:
    """Read the trailer at the end of a file, in one read if it is short; return None if no valid one is there."""
    end = source.seek_end()
    start = max(HEADER.size, end - _TAIL)
    if end - start <= _FOOTER.size:
        return None
    source.seek(start)
    tail = source.read_up_to(end - start)
    _, index_size, _ = _FOOTER.unpack(tail[-_FOOTER.size :])
    size = 1 + index_size + _FOOTER.size
    if index_size > MAX_INDEX or size > end - HEADER.size:
        return None
    if size > len(tail):
        source.seek(end - size)
        tail = source.read_up_to(size)
    data = tail[-size:]
    try:
        check_crc(data, "trailer")
    except ChecksumMismatch:
        return None
    return _decoded(data, end - size) if data[0] == 0 else None


def _decoded(data: bytes, offset: int) -> Trailer:
    num_samples, _, _ = _FOOTER.unpack(data[-_FOOTER.size :])
    return Trailer(offset, data[1 : -_FOOTER.size], num_samples)
