"""The .lam file, version 1: the layout. From this page a reader can be written with struct and zlib alone; for range
coded chunks also from `rangecoder.py`, `prior.py` and the prior of the model.

Whole numbers are little-endian. A *varint* has 1 to 4 bytes of 7 bits each, least significant first; the top
bit is set in all bytes but the last, and only the shortest form is valid (300 is AC 02). A *frame* is a row
of codes, a *chunk* is frames under one checksum. The CRC-32 is zlib's.

    stream   header | chunk 0 | chunk 1 | .. | chunk n-1 | trailer          n may be 0

    header   offset size field
    (43      0      6    magic              4C 41 4D 9A 0D 0A: "LAM", then what text modes spoil
    bytes)   6      1    version            1
             7      1    flags              0; 1: chunks may have fewer codebooks (coding 2). No others are defined
             8      4    sample_rate        of the source, Hz: 1,000 .. 1,000,000
             12     4    model_sample_rate  of the audio that the codes describe, Hz: 1,000 .. 1,000,000
             16     2    hop_length         samples in a frame, at model_sample_rate: 1 ..
             18     2    frames_per_chunk   1 .., at most 60 seconds of audio and 2^20 codes in all channels;
                                            1 is always allowed
             20     1    channels           of the source: 1 .. 8
             21     1    num_codebooks      codes in a frame, for each channel: 1 .. (with flag 1: the most)
             22     1    bits_per_code      1 .. 16
             23     8    model_id           first bytes of the SHA-256 of the model's config, weights and prior
             31     8    num_samples        source samples in a channel: 0 .. 2^48, or 2^64 - 1: not known yet
             39     4    CRC-32             of the 39 bytes before

    chunk    varint      frames * 4 + coding. Frames are frames_per_chunk in every chunk but the last, which
                         may have fewer (1 ..): so chunk k begins at frame k * frames_per_chunk
             varint      in coding 2 alone: codebooks * 2 + coding (0 or 1) of this chunk
             varint      size of the payload, bytes: never more than packing takes
             4 bytes     CRC-32 of the chunk's number (8 bytes, from 0), the varints and the payload
             payload     coding 0, packed: the codes as [channel][frame][codebook], codebook fastest, each of
                         bits_per_code bits, most significant first, no gaps; zeros fill the last byte
                         coding 1, range coded: the codes as [frame][codebook][half][channel], channel fastest, by
                         the range coder that `rangecoder.py` draws; what is likely, and the halves of a code, says
                         the model's prior, as `prior.py` writes it down, from the codes before it in the chunk.
                         Fewer bytes than packed
                         coding 2, fewer codebooks: as in coding 0 or 1, with the first codes of each row alone,
                         0 .. num_codebooks - 1. 0 is silence, packed: no payload
                         coding 3: not defined yet. Every chunk is decoded without the others

    trailer  1 byte      0: no more chunks (no chunk begins so, since none has 0 frames)
             index       a varint for each chunk: its size in bytes, from its first varint to the end of its
                         payload (no index, 0 bytes, if it would take more than 2^20)
             8 bytes     num_samples: as in the header, or the count that was not known there
             4 bytes     size of the index, bytes
             4 bytes     CRC-32 of the trailer before this field

Reading from a pipe: one chunk after another until the 0. Seeking: read the end of the file (64 KiB hold the
index of hours), take the size of the index from the last 16 bytes, check the CRC-32 and add up: chunk 0 is at
byte 43, each next one where the last ends. A file without a sound trailer was cut, and is read like a pipe.

The frames last at least as long as the source: frames * hop_length / model_sample_rate >= num_samples /
sample_rate. What a model's delay adds at the end is not source, and not counted in num_samples.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.fields import CRC, check_crc, varint, with_crc
from codec.bitstream.packing import MAX_BITS_PER_CODE
from codec.bitstream.prior import Prior
from codec.errors import BitstreamError, Truncated, UnsupportedVersion, WrongModel

MAGIC = b"LAM\x9a\r\n"
VERSION = 1
PACKED, RANGE_CODED, FEWER = 0, 1, 2  # the codings
VARIES = 1  # the flag

MAX_SAMPLES = 2**48  # in a channel: 46 years at 192 kHz
MAX_CODES_PER_CHUNK = 2**20
MAX_SECONDS_PER_CHUNK = 60
MAX_INDEX = 2**20  # bytes; as offsets it takes 58 times as many in memory
MIN_PAYLOAD = 750  # bytes of a chunk beside which its framing is small

HEADER = struct.Struct("<6sBBIIHHBBB8sQI")
FOOTER = struct.Struct("<QII")  # the end of the trailer
MIN_CHUNK = 2 + CRC.size  # bytes
_UNKNOWN = 2**64 - 1
_LIMITS = {  # smallest and largest
    "sample_rate": (1_000, 1_000_000),
    "model_sample_rate": (1_000, 1_000_000),
    "hop_length": (1, 2**16 - 1),
    "channels": (1, 8),
    "num_codebooks": (1, 2**8 - 1),
    "bits_per_code": (1, MAX_BITS_PER_CODE),
}


@dataclass(frozen=True)
class Header:
    """What is known of a stream before its first chunk. Raises ValueError for a value outside the limits.

    sample_rate (Hz), channels, num_samples (in a channel; None: not known yet): of the source.
    model_id (8 bytes), model_sample_rate (Hz), hop_length (samples at that rate), num_codebooks,
    bits_per_code: of the codes.
    frames_per_chunk: frames in every chunk but the last, which may have fewer.
    varies: chunks may have fewer than num_codebooks, each another number.
    """

    sample_rate: int
    channels: int
    num_samples: int | None
    model_id: bytes
    num_codebooks: int
    bits_per_code: int
    frames_per_chunk: int
    model_sample_rate: int
    hop_length: int
    varies: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            check_range(name, getattr(self, name), low, high)
        if self.num_samples is not None:
            check_range("num_samples", self.num_samples, 0, MAX_SAMPLES)
        if len(self.model_id) != 8:
            raise ValueError(f"model_id of {len(self.model_id)} bytes, expected 8")
        most = _most_frames(self.channels * self.num_codebooks, self.hop_length, self.model_sample_rate)
        check_range("frames_per_chunk", self.frames_per_chunk, 1, most)

    def frames_for(self, num_samples: int) -> int:
        """Return the fewest frames that can hold `num_samples` source samples."""
        return -(-num_samples * self.model_sample_rate // (self.sample_rate * self.hop_length))

    def to_bytes(self) -> bytes:
        """Return the 43 bytes that begin a stream."""
        num_samples = _UNKNOWN if self.num_samples is None else self.num_samples
        rates = (self.sample_rate, self.model_sample_rate, self.hop_length, self.frames_per_chunk)
        counts = (self.channels, self.num_codebooks, self.bits_per_code)
        data = HEADER.pack(
            MAGIC, VERSION, VARIES * self.varies, *rates, *counts, bytes(self.model_id), num_samples, 0
        )
        return with_crc(data[: -CRC.size])

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        """Read the first 43 bytes of a stream.

        Raises Truncated, ChecksumMismatch, UnsupportedVersion or, for another magic or values outside the
        limits, BitstreamError.
        """
        _check_start(data)
        _, _, flags, rate, model_rate, hop, frames, channels, codebooks, bits, model_id, samples, _ = (
            HEADER.unpack(data)
        )
        if flags & ~VARIES:
            raise UnsupportedVersion(f"header: flags {flags:#04x} at byte 7, expected 0x00 or {VARIES:#04x}")
        num_samples = None if samples == _UNKNOWN else samples
        try:
            rates = (frames, model_rate, hop)
            return cls(rate, channels, num_samples, model_id, codebooks, bits, *rates, flags == VARIES)
        except ValueError as error:
            raise BitstreamError(f"header at byte 0: {error}") from None


@dataclass(frozen=True)
class StoredChunk:
    """A chunk as stored: `frames` frames from `start_frame` on, of `codebooks` codes each in every channel.

    coding: of the payload, packed or range coded.
    where: for messages.
    """

    index: int
    start_frame: int
    frames: int
    codebooks: int
    coding: int
    payload: bytes
    where: str


@dataclass(frozen=True, eq=False)
class Chunk:
    """Frames under one checksum: number `index`, the first is `start_frame`.

    codes: int32 [channel, frame, codebook]; of no codebook at all where it is silence.
    """

    index: int
    start_frame: int
    codes: NDArray[np.int32]


def default_frames_per_chunk(
    *, channels: int, num_codebooks: int, bits_per_code: int, hop_length: int, model_sample_rate: int
) -> int:
    """Return one second of frames, or as many whole seconds as fill 750 bytes, within the limits."""
    second = frames_per_second(hop_length, model_sample_rate)
    seconds = -(-MIN_PAYLOAD * 8 // (channels * num_codebooks * bits_per_code * second))
    most = _most_frames(channels * num_codebooks, hop_length, model_sample_rate)
    return min(seconds * second, most // second * second or most)


def frames_per_second(hop_length: int, model_sample_rate: int) -> int:
    """Return a second in whole frames, at least one."""
    return max(1, round(model_sample_rate / hop_length))


def check_model(header: Header, model_id: bytes) -> None:
    """Raise WrongModel unless the stream was made by the model of this identity (8 bytes)."""
    if header.model_id != model_id:
        found, expected = header.model_id.hex(), model_id.hex()
        raise WrongModel(
            f"header: model {found} at byte 23, expected {expected}: decode with the model that coded it"
        )


def check_prior(header: Header, prior: Prior) -> None:
    """Raise ValueError unless a prior is of the size of the stream's codes."""
    found = f"a prior of {prior.num_codebooks} codebooks of {prior.codebook_size} codes"
    if prior.codebook_size != 1 << header.bits_per_code or prior.num_codebooks < header.num_codebooks:
        raise ValueError(
            f"{found}, expected {header.num_codebooks} or more of {1 << header.bits_per_code} codes"
        )


