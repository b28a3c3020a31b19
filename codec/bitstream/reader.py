"""Read a stream of chunks in the layout of `format.py`, checking every number before it is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO, TypeVar

from codec.bitstream.decoding import chunks_together, decode_chunks
from codec.bitstream.fields import CRC, ByteReader, compare_crc
from codec.bitstream.format import (
    FEWER_CODEBOOKS,
    HEADER,
    MAX_SAMPLES,
    PACKED,
    RANGE_CODED,
    Chunk,
    Header,
    StoredChunk,
    chunk_crc,
    too_few_frames,
)
from codec.bitstream.packing import packed_size
from codec.bitstream.prior import Prior
from codec.bitstream.trailer import Index, Trailer, check_copy, find_trailer, read_trailer
from codec.errors import BitstreamError, UnsupportedVersion

AnyChunk = TypeVar("AnyChunk", Chunk, StoredChunk)

_PIPE_SECONDS = 8  # of audio that is read ahead from a pipe, to range decode its chunks together


class Reader:
    """Read a stream; iterating gives its chunks, each one checked.

    A truncated or damaged stream gives the chunks before the damage, then raises a BitstreamError.

    Args:
        file: a binary file object, which may be a pipe.
        prior: the prior of the model. Range coded chunks need it; `stored_chunks` does not.

    Attributes:
        header: the header of the stream.
        prior: as given.
        delay: samples at the model's rate that the model adds at the end. If set, frames that neither the source nor
            the delay needs are an error.
        num_samples: source samples in a channel. In a pipe as in the header, maybe None, until the end is read.
        chunk_offsets: first byte of each chunk; None without an index (in a pipe, or a truncated or very long file).
        live: True for a pipe of unknown length, whose chunks arrive one at a time.
    """

    def __init__(self, file: BinaryIO, prior: Prior | None = None) -> None:
        self._source, self.prior = ByteReader(file), prior
        self.header = self._read_header()
        self.num_samples = self.header.num_samples
        self.delay: int | None = None
        self.chunk_offsets: tuple[int, ...] | None = None
        self._trailer: Trailer | None = None  # if there are chunk_offsets
        self._next_chunk = 0
        self._next_frame = 0
        self._index = Index()
        self._finished = False
        self.live = not self._source.seekable and self.num_samples is None
        if self._source.seekable:
            self._find_trailer()

    @property
    def size(self) -> int | None:
        """Return the size of the file in bytes, or None for a pipe."""
        return self._source.size

    @property
    def position(self) -> int:
        """Return the byte of the stream up to which it is read."""
        return self._source.position

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the remaining chunks. After ChecksumMismatch, iterating again continues with the next chunk.

        Raises:
            Truncated: the stream ends early.
            ChecksumMismatch: a chunk or the trailer is damaged.
            UnsupportedVersion: a chunk has an unknown coding.
            BitstreamError: a chunk is invalid, or it is range coded and there is no prior.
        """
        return self._chunks(1, 0, None)

    def chunks(self, last: int | None = None, first: int = 0) -> Iterator[Chunk]:
        """Yield the remaining chunks and raise as iterating does, but read ahead, except from a live pipe.

        Reading ahead is faster, since several range coded chunks are decoded together.

        Args:
            last: number of a chunk; reading ahead stops there.
            first: number of a chunk; those before it are read and not decoded.
        """
        together = 1 if self.prior is None or self.live else self._batch_size(self.prior)
        return self._chunks(together, first, last)

    def _batch_size(self, prior: Prior) -> int:
        """Return the number of chunks to range decode together."""
        header, size = self.header, chunks_together(self.header, prior)
        if not self._source.seekable:
            frames = _PIPE_SECONDS * header.model_sample_rate // header.hop_length
            size = min(size, frames // header.frames_per_chunk)
        return max(1, size)

    def _chunks(self, batch_size: int, first: int, last: int | None) -> Iterator[Chunk]:
        stored = (chunk for chunk in self.stored_chunks() if chunk.index >= first)
        for batch in grouped(stored, batch_size, last):
            for chunk, result in zip(batch, decode_chunks(batch, self.header, self.prior), strict=True):
                if isinstance(result, BitstreamError):
                    self._reject(result)
                else:
                    yield Chunk(chunk.index, chunk.start_frame, result)

    def _reject(self, error: BitstreamError) -> None:
        """Handle a chunk with a correct checksum and invalid codes."""
        raise error

    def stored_chunks(self) -> Iterator[StoredChunk]:
        """Yield the remaining chunks as stored, with their checksums checked; raise as iterating does."""
        while not self._finished:
            chunk = self._read_chunk()
            if chunk is not None:
                yield chunk

    def checked_chunks(self) -> Iterator[StoredChunk]:
        """Yield the remaining chunks as stored, after all checks that need no model; raise as iterating does."""
        self.delay = self.header.hop_length // 2
        for chunk in self.stored_chunks():
            if chunk.coding == PACKED and chunk.codebooks:  # silence has no codes to check
                (result,) = decode_chunks([chunk], self.header, None)
                if isinstance(result, BitstreamError):
                    raise result
            yield chunk

    def seek(self, index: int) -> None:
        """Continue with chunk `index`. Raises ValueError if there is no such chunk or no index."""
        if self.chunk_offsets is None:
            raise ValueError("this stream has no index to seek by")
        if not 0 <= index < len(self.chunk_offsets):
            raise ValueError(f"no chunk {index} in a stream of {len(self.chunk_offsets)}")
        self._source.seek(self.chunk_offsets[index])
        self._next_chunk, self._next_frame = index, index * self.header.frames_per_chunk
        self._finished = False

    def _read_header(self) -> Header:
        """Read the header at the start of the stream."""
        return Header.from_bytes(self._source.read_up_to(HEADER.size))

    def _read_chunk(self) -> StoredChunk | None:
        """Read the next chunk; None if the trailer is there instead."""
        start, where = self._source.position, self._where()
        number, first_frame = self._next_chunk, self._next_frame
        tag, fields = self._source.read_varint(where)
        if tag == 0:
            self._finish(start)
            return None
        frames, coding = divmod(tag, 4)
        codebooks = self.header.num_codebooks
        if coding == FEWER_CODEBOOKS:
            codebooks, coding, codebooks_field = self._read_codebooks(where)
            fields += codebooks_field
        self._check_frames(frames, where)
        size, size_field = self._source.read_varint(where)
        self._check_size(size, frames * codebooks, where)
        (stored_crc,) = CRC.unpack(self._source.read_exactly(CRC.size, where))
        self._check_end(number, self._source.position + size, where)
        payload = self._source.read_exactly(size, where)
        self._next_chunk, self._next_frame = number + 1, first_frame + self.header.frames_per_chunk
        self._index.add(self._source.position - start)
        compare_crc(stored_crc, chunk_crc(number, fields + size_field, payload), where)
        self._next_frame = first_frame + frames
        self._check_surplus(where)
        if coding not in (PACKED, RANGE_CODED):
            raise UnsupportedVersion(
                f"{where}: coding {coding}, expected 0 (packed), 1 (range coded) or 2 (fewer codebooks)"
            )
        return StoredChunk(number, first_frame, frames, codebooks, coding, payload, where)

    def _where(self) -> str:
        """Return the current place in the stream, for messages."""
        seconds = self._next_frame * self.header.hop_length / self.header.model_sample_rate
        return f"chunk {self._next_chunk} at byte {self._source.position} ({seconds:.2f} s)"

    def _read_codebooks(self, where: str) -> tuple[int, int, bytes]:
        """Read the field of coding 2; return the number of codebooks, the payload's coding and the field's bytes."""
        value, data = self._source.read_varint(where)
        codebooks, coding = divmod(value, 2)
        most = self.header.num_codebooks - 1 if self.header.varies else -1
        if codebooks > most:
            expected = f"at most {most}" if self.header.varies else "no chunk of fewer in this stream"
            raise BitstreamError(f"{where}: {codebooks} codebooks, expected {expected}")
        if not codebooks and coding != PACKED:
            raise BitstreamError(f"{where}: silence in coding {coding}, expected {PACKED}")
        return codebooks, coding, data

    def _check_frames(self, frames: int, where: str) -> None:
        header = self.header
        if self._next_frame != self._next_chunk * header.frames_per_chunk:
            raise BitstreamError(f"{where}: found after a shorter chunk, expected the end")
        if not 1 <= frames <= header.frames_per_chunk:
            raise BitstreamError(f"{where}: {frames} frames, expected 1 to {header.frames_per_chunk}")

    def _check_size(self, size: int, codes_per_channel: int, where: str) -> None:
        most = packed_size(codes_per_channel * self.header.channels, self.header.bits_per_code)
        if size > most:
            raise BitstreamError(f"{where}: payload of {size} bytes, expected at most {most}")

    def _check_end(self, number: int, end: int, where: str) -> None:
        """Check that a chunk ends where the index says."""
        if self.chunk_offsets is not None and self._trailer is not None:
            expected = (*self.chunk_offsets[number + 1 : number + 2], self._trailer.offset)[0]
            if end != expected:
                raise BitstreamError(f"{where}: ends at byte {end}, expected {expected} as in the index")

    def _finish(self, start: int) -> None:
        """Check the trailer, whose first byte was read at `start`, against all chunks before it; then the copy."""
        where, trailer = f"trailer at byte {start}", self._trailer
        if trailer is None:
            trailer = read_trailer(self._source, start, len(self._index.sizes))
            if trailer.sizes != self._index.sizes:
                raise BitstreamError(
                    f"{where}: the index does not give the sizes of the {self._next_chunk} chunks"
                )
            self._set_num_samples(trailer, self._next_frame)
            self._check_surplus(where)
        elif start != trailer.offset:
            raise BitstreamError(f"{where}: expected chunk {self._next_chunk} there, as in the index")
        elif self._next_frame < self.header.frames_for(self.num_samples or 0):
            message = too_few_frames(self.header, self.num_samples or 0, self._next_frame)
            raise BitstreamError(f"{where}: {message}")
        self._finished = True
        if trailer.has_copy:
            self._check_copy(trailer.end)

    def _check_copy(self, offset: int) -> None:
        """Check the copy of the header, which begins at a byte of the stream."""
        if self._source.position != offset:
            self._source.seek(offset)
        check_copy(self._source, self.header)

    def _check_surplus(self, where: str) -> None:
        """Check that the frames read so far do not last longer than the source and the delay."""
        if self.delay is None or self.num_samples is None:
            return
        most = self.header.most_frames_for(self.num_samples, self.delay)
        if self._next_frame > most:
            raise BitstreamError(
                f"{where}: {self._next_frame} frames for {self.num_samples} samples, expected at most {most}"
            )

    def _find_trailer(self) -> None:
        """Set index and number of samples from the trailer at the end of the file, if a valid one is there."""
        trailer = find_trailer(self._source)
        self._source.seek(HEADER.size)
        if trailer is None or (not trailer.sizes and trailer.offset > HEADER.size):
            return
        offsets = trailer.chunk_offsets()
        self._set_num_samples(trailer, len(offsets) * self.header.frames_per_chunk)
        self.chunk_offsets, self._trailer = offsets, trailer

    def _set_num_samples(self, trailer: Trailer, most_frames: int) -> None:
        """Take the number of samples from the trailer, which cannot exceed that of `most_frames` frames."""
        num_samples, where = trailer.num_samples, trailer.where
        known = self.header.num_samples
        if known is not None and num_samples != known:
            raise BitstreamError(f"{where}: {num_samples} samples, expected {known} as in the header")
        if num_samples > MAX_SAMPLES:
            raise BitstreamError(f"{where}: {num_samples} samples, expected at most {MAX_SAMPLES}")
        if most_frames < self.header.frames_for(num_samples):
            raise BitstreamError(f"{where}: {too_few_frames(self.header, num_samples, most_frames)}")
        self.num_samples = num_samples


def grouped(chunks: Iterable[AnyChunk], size: int, last: int | None = None) -> Iterator[list[AnyChunk]]:
    """Yield chunks in lists.

    If reading a chunk raises a BitstreamError, the chunks before it are yielded first.

    Args:
        chunks: the chunks.
        size: the maximum length of a list.
        last: number of a chunk after which a new list begins.

    Yields:
        Lists of chunks; the last one may be empty.
    """
    group: list[AnyChunk] = []
    try:
        for chunk in chunks:
            group.append(chunk)
            if len(group) == size or chunk.index == last:
                yield group
                group = []
    except BitstreamError:
        yield group
        raise
    yield group
