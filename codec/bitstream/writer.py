"""Write a stream of chunks in the layout of `format.py`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codec.bitstream.fields import CRC, varint
from codec.bitstream.format import (
    FEWER_CODEBOOKS,
    HEADER,
    MAX_SAMPLES,
    PACKED,
    RANGE_CODED,
    Header,
    check_prior,
    check_range,
    chunk_crc,
    too_few_frames,
)
from codec.bitstream.packing import pack
from codec.bitstream.prior import Prior
from codec.bitstream.trailer import Index, ending
from codec.files import write_all


class Writer:
    """Write a stream to a binary file object.

    Methods raise ValueError for codes or counts that the stream cannot hold. Errors of the file pass through.

    Args:
        file: it may be a pipe, since it is only written to: no seek, flush or close.
        header: the header of the stream.
        prior: the prior of the model, if any. With it, each chunk is range coded if that takes fewer bytes than
            packing.

    Attributes:
        header: as given.
        num_frames: frames written so far.
    """

    def __init__(self, file: BinaryIO, header: Header, prior: Prior | None = None) -> None:
        if prior is not None:
            check_prior(header, prior)
        self.header = header
        self.num_frames = 0
        self._file, self._prior = file, prior
        self._index = Index()
        self._size = HEADER.size  # bytes written so far
        self._closed = False
        write_all(file, header.to_bytes())

    def write_chunk(self, codes: ArrayLike) -> None:
        """Write codes [channel, frame, codebook]: frames_per_chunk frames, or fewer in the last chunk.

        A stream that varies also accepts fewer codebooks, and none for silence.
        """
        self.write_chunks([codes])

    def write_chunks(self, chunks: Sequence[ArrayLike]) -> None:
        """Write chunks as `write_chunk` does; with a prior this is faster than one by one."""
        arrays = [np.asarray(codes) for codes in chunks]
        for codes in arrays:
            self._check(codes)
        for (_, frames, codebooks), group in itertools.groupby(arrays, np.shape):
            for coding, payload in self._payloads(list(group)):
                self._write(frames, codebooks, coding, payload)

    def _payloads(self, chunks: list[NDArray[np.integer]]) -> list[tuple[int, bytes]]:
        """Return coding and payload of chunks of the same shape: the coding with fewer bytes, or packed if equal."""
        packed = [(PACKED, pack(codes, self.header.bits_per_code)) for codes in chunks]
        if self._prior is None or not chunks[0].size:
            return packed
        coded = [(RANGE_CODED, payload) for payload in self._prior.pack(np.stack(chunks))]
        return [
            min(choices, key=lambda choice: len(choice[1])) for choices in zip(packed, coded, strict=True)
        ]

    def _write(self, frames: int, codebooks: int, coding: int, payload: bytes) -> None:
        if self.num_frames % self.header.frames_per_chunk:
            raise ValueError(f"only the last chunk may have fewer than {self.header.frames_per_chunk} frames")
        if codebooks == self.header.num_codebooks:
            fields = varint(frames * 4 + coding)
        else:
            fields = varint(frames * 4 + FEWER_CODEBOOKS) + varint(codebooks * 2 + coding)
        fields += varint(len(payload))
        number = self.num_frames // self.header.frames_per_chunk
        chunk = fields + CRC.pack(chunk_crc(number, fields, payload)) + payload
        write_all(self._file, chunk)
        self.num_frames += frames
        self._size += len(chunk)
        self._index.add(len(chunk))

    def close(self, num_samples: int | None = None) -> None:
        """Write the trailer, with a copy of the header unless the stream is very short, and leave the file open.

        Args:
            num_samples: source samples in a channel; needed if the header does not state it.
        """
        if self._closed:
            return
        known = self.header.num_samples
        num_samples = known if num_samples is None else num_samples
        if num_samples is None:
            raise ValueError("num_samples is needed to end a stream of unknown length")
        if known is not None and num_samples != known:
            raise ValueError(f"{num_samples} samples, expected {known} as in the header")
        check_range("num_samples", num_samples, 0, MAX_SAMPLES)
        if self.num_frames < self.header.frames_for(num_samples):
            raise ValueError(too_few_frames(self.header, num_samples, self.num_frames))
        write_all(self._file, ending(self._index, num_samples, self.header, self._size))
        self._closed = True

    def _check(self, codes: NDArray[np.generic]) -> None:
        header = self.header
        if self._closed:
            raise ValueError("the stream is closed")
        least = 0 if header.varies else header.num_codebooks
        if (
            codes.ndim != 3
            or codes.shape[0] != header.channels
            or not least <= codes.shape[2] <= header.num_codebooks
        ):
            most = f"0 to {header.num_codebooks}" if header.varies else f"{header.num_codebooks}"
            expected = f"[{header.channels}, frame, {most}]"
            raise ValueError(f"codes of shape {list(codes.shape)}, expected {expected}")
        if not 1 <= codes.shape[1] <= header.frames_per_chunk:
            raise ValueError(f"{codes.shape[1]} frames, expected 1 to {header.frames_per_chunk}")
