"""A lower bitrate without decoding: the first codes of each row, in a stream of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.format import Chunk, Header, default_frames_per_chunk, frames_per_second
from codec.bitstream.reader import Reader
from codec.bitstream.writer import Writer


def thin(reader: Reader, target: BinaryIO, num_codebooks: int) -> None:
    """Copy a stream, keeping the first `num_codebooks` codes of each row.

    Chunks of whole seconds become those that a writer of this bitrate makes by default, so that their framing stays
    small; of other chunks, and where they have different numbers of codebooks, each stays one, since what a code means
    may begin anew with its chunk. Chunks that have fewer codebooks already are copied. With the reader's
    prior they are range coded anew; without it packed chunks stay packed, and others are an error.

    Raises ValueError for more codebooks than the stream has, or none, and BitstreamError for a damaged stream.
    """
    header = thinned(reader.header, num_codebooks)
    writer = Writer(target, header, reader.prior)
    for codes in _regrouped(reader.chunks(), header.frames_per_chunk):
        writer.write_chunk(codes[..., :num_codebooks])
    writer.close(reader.num_samples)


def thinned(header: Header, num_codebooks: int) -> Header:
    """The header of the thinned stream."""
    if not 1 <= num_codebooks <= header.num_codebooks:
        raise ValueError(f"num_codebooks {num_codebooks}, expected 1 to {header.num_codebooks}")
    frames = header.frames_per_chunk
    if not header.varies and frames % frames_per_second(header.hop_length, header.model_sample_rate) == 0:
        names = ("channels", "bits_per_code", "hop_length", "model_sample_rate")
        facts = {name: getattr(header, name) for name in names}
        frames = max(
            frames, default_frames_per_chunk(num_codebooks=num_codebooks, **facts) // frames * frames
        )
    return dataclasses.replace(header, num_codebooks=num_codebooks, frames_per_chunk=frames)


def _regrouped(chunks: Iterable[Chunk], frames: int) -> Iterator[NDArray[np.int32]]:
    """The codes of chunks in groups of `frames` frames; the last may have fewer."""
    waiting: list[NDArray[np.int32]] = []
    for chunk in chunks:
        waiting.append(chunk.codes)
        if sum(codes.shape[1] for codes in waiting) >= frames:
            yield np.concatenate(waiting, axis=1)
            waiting.clear()
    if waiting:
        yield np.concatenate(waiting, axis=1)
