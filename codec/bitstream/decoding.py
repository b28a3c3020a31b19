"""Decode stored chunks to codes. Range coded chunks of the same size are decoded together, which is faster."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.format import PACKED, Header, StoredChunk, check_prior
from codec.bitstream.packing import unpack
from codec.bitstream.prior import Prior
from codec.errors import BitstreamError

BATCH_CODES = 2**17  # codes that are decoded together, at most: three and a half minutes at 6 kbit/s

DecodedCodes: TypeAlias = "NDArray[np.int32] | BitstreamError"  # [channel, frame, codebook], or what is wrong


def decode_chunks(chunks: Sequence[StoredChunk], header: Header, prior: Prior | None) -> list[DecodedCodes]:
    """Decode chunks of a stream.

    Args:
        chunks: any chunks of the stream.
        header: its header.
        prior: the prior of the model; None if it is not known, which makes range coded chunks an error.

    Returns:
        For each chunk its codes, or the error that it must raise.
    """
    decoded: dict[int, DecodedCodes] = {}
    for (coding, *_), group in itertools.groupby(sorted(chunks, key=_size), _size):
        same_size = list(group)
        results = _unpack(same_size, header) if coding == PACKED else _range_decode(same_size, header, prior)
        decoded |= {chunk.index: result for chunk, result in zip(same_size, results, strict=True)}
    return [decoded[chunk.index] for chunk in chunks]


def chunks_together(header: Header, prior: Prior) -> int:
    """Return how many chunks of a stream to decode together: as many as are faster so, within the prior's memory."""
    codes = header.frames_per_chunk * header.num_codebooks
    rows = min(BATCH_CODES // codes, prior.rows_together(header.num_codebooks))
    return max(1, rows // header.channels)


def _size(chunk: StoredChunk) -> tuple[int, int, int]:
    return chunk.coding, chunk.frames, chunk.codebooks


def _unpack(chunks: list[StoredChunk], header: Header) -> Iterator[DecodedCodes]:
    for chunk in chunks:
        shape = (header.channels, chunk.frames, chunk.codebooks)
        try:
            yield unpack(chunk.payload, math.prod(shape), header.bits_per_code).reshape(shape)
        except ValueError as error:
            yield BitstreamError(f"{chunk.where}: {error}")


def _range_decode(chunks: list[StoredChunk], header: Header, prior: Prior | None) -> Iterator[DecodedCodes]:
    """Decode range coded chunks with the same numbers of frames and codebooks."""
    try:
        prior = _fitting(prior, header)
    except ValueError as error:
        yield from (BitstreamError(f"{chunk.where}: {error}") for chunk in chunks)
        return
    payloads = [chunk.payload for chunk in chunks]
    codes, faults = prior.unpack(payloads, header.channels, chunks[0].frames, chunks[0].codebooks)
    for chunk, row, fault in zip(chunks, codes, faults, strict=True):
        yield BitstreamError(f"{chunk.where}: {fault}") if fault else row


def _fitting(prior: Prior | None, header: Header) -> Prior:
    if prior is None:
        model = header.model_id.hex()
        raise ValueError(f"range coded, expected packed or the prior of the model {model}")
    check_prior(header, prior)
    return prior
