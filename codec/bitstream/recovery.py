"""Reads what damage has left of a stream.

With the index at hand, each chunk is read where the index says it lies, and damage takes no more than it hit. Without
one, because the trailer is damaged or cut off or bytes are missing in between, chunks are read one behind the other.
Where that fails, the next one is looked for: bytes that begin like a chunk of frames_per_chunk frames and whose
CRC-32, which covers the chunk's number too, fits one of the numbers that may follow.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from codec.bitstream.fields import varint
from codec.bitstream.format import FEWER, HEADER, MIN_CHUNK, PACKED, RANGE_CODED, StoredChunk
from codec.bitstream.prior import Prior
from codec.bitstream.reader import Reader
from codec.errors import BitstreamError, ChecksumMismatch

_BLOCK = 2**16  # bytes that are looked through at once
_MISSING = 64  # chunks that a break in a transfer may leave out without a trace
_WORK = (
    2**28
)  # bytes checked in vain after which no more is looked for, a few seconds: a file made to waste time
_ATTEMPT = 2**11  # bytes that could be checked while one attempt is begun


class RecoveringReader(Reader):
    """Reads a damaged or cut stream from a file that can be sought: iterating gives the sound chunks, in order.

    What their numbers leave out is lost. Only a damaged header raises BitstreamError, and a pipe ValueError.

    num_samples: from the header or a sound trailer; None where neither tells.
    chunk_offsets: None without a sound trailer.
    """

    def __init__(self, file: BinaryIO, prior: Prior | None = None) -> None:
        self._work = _WORK
        super().__init__(file, prior)
        if not self._source.seekable:
            raise ValueError("a damaged stream is recovered from a file that can be sought, found a pipe")

    def stored_chunks(self) -> Iterator[StoredChunk]:
        """Give the sound chunks that are left, as they are stored."""
        if self.chunk_offsets is None:
            yield from self._search()
            return
        for number in range(self._next_chunk, len(self.chunk_offsets)):
            chunk = self._attempt(self.chunk_offsets[number], [number])
            if chunk is not None:
                yield chunk

    def _refuse(self, error: BitstreamError) -> None:
        """A chunk that cannot be decoded although its checksum fits is lost too."""

    def _find_trailer(self) -> None:
        try:
            super()._find_trailer()
        except (
            BitstreamError
        ):  # it is sound and contradicts the rest: of another file, or bytes are missing between
            self.chunk_offsets = None
        self._source.seek(HEADER.size)

    def _search(self) -> Iterator[StoredChunk]:
        """Read one chunk behind the other; where that fails, look for the next."""
        end, number = HEADER.size, 0
        while (chunk := self._next_sound(end, number)) is not None:
            end, number = self._source.position, chunk.index + 1
            yield chunk

    def _next_sound(self, start: int, number: int) -> StoredChunk | None:
        """The first chunk from byte `start` on with that number or a later one; None: no more."""
        for position in itertools.chain([start], self._places(start + 1)):
            lost = (position - start) // MIN_CHUNK + _MISSING
            chunk = self._attempt(position, range(number, number + lost + 1))
            if chunk is not None or self._finished or self._work < 0:
                return chunk
        return None

    def _places(self, start: int) -> Iterator[int]:
        """The bytes from `start` on where a chunk of all its frames may begin."""
        codings = (PACKED, RANGE_CODED, FEWER) if self.header.varies else (PACKED, RANGE_CODED)
        tags = [varint(self.header.frames_per_chunk * 4 + coding) for coding in codings]
        pattern = re.compile(b"|".join(map(re.escape, tags)))
        block = b" " * _BLOCK
        while len(block) == _BLOCK:
            self._source.seek(start)
            block = self._source.read_up_to(_BLOCK)
            yield from (start + found.start() for found in pattern.finditer(block))
            start += _BLOCK - max(map(len, tags)) + 1

    def _attempt(self, position: int, numbers: Iterable[int]) -> StoredChunk | None:
        """The chunk at a byte of the file if it has one of these numbers; None if it is damaged, or the trailer."""
        for number in numbers:
            self._source.seek(position)
            self._next_chunk, self._next_frame = number, number * self.header.frames_per_chunk
            try:
                return self._read_chunk()
            except ChecksumMismatch:
                self._work -= self._source.position - position + _ATTEMPT
            except BitstreamError:
                return None
        return None