class Index:
    """The sizes of the chunks as varints; none at all once they would take more than MAX_INDEX bytes."""

    def __init__(self) -> None:
        self.sizes = bytearray()
        self._full = False

    def add(self, size: int) -> None:
        """Append the size of a chunk, bytes."""
        data = varint(size)
        self._full = self._full or len(self.sizes) + len(data) > MAX_INDEX
        if self._full:
            self.sizes.clear()
        else:
            self.sizes += data


def _check_start(data: bytes) -> None:
    """Check the magic, the version and the checksum of a header."""
    found = data[: len(MAGIC)]
    if not MAGIC.startswith(found):
        spoiled = ": perhaps changed by a transfer as text" if found.startswith(MAGIC[:3]) else ""
        raise BitstreamError(
            f"not a Lamella file: {found.hex(' ')} at byte 0, expected {MAGIC.hex(' ')}{spoiled}"
        )
    if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
        raise UnsupportedVersion(f"header: format version {data[len(MAGIC)]} at byte 6, expected {VERSION}")
    if len(data) < HEADER.size:
        found_bytes = f"the stream ends at byte {len(data)}" if data else "the stream is empty"
        raise Truncated(f"header at byte 0: {found_bytes}, expected at least {HEADER.size} bytes")
    check_crc(data, "header at byte 0")


def check_range(name: str, value: int, low: int, high: int) -> None:
    """Raise ValueError unless low <= value <= high."""
    if not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} {value!r}, expected an integer from {low} to {high}")


def _most_frames(codes_per_frame: int, hop_length: int, model_sample_rate: int) -> int:
    """Return the most frames that a chunk may have; at least 1."""
    by_time = MAX_SECONDS_PER_CHUNK * model_sample_rate // hop_length
    return max(1, min(by_time, MAX_CODES_PER_CHUNK // codes_per_frame, 2**16 - 1))


def too_few(header: Header, num_samples: int, num_frames: int) -> str:
    """Return what is wrong with `num_samples` source samples in so many frames."""
    needed = header.frames_for(num_samples)
    return f"{num_samples} samples in at most {num_frames} frames, expected at least {needed} frames"


def chunk_crc(number: int, fields: bytes, payload: bytes) -> int:
    """Return the CRC-32 of a chunk; `fields` are its varints."""
    return zlib.crc32(payload, zlib.crc32(struct.pack("<Q", number) + fields))
