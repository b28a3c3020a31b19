"""Read the intact chunks of a damaged stream, and repair its header.

With an index, each chunk is read at its offset, and damage costs only the chunks that it hit. There is no index if the
trailer is damaged or cut off, or if bytes are missing in between. Then chunks are read one after another. Where that
fails, `search.py` finds the next. Both take time that grows only with the size of the stream: reading without success
has a budget, and the search tries each byte once.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import operator
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from codec.bitstream.fields import CRC
from codec.bitstream.format import HEADER, MAGIC, MIN_CHUNK, Header, StoredChunk
from codec.bitstream.limits import check_plausible
from codec.bitstream.prior import Prior
from codec.bitstream.reader import Reader
from codec.bitstream.search import Search
from codec.errors import BitstreamError

_MISSING = 64  # chunks that an interrupted transfer may leave out completely
_NEAR = 2**16  # bytes; a chunk that far after damage is used only if another one or the end follows it
_TAIL = 2**16  # bytes at the end of a file that are searched for a copy of the header
_BUDGET = 2**26  # bytes read without success before chunks are only searched for


class RecoveringReader(Reader):
    """Read a damaged or truncated stream; iterating gives the intact chunks, in order.

    Chunks whose numbers are left out are lost. BitstreamError is raised for a header that cannot be repaired, and
    TooLong for too many chunks of invalid codes.

    Args:
        file: a binary file object that can seek; ValueError for a pipe.
        prior: the prior of the model, for range coded chunks.

    Attributes:
        num_samples: source samples in a channel, from the header or a valid trailer; None if neither has it.
        chunk_offsets: first byte of each chunk; None without a valid trailer.
        header_repaired: True if the header was damaged.
    """

    def __init__(self, file: BinaryIO, prior: Prior | None = None) -> None:
        self._budget, self.header_repaired = _BUDGET, False
        self._rejected = 0.0  # seconds of chunks with invalid codes
        super().__init__(file, prior)
        if not self._source.seekable:
            raise ValueError("a damaged stream is recovered from a file that can seek, found a pipe")

    def stored_chunks(self) -> Iterator[StoredChunk]:
        """Yield the remaining intact chunks as stored."""
        if self.chunk_offsets is None:
            yield from self._search()
            return
        for number in range(self._next_chunk, len(self.chunk_offsets)):
            chunk = self._read_at(self.chunk_offsets[number], number)
            if chunk is not None:
                yield chunk

    def _reject(self, error: BitstreamError) -> None:
        """Skip a chunk that cannot be decoded although its checksum is right; raise TooLong after too many of them."""
        header = self.header
        self._rejected += header.frames_per_chunk * header.hop_length / header.model_sample_rate
        check_plausible(self, self._rejected, "all of it has invalid codes")

    def _read_header(self) -> Header:
        """Read the header, or repair it by its checksum or from its copy."""
        data = self._source.read_up_to(HEADER.size)
        try:
            return Header.from_bytes(data)
        except BitstreamError:
            header = corrected(data) or self._copied_header()
            if header is None:
                raise
        self.header_repaired = True
        return header

    def _copied_header(self) -> Header | None:
        """Return the header whose copy ends the file, or ended it before something was appended; None without one."""
        size = self._source.size
        if size is None:
            return None
        self._source.seek(max(0, size - _TAIL))
        tail = self._source.read_up_to(size - self._source.position)
        at = len(tail)
        while (at := tail.rfind(MAGIC, 0, at)) >= 0:
            with contextlib.suppress(BitstreamError):
                return Header.from_bytes(tail[at : at + HEADER.size])
        return None

    def _check_copy(self, offset: int) -> None:
        """Accept a damaged copy, since the header was read."""

    def _find_trailer(self) -> None:
        # A trailer that contradicts the rest belongs to another file, or bytes are missing in between.
        with contextlib.suppress(BitstreamError):
            super()._find_trailer()

    def _search(self) -> Iterator[StoredChunk]:
        """Read one chunk after another; where that fails, search for the next."""
        search, number = Search(self._source, self.header), 0
        end = 0 if self.header_repaired else HEADER.size  # bytes may be missing in a damaged header
        chunk = self._read_at(HEADER.size, 0)
        while not self._finished:
            if chunk is None:
                chunk = self._next_intact(search, end, number)
            if chunk is None:
                return
            end, number = self._source.position, chunk.index + 1
            yield chunk
            chunk = self._read_at(end, number) if self._budget > 0 else None

    def _next_intact(self, search: Search, end: int, number: int) -> StoredChunk | None:
        """Return the next chunk at or after byte `end` with this number or a later one; None if there is none."""
        while (place := search.next_from(end)) is not None:
            skipped = place.offset - end
            if 0 <= place.number - number <= skipped // MIN_CHUNK + _MISSING:
                chunk = self._read_at(place.offset, place.number)
                if chunk is not None and (skipped <= _NEAR or self._is_followed(chunk)):
                    return chunk
        return None

    def _is_followed(self, chunk: StoredChunk) -> bool:
        """Return True if the next chunk or the end follows the chunk just read; leave the position after the chunk."""
        end = self._source.position
        tag = self._source.read_up_to(1)
        followed = tag in (b"", b"\0") or (
            self._budget > 0 and self._read_at(end, chunk.index + 1) is not None
        )
        if not followed:
            self._budget -= len(chunk.payload)
        self._source.seek(end)
        return followed

    def _read_at(self, offset: int, number: int) -> StoredChunk | None:
        """Read the chunk of this number at a byte of the file; return None if it is damaged or the trailer."""
        self._source.seek(offset)
        self._next_chunk, self._next_frame = number, number * self.header.frames_per_chunk
        try:
            return self._read_chunk()
        except BitstreamError:
            self._budget -= self._source.position - offset
            return None


def corrected(data: bytes) -> Header | None:
    """Return the header that differs in one byte from these 43 bytes; None if there is none."""
    if len(data) < HEADER.size:
        return None
    error = _errors().get(_difference(data))
    if error is None:
        return None
    try:
        return Header.from_bytes(bytes(map(operator.xor, data, error)))
    except BitstreamError:
        return None


@functools.cache
def _errors() -> dict[int, bytes]:
    """Return each error of one byte in a header by its effect on the checksum, which no other error has."""
    errors = {}
    for at, change in itertools.product(range(HEADER.size), range(1, 256)):
        error = bytes(at) + bytes([change]) + bytes(HEADER.size - 1 - at)
        errors[_difference(error) ^ _difference(bytes(HEADER.size))] = error
    return errors


def _difference(data: bytes) -> int:
    """Return the difference between the checksum of a header and the stored one, as bits."""
    (stored,) = CRC.unpack(data[-CRC.size :])
    return int(stored) ^ zlib.crc32(data[: -CRC.size])
