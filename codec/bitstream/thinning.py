"""Lower the bitrate of a stream without decoding: keep the first codes of each row."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.format import Chunk, Header, default_frames_per_chunk, frames_per_second
from codec.bitstream.limits import check_plausible
from codec.bitstream.reader import Reader
from codec.bitstream.writer import Writer

_REMEDY = "if you trust the file, allow more with --force (`bounded=False` in Python)"


def thin(reader: Reader, target: BinaryIO, num_codebooks: int, *, bounded: bool = True) -> None:
    """Copy a stream, keeping the first `num_codebooks` codes of each row.

    Chunks of whole seconds are joined to the default length of the new bitrate, so that their other fields add little.
    Other chunks stay as they are, since the meaning of a code may depend on the beginning of its chunk. So do chunks in
    a stream that varies; those that already have fewer codebooks lose none.

    With the reader's prior, chunks are range coded again. Without it packed chunks stay packed, and range coded ones
    are an error.

    Args:
        reader: the stream to copy.
        target: a binary file object to write to.
        num_codebooks: 1 .. the number of codebooks in the stream.
        bounded: refuse a stream for much more sound than its size lets expect.

    Raises:
        ValueError: the number of codebooks is outside these limits.
        TooLong: the stream is refused.
        BitstreamError: the stream is damaged.
    """
    header = thinned(reader.header, num_codebooks)
    writer = Writer(target, header, reader.prior)
    chunks = _plausible(reader) if bounded else reader.chunks()
    for codes in _regrouped(chunks, header.frames_per_chunk):
        writer.write_chunk(codes[..., :num_codebooks])
    writer.close(reader.num_samples)


def thinned(header: Header, num_codebooks: int) -> Header:
    """Return the header of the thinned stream."""
    if not 1 <= num_codebooks <= header.num_codebooks:
        raise ValueError(f"num_codebooks {num_codebooks}, expected 1 to {header.num_codebooks}")
    frames = header.frames_per_chunk
    if not header.varies and frames % frames_per_second(header.hop_length, header.model_sample_rate) == 0:
        default = default_frames_per_chunk(
            channels=header.channels,
            num_codebooks=num_codebooks,
            bits_per_code=header.bits_per_code,
            hop_length=header.hop_length,
            model_sample_rate=header.model_sample_rate,
        )
        frames = max(frames, default // frames * frames)
    return dataclasses.replace(header, num_codebooks=num_codebooks, frames_per_chunk=frames)


def _plausible(reader: Reader) -> Iterator[Chunk]:
    """Yield the chunks; raise TooLong where they last longer than the size lets expect."""
    header = reader.header
    for chunk in reader.chunks():
        frames = chunk.start_frame + chunk.codes.shape[1]
        check_plausible(reader, frames * header.hop_length / header.model_sample_rate, _REMEDY)
        yield chunk


def _regrouped(chunks: Iterable[Chunk], frames: int) -> Iterator[NDArray[np.int32]]:
    """Yield the codes of chunks, joined to `frames` frames; the last may have fewer."""
    waiting: list[NDArray[np.int32]] = []
    for chunk in chunks:
        waiting.append(chunk.codes)
        if sum(codes.shape[1] for codes in waiting) >= frames:
            yield np.concatenate(waiting, axis=1)
            waiting.clear()
    if waiting:
        yield np.concatenate(waiting, axis=1)
