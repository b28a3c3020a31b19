"""Reads a stream of chunks, as `format.py` draws it, and trusts none of its numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.fields import CRC, Source, check_crc, compare_crc, varints
from codec.bitstream.format import (
    FEWER,
    FOOTER,
    HEADER,
    MAX_INDEX,
    MAX_SAMPLES,
    MIN_CHUNK,
    PACKED,
    RANGE_CODED,
    Chunk,
    Header,
    Index,
    StoredChunk,
    check_prior,
    chunk_crc,
    too_few,
)
from codec.bitstream.packing import packed_size, unpack
from codec.bitstream.prior import Prior
from codec.errors import BitstreamError, ChecksumMismatch, UnsupportedVersion

AnyChunk = TypeVar("AnyChunk", Chunk, StoredChunk)

_TAIL = 2**16  # bytes at the end of a file that are read at once
_SIDE_BY_SIDE = 2**17  # codes that are range decoded at once: of three and a half minutes at 6 kbit/s
_SECONDS_OF_A_PIPE = 8  # that are waited for, to range decode them at once


class Reader:
    """Reads a stream from a binary file object; iterating gives its chunks, each one checked.

    prior: that of the model, to read range coded chunks with; whoever reads only `stored_chunks` needs none.

    num_samples: source samples in a channel; on a pipe, as in the header (maybe None) until the end is read.
    chunk_offsets: bytes from the start of the stream; None without an index (a pipe, a cut or endless one).
    live: this is a pipe whose end nobody knows yet, so that each chunk is waited for.

    A stream that is cut or damaged gives the chunks before that place, then raises a BitstreamError.
    """

    def __init__(self, file: BinaryIO, prior: Prior | None = None) -> None:
        self._source, self.prior = Source(file), prior
        self.header = Header.from_bytes(self._source.read_up_to(HEADER.size))
        self.num_samples = self.header.num_samples
        self.chunk_offsets: tuple[int, ...] | None = None
        self._trailer_offset = 0  # bytes, if there are chunk_offsets
        self._next_chunk = 0
        self._next_frame = 0
        self._index = Index()
        self._finished = False
        self.live = not self._source.seekable and self.num_samples is None
        if self._source.seekable:
            self._find_trailer()

    def __iter__(self) -> Iterator[Chunk]:
        """Give the chunks that are left. After ChecksumMismatch, iterating again goes on with the next chunk.

        Raises Truncated, ChecksumMismatch, UnsupportedVersion (an unknown coding) or, for what no writer
        writes and for a range coded chunk without a prior, BitstreamError.
        """
        return self._chunks(1, None)

    def chunks(self, last: int | None = None) -> Iterator[Chunk]:
        """Give the chunks that are left and raise as iterating does, but read ahead, except in a live pipe.

        Range coded chunks are decoded more quickly side by side. Nothing is read ahead behind chunk `last`.
        """
        return self._chunks(1 if self.prior is None or self.live else self._side_by_side(), last)

    def _side_by_side(self) -> int:
        """How many chunks to range decode at once."""
        header = self.header
        most = _SIDE_BY_SIDE // (header.channels * header.frames_per_chunk * header.num_codebooks)
        if not self._source.seekable:
            frames = _SECONDS_OF_A_PIPE * header.model_sample_rate // header.hop_length
            most = min(most, frames // header.frames_per_chunk)
        return max(1, most)

    def _chunks(self, together: int, last: int | None) -> Iterator[Chunk]:
        for chunks in grouped(self.stored_chunks(), together, last):
            for chunk, codes in zip(chunks, self._decode(chunks), strict=True):
                if isinstance(codes, BitstreamError):
                    self._refuse(codes)
                else:
                    yield Chunk(chunk.index, chunk.start_frame, codes)

    def _refuse(self, error: BitstreamError) -> None:
        """Meet a chunk whose checksum fits, and whose codes do not."""
        raise error

    def stored_chunks(self) -> Iterator[StoredChunk]:
        """Give the chunks that are left as they are stored, their checksums compared; raises as iterating does."""
        while not self._finished:
            chunk = self._read_chunk()
            if chunk is not None:
                yield chunk

    def seek(self, index: int) -> None:
        """Let chunk `index` be the next. Raises ValueError if there is no such chunk or no index."""
        if self.chunk_offsets is None:
            raise ValueError("this stream has no index to seek by")
        if not 0 <= index < len(self.chunk_offsets):
            raise ValueError(f"no chunk {index} in a stream of {len(self.chunk_offsets)}")
        self._source.seek(self.chunk_offsets[index])
        self._next_chunk, self._next_frame = index, index * self.header.frames_per_chunk
        self._finished = False

    def _read_chunk(self) -> StoredChunk | None:
        start, where = self._source.position, self._where()
        number, first = self._next_chunk, self._next_frame
        tag, fields = self._source.read_varint(where)
        if tag == 0:
            self._finish(start)
            return None
        frames, coding = divmod(tag, 4)
        codebooks = self.header.num_codebooks
        if coding == FEWER:
            codebooks, coding, codebooks_bytes = self._read_codebooks(where)
            fields += codebooks_bytes
        most = self._check_frames(frames, codebooks, where)
        size, size_bytes = self._source.read_varint(where)
        if size > most:
            raise BitstreamError(f"{where}: payload of {size} bytes, expected at most {most}")
        (stored,) = CRC.unpack(self._source.read_exactly(CRC.size, where))
        payload = self._source.read_exactly(size, where)
        self._next_chunk, self._next_frame = number + 1, first + self.header.frames_per_chunk
        self._index.add(self._source.position - start)
        compare_crc(stored, chunk_crc(number, fields + size_bytes, payload), where)
        self._next_frame = first + frames
        self._check_end(number, where)
        if coding not in (PACKED, RANGE_CODED):
            raise UnsupportedVersion(
                f"{where}: coding {coding}, expected 0 (packed), 1 (range coded) or 2 (fewer codebooks)"
            )
        return StoredChunk(number, first, frames, codebooks, coding, payload, where)

    def _where(self) -> str:
        seconds = self._next_frame * self.header.hop_length / self.header.model_sample_rate
        return f"chunk {self._next_chunk} at byte {self._source.position} ({seconds:.2f} s)"

    def _read_codebooks(self, where: str) -> tuple[int, int, bytes]:
        """Read the field that coding 2 has: the number of codebooks, the coding of the payload, and the bytes."""
        value, data = self._source.read_varint(where)
        codebooks, coding = divmod(value, 2)
        most = self.header.num_codebooks - 1 if self.header.varies else -1
        if codebooks > most:
            expected = f"at most {most}" if self.header.varies else "no chunk of fewer in this stream"
            raise BitstreamError(f"{where}: {codebooks} codebooks, expected {expected}")
        if not codebooks and coding != PACKED:
            raise BitstreamError(f"{where}: silence in coding {coding}, expected {PACKED}")
        return codebooks, coding, data

    def _check_frames(self, frames: int, codebooks: int, where: str) -> int:
        """Return the most bytes that so many frames may take."""
        header = self.header
        if self._next_frame != self._next_chunk * header.frames_per_chunk:
            raise BitstreamError(f"{where}: found behind a shorter chunk, expected the end")
        if not 1 <= frames <= header.frames_per_chunk:
            raise BitstreamError(f"{where}: {frames} frames, expected 1 to {header.frames_per_chunk}")
        return packed_size(frames * header.channels * codebooks, header.bits_per_code)

    def _check_end(self, number: int, where: str) -> None:
        if self.chunk_offsets is not None:
            end = (*self.chunk_offsets[number + 1 : number + 2], self._trailer_offset)[0]
            if self._source.position != end:
                raise BitstreamError(
                    f"{where}: ends at byte {self._source.position}, expected {end} as in the index"
                )

    def _decode(self, chunks: list[StoredChunk]) -> list[NDArray[np.int32] | BitstreamError]:
        """The codes of each, or what is wrong with them."""
        found: dict[int, NDArray[np.int32] | BitstreamError] = {}

        def kind(chunk: StoredChunk) -> tuple[int, int, int]:
            return chunk.coding, chunk.frames, chunk.codebooks

        for (coding, *_), group in itertools.groupby(sorted(chunks, key=kind), kind):
            alike = list(group)
            unpacked = self._unpack if coding == PACKED else self._range_decode
            found |= {chunk.index: codes for chunk, codes in zip(alike, unpacked(alike), strict=True)}
        return [found[chunk.index] for chunk in chunks]

    def _unpack(self, chunks: list[StoredChunk]) -> Iterator[NDArray[np.int32] | BitstreamError]:
        header = self.header
        for chunk in chunks:
            shape = (header.channels, chunk.frames, chunk.codebooks)
            try:
                yield unpack(chunk.payload, math.prod(shape), header.bits_per_code).reshape(shape)
            except ValueError as error:
                yield BitstreamError(f"{chunk.where}: {error}")

    def _range_decode(self, chunks: list[StoredChunk]) -> Iterator[NDArray[np.int32] | BitstreamError]:
        """Of chunks of the same numbers of frames and codebooks."""
        first, channels = chunks[0], self.header.channels
        try:
            prior = self._fitting_prior()
        except ValueError as error:
            yield from (BitstreamError(f"{chunk.where}: {error}") for chunk in chunks)
            return
        rows = [chunk.payload for chunk in chunks]
        codes, faults = prior.unpack(rows, channels, first.frames, first.codebooks)
        for chunk, row, fault in zip(chunks, codes, faults, strict=True):
            yield BitstreamError(f"{chunk.where}: {fault}") if fault else row

    def _fitting_prior(self) -> Prior:
        if self.prior is None:
            model = self.header.model_id.hex()
            raise ValueError(f"range coded, expected packed or the prior of the model {model}")
        check_prior(self.header, self.prior)
        return self.prior

    def _finish(self, start: int) -> None:
        """Check the trailer, whose first byte was read, against all that came before it."""
        where = f"trailer at byte {start}"
        if self.chunk_offsets is None:
            sizes = self._index.sizes
            trailer = b"\0" + self._source.read_exactly(len(sizes) + FOOTER.size, where)
            check_crc(trailer, where)
            if trailer[1 : -FOOTER.size] != sizes:
                raise BitstreamError(
                    f"{where}: the index does not give the sizes of the {self._next_chunk} chunks"
                )
            self._set_num_samples(trailer, self._next_frame, where)
        elif start != self._trailer_offset:
            raise BitstreamError(f"{where}: expected chunk {self._next_chunk} there, as in the index")
        elif self._next_frame < self.header.frames_for(self.num_samples or 0):
            raise BitstreamError(f"{where}: {too_few(self.header, self.num_samples or 0, self._next_frame)}")
        self._finished = True

    def _find_trailer(self) -> None:
        """Take what the trailer at the end of the file says, if a sound one is there; keep the position."""
        start = self._source.position
        trailer = _read_trailer(self._source)
        offset = self._source.position - len(trailer)
        self._source.seek(start)
        index = trailer[1 : -FOOTER.size]
        if not trailer or (not index and offset > start):
            return
        where = f"trailer at byte {offset}"
        self.chunk_offsets = _offsets(index, start, offset, where)
        self._trailer_offset = offset
        self._set_num_samples(trailer, len(self.chunk_offsets) * self.header.frames_per_chunk, where)

    def _set_num_samples(self, trailer: bytes, most_frames: int, where: str) -> None:
        num_samples, _, _ = FOOTER.unpack(trailer[-FOOTER.size :])
        known = self.header.num_samples
        if known is not None and num_samples != known:
            raise BitstreamError(f"{where}: {num_samples} samples, expected {known} as in the header")
        if num_samples > MAX_SAMPLES:
            raise BitstreamError(f"{where}: {num_samples} samples, expected at most {MAX_SAMPLES}")
        if most_frames < self.header.frames_for(num_samples):
            raise BitstreamError(f"{where}: {too_few(self.header, num_samples, most_frames)}")
        self.num_samples = num_samples


def grouped(chunks: Iterable[AnyChunk], together: int, last: int | None = None) -> Iterator[list[AnyChunk]]:
    """Chunks by so many, and a new group behind number `last`; what cannot be read raises behind those before.

    The last group may hold none.
    """
    group: list[AnyChunk] = []
    try:
        for chunk in chunks:
            group.append(chunk)
            if len(group) == together or chunk.index == last:
                yield group
                group = []
    except BitstreamError:
        yield group
        raise
    yield group


def _read_trailer(source: Source) -> bytes:
    """Read the trailer at the end of the file, in one read if it is short; b"" if no sound one is there."""
    end = source.length()
    start = max(HEADER.size, end - _TAIL)
    if end - start <= FOOTER.size:
        return b""
    source.seek(start)
    tail = source.read_up_to(end - start)
    _, index_size, _ = FOOTER.unpack(tail[-FOOTER.size :])
    size = 1 + index_size + FOOTER.size
    if index_size > MAX_INDEX or size > end - HEADER.size:
        return b""
    if size > len(tail):
        source.seek(end - size)
        tail = source.read_up_to(size)
    trailer = tail[-size:]
    try:
        check_crc(trailer, "trailer")
    except ChecksumMismatch:
        return b""
    return trailer if trailer[0] == 0 else b""


def _offsets(index: bytes, start: int, end: int, where: str) -> tuple[int, ...]:
    """Return the byte where each chunk begins. Raises BitstreamError unless they fill `start` to `end`."""
    try:
        sizes = varints(index)
    except ValueError as error:
        raise BitstreamError(f"{where}: the index is {error}") from None
    found = int(sizes.sum())
    if found != end - start or (sizes < MIN_CHUNK).any():
        raise BitstreamError(f"{where}: the index gives {found} bytes of chunks, expected {end - start}")
    return tuple((start + np.cumsum(sizes) - sizes).tolist())
