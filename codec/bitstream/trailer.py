"""The trailer of a stream, which holds the sizes of all chunks and the number of samples, and the header's copy."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from codec.bitstream.fields import CRC, ByteReader, check_crc, varint, varints, with_crc
from codec.bitstream.format import COPY_FROM, HEADER, MIN_CHUNK, Header
from codec.errors import BitstreamError, ChecksumMismatch

MAX_INDEX = 2**20  # bytes; decoded to offsets it takes 58 times as much memory

_FOOTER = struct.Struct("<QII")  # num_samples, size of the index, CRC-32
_TAIL = 2**16  # bytes at the end of a file that one read takes
_COPY_FOLLOWS = 2**31  # added to the size of the index if a copy of the header follows the trailer


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
        has_copy: True if a copy of the header follows.
    """

    offset: int
    sizes: bytes
    num_samples: int
    has_copy: bool

    @property
    def end(self) -> int:
        """Return the first byte after it."""
        return self.offset + 1 + len(self.sizes) + _FOOTER.size

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


def ending(index: Index, num_samples: int, header: Header, size: int) -> bytes:
    """Return the bytes that end a stream: the trailer, and the copy of the header unless the stream is very short.

    Args:
        index: of all chunks.
        num_samples: source samples in a channel.
        header: of the stream.
        size: bytes of the header and the chunks.
    """
    copy = header.to_bytes() if size >= COPY_FROM else b""
    index_size = len(index.sizes) + (_COPY_FOLLOWS if copy else 0)
    footer = _FOOTER.pack(num_samples, index_size, 0)
    return with_crc(b"\0" + index.sizes + footer[: -CRC.size]) + copy


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


def check_copy(source: ByteReader, header: Header) -> None:
    """Read the copy of the header, and raise a BitstreamError unless it is there and equal to the header."""
    where = f"copy of the header at byte {source.position}"
    copy = source.read_exactly(HEADER.size, where)
    if copy != header.to_bytes():
        raise ChecksumMismatch(f"{where}: damaged, expected the {HEADER.size} bytes of the header")


def find_trailer(source: ByteReader) -> Trailer | None:
    """Read the trailer at the end of a file, in one read if it is short; return None if no valid one is there."""
    end = source.size or 0
    start = max(HEADER.size, end - _TAIL)
    source.seek(start)
    tail = source.read_up_to(end - start)
    for copy_size in (HEADER.size, 0):
        trailer = _trailer_before(end - copy_size, tail[: max(0, len(tail) - copy_size)], source)
        if trailer is not None and trailer.has_copy == (copy_size > 0):
            return trailer
    return None


def _trailer_before(end: int, tail: bytes, source: ByteReader) -> Trailer | None:
    """Return the trailer that ends at a byte of the stream, if it is valid; `tail` holds bytes before that."""
    if len(tail) <= _FOOTER.size:
        return None
    size = 1 + _index_size(tail) + _FOOTER.size
    if size > MAX_INDEX + 1 + _FOOTER.size or size > end - HEADER.size:
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


def _index_size(trailer: bytes) -> int:
    """Return the size of the index that the last bytes of a trailer state."""
    _, size, _ = _FOOTER.unpack(trailer[-_FOOTER.size :])
    return int(size) % _COPY_FOLLOWS


def _decoded(data: bytes, offset: int) -> Trailer:
    num_samples, size, _ = _FOOTER.unpack(data[-_FOOTER.size :])
    return Trailer(offset, data[1 : -_FOOTER.size], num_samples, size >= _COPY_FOLLOWS)
