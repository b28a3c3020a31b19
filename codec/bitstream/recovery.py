"""Read the intact chunks of a damaged stream.

With an index, each chunk is read at its offset, and damage costs only the chunks that it hit. There is no index if the
trailer is damaged or cut off, or if bytes are missing in between. Then chunks are read one after another. Where that
fails, the next chunk is searched for: bytes that begin like a chunk of frames_per_chunk frames, and whose CRC-32, which
covers the chunk's number too, fits one of the numbers that may follow.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from codec.bitstream.fields import varint
from codec.bitstream.format import FEWER_CODEBOOKS, HEADER, MIN_CHUNK, PACKED, RANGE_CODED, StoredChunk
from codec.bitstream.prior import Prior
from codec.bitstream.reader import Reader
from codec.errors import BitstreamError, ChecksumMismatch

_BLOCK = 2**16  # bytes searched at a time
_MISSING = 64  # chunks that an interrupted transfer may leave out completely
_BUDGET = (
    2**28
)  # bytes checked without success before the search stops: a few seconds, in a file made to waste time
_TRY_COST = 2**11  # bytes that could be checked in the time that starting one check takes


class RecoveringReader(Reader):
    """Read a damaged or truncated stream; iterating gives the intact chunks, in order.

    Chunks whose numbers are left out are lost. Only a damaged header raises BitstreamError.

    Args:
        file: a binary file object that can seek; ValueError for a pipe.
        prior: the prior of the model, for range coded chunks.

    Attributes:
        num_samples: source samples in a channel, from the header or a valid trailer; None if neither has it.
        chunk_offsets: first byte of each chunk; None without a valid trailer.
    """

    def __init__(self, file: BinaryIO, prior: Prior | None = None) -> None:
        self._budget = _BUDGET
        super().__init__(file, prior)
        if not self._source.seekable:
            raise ValueError("a damaged stream is recovered from a file that can seek, found a pipe")

    def stored_chunks(self) -> Iterator[StoredChunk]:
        """Yield the remaining intact chunks as stored."""
        if self.chunk_offsets is None:
            yield from self._search()
            return
        for number in range(self._next_chunk, len(self.chunk_offsets)):
            chunk = self._read_at(self.chunk_offsets[number], [number])
            if chunk is not None:
                yield chunk

    def _reject(self, error: BitstreamError) -> None:
        """Skip a chunk that cannot be decoded although its checksum is right."""

    def _find_trailer(self) -> None:
        try:
            super()._find_trailer()
        except BitstreamError:
            # It contradicts the rest: it belongs to another file, or bytes are missing in between.
            self.chunk_offsets = None
        self._source.seek(HEADER.size)

    def _search(self) -> Iterator[StoredChunk]:
        """Read one chunk after another; where that fails, search for the next."""
        end, number = HEADER.size, 0
        while (chunk := self._next_intact(end, number)) is not None:
            end, number = self._source.position, chunk.index + 1
            yield chunk

    def _next_intact(self, start: int, number: int) -> StoredChunk | None:
        """Return the first chunk at or after byte `start` with this number or a later one; None if there is none."""
        for position in itertools.chain([start], self._candidates(start + 1)):
            lost = (position - start) // MIN_CHUNK + _MISSING
            chunk = self._read_at(position, range(number, number + lost + 1))
            if chunk is not None or self._finished or self._budget < 0:
                return chunk
        return None

    def _candidates(self, start: int) -> Iterator[int]:
        """Yield the bytes from `start` on where a chunk of frames_per_chunk frames may begin."""
        codings = (PACKED, RANGE_CODED, FEWER_CODEBOOKS) if self.header.varies else (PACKED, RANGE_CODED)
        tags = [varint(self.header.frames_per_chunk * 4 + coding) for coding in codings]
        pattern = re.compile(b"|".join(map(re.escape, tags)))
        block = b" " * _BLOCK
        while len(block) == _BLOCK:
            self._source.seek(start)
            block = self._source.read_up_to(_BLOCK)
            yield from (start + match.start() for match in pattern.finditer(block))
            start += _BLOCK - max(map(len, tags)) + 1

    def _read_at(self, position: int, numbers: Iterable[int]) -> StoredChunk | None:
        """Read the chunk at a byte of the file if it has one of these numbers; None if it is damaged or the trailer."""
        for number in numbers:
            self._source.seek(position)
            self._next_chunk, self._next_frame = number, number * self.header.frames_per_chunk
            try:
                return self._read_chunk()
            except ChecksumMismatch:
                self._budget -= self._source.position - position + _TRY_COST
            except BitstreamError:
                return None
        return None
