"""Streams and chunks for tests of the file format, made by the writer or byte by byte."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np

from codec.bitstream import Header, Reader, Writer
from codec.bitstream.fields import varint
from codec.errors import BitstreamError

TESTS = Path(__file__).parents[1]
MODEL = bytes.fromhex("0123456789abcdef")
HEADER = Header(
    sample_rate=44_100,
    channels=2,
    num_samples=8_000,
    model_id=MODEL,
    num_codebooks=3,
    bits_per_code=10,
    frames_per_chunk=4,
    model_sample_rate=48_000,
    hop_length=960,
)  # 8,000 samples need 10 frames: chunks of 4, 4 and 2


class Pipe(io.RawIOBase):
    """A file that cannot seek; it gives or takes at most `step` bytes at a time."""

    def __init__(self, data: bytes = b"", step: int = 3) -> None:
        self.data, self.step, self.written = data, step, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        block = self.data[: self.step if size < 0 else min(size, self.step)]
        self.data = self.data[len(block) :]
        return block

    def write(self, data) -> int:
        self.written += bytes(data[: self.step])
        return min(len(data), self.step)


def random_codes(header: Header, frames: int, seed: int = 0) -> np.ndarray:
    """Return random codes for a stream, int32 [channel, frame, codebook]."""
    shape = (header.channels, frames, header.num_codebooks)
    return np.random.default_rng(seed).integers(0, 2**header.bits_per_code, shape, dtype=np.int32)


def write(header: Header, codes: np.ndarray, num_samples: int | None = None) -> bytes:
    """Return the stream of these codes."""
    file = io.BytesIO()
    writer = Writer(file, header)
    for start in range(0, codes.shape[1], header.frames_per_chunk):
        writer.write_chunk(codes[:, start : start + header.frames_per_chunk])
    writer.close(num_samples)
    return file.getvalue()


def write_varying(header: Header, codes: np.ndarray, counts: list[int]) -> bytes:
    """Return a stream whose chunks keep only the first codes of each frame.

    Args:
        header: the header; without `num_samples` the stream has 0 samples.
        codes: all codes, [channel, frame, codebook].
        counts: the number of codebooks of each chunk.
    """
    file = io.BytesIO()
    writer = Writer(file, header)
    for start, count in zip(range(0, codes.shape[1], header.frames_per_chunk), counts, strict=False):
        writer.write_chunk(codes[:, start : start + header.frames_per_chunk, :count])
    writer.close(header.num_samples or 0)
    return file.getvalue()


def joined(chunks: list, header: Header) -> np.ndarray:
    """Join the codes of chunks, of which there may be none."""
    empty = np.zeros((header.channels, 0, header.num_codebooks), np.int32)
    return np.concatenate([empty, *(chunk.codes for chunk in chunks)], axis=1)


def read_all(file) -> tuple[Reader | None, list, BitstreamError | None]:
    """Return the reader (None if its header is invalid), the chunks before the first error, and that error."""
    reader, chunks = None, []
    try:
        reader = Reader(file)
        for chunk in reader:
            chunks.append(chunk)
    except BitstreamError as error:
        return reader, chunks, error
    return reader, chunks, None


def with_crc(data: bytes) -> bytes:
    """Append the CRC-32."""
    return data + struct.pack("<I", zlib.crc32(data))


def raw_chunk(number: int, tag: int, payload: bytes, codebooks: int | None = None) -> bytes:
    """Return a chunk made of these fields; `codebooks` is a field of coding 2 only."""
    fields = varint(tag) + (b"" if codebooks is None else varint(codebooks)) + varint(len(payload))
    return fields + struct.pack("<I", zlib.crc32(struct.pack("<Q", number) + fields + payload)) + payload


def raw_trailer(sizes: list[int], num_samples: int) -> bytes:
    """Return the end of a stream whose chunks have these sizes in bytes."""
    index = b"".join(varint(size) for size in sizes)
    return with_crc(b"\0" + index + struct.pack("<QI", num_samples, len(index)))


CODES = random_codes(HEADER, 10)
FILE = write(HEADER, CODES)
OPENERS = {"file": io.BytesIO, "pipe": Pipe}
