"""The layout of a .lam file, version 1.

This page is enough to write a reader with struct and zlib alone. For range coded chunks `rangecoder.py`, `prior.py`,
`intervals.py` and the prior of the model are needed too.

Integers are little-endian. A *varint* has 1 to 4 bytes of 7 bits each, the least significant first. The top bit is set
in all bytes but the last, and only the shortest form is valid (300 is AC 02). A *frame* is a row of codes. A *chunk* is
frames under one checksum. The CRC-32 is zlib's.

    stream   header | chunk 0 | chunk 1 | .. | chunk n-1 | trailer | copy   n may be 0; not all streams have a copy

    header   offset size field
    (43      0      6    magic              4C 41 4D 9A 0D 0A: "LAM", then bytes that a transfer as text would change
    bytes)   6      1    version            1
             7      1    flags              0, or 1: chunks may have fewer codebooks (coding 2). No others are defined
             8      4    sample_rate        of the source, Hz: 1,000 .. 1,000,000
             12     4    model_sample_rate  of the audio that the codes describe, Hz: 1,000 .. 1,000,000
             16     2    hop_length         samples in a frame, at model_sample_rate: 1 ..
             18     2    frames_per_chunk   1 .., at most 60 seconds of audio and 2^20 codes in all channels;
                                            1 is always allowed
             20     1    channels           of the source: 1 .. 8
             21     1    num_codebooks      codes in a frame of one channel: 1 .. (with flag 1: the maximum)
             22     1    bits_per_code      1 .. 16
             23     8    model_id           first bytes of a SHA-256 over what the model's codes mean
             31     8    num_samples        source samples in a channel: 0 .. 2^48, or 2^64 - 1: not known yet
             39     4    CRC-32             of the 39 bytes before

    chunk    varint      frames * 4 + coding. All chunks have frames_per_chunk frames, except that the last one may
                         have fewer (1 ..). So chunk k begins at frame k * frames_per_chunk
             varint      only with coding 2: codebooks * 2 + the coding (0 or 1) of this payload
             varint      size of the payload in bytes: at most the size that packing takes
             4 bytes     CRC-32 of the chunk's number (8 bytes, from 0), the varints and the payload
             payload     coding 0, packed: the codes as [channel][frame][codebook], codebook fastest, each of
                         bits_per_code bits, most significant first, no gaps; zeros fill the last byte
                         coding 1, range coded: the codes as [frame][codebook][half][channel], channel fastest, by the
                         range coder in `rangecoder.py`. The model's prior, as described in `prior.py`, defines the
                         halves of a code, and their probabilities from the preceding codes of the chunk. A range
                         coded payload is smaller than the packed one
                         coding 2, fewer codebooks: as with coding 0 or 1, but only the first codes of each row,
                         0 .. num_codebooks - 1. No codes (0) is silence, packed: an empty payload
                         coding 3: not defined. Every chunk is decoded without the others

    trailer  1 byte      0: no more chunks (a chunk cannot begin with 0, since it has at least one frame)
             index       a varint for each chunk: its size in bytes, from its first varint to the end of its
                         payload. The index is empty, 0 bytes, if it would take more than 2^20 bytes
             8 bytes     num_samples: as in the header, or the number that was not known there
             4 bytes     size of the index in bytes; plus 2^31 if the copy follows
             4 bytes     CRC-32 of the trailer up to here

    copy     43 bytes    the header once more, unchanged. It is there if and only if the trailer says so

Reading a pipe: read one chunk after another until the 0. Seeking: read the end of the file; 64 KiB hold the index of
hours. Take the size of the index from the last 16 bytes of the trailer, and check the CRC-32. The trailer ends 43 bytes
before the end of the file and says that the copy follows, or it ends with the file and does not. Chunk 0 is at byte 43,
and each chunk begins where the previous one ends. A file without a valid trailer was cut short and is read like a pipe.

The copy replaces a damaged header. It costs 43 bytes, so the writer leaves it out of streams that take less than 1,024
bytes before the trailer. A reader that does not know the copy reads such a file like a pipe, without its index, and
ignores what follows the trailer. A single wrong byte in a header can be corrected without a copy: of the 43 * 255
headers that differ from the damaged one in a byte, only the original has the right CRC-32.

The frames last at least as long as the source: frames * hop_length / model_sample_rate >= num_samples / sample_rate.
num_samples does not count the delay that a model adds at the end, half a frame. A whole frame more than the source and
the delay need is an error.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.fields import CRC, check_crc, with_crc
from codec.bitstream.packing import MAX_BITS_PER_CODE
from codec.bitstream.prior import Prior
from codec.errors import BitstreamError, Truncated, UnsupportedVersion, WrongModel

MAGIC = b"LAM\x9a\r\n"
VERSION = 1
PACKED, RANGE_CODED, FEWER_CODEBOOKS = 0, 1, 2  # the codings
FLAG_VARIES = 1  # chunks may have fewer codebooks

MAX_SAMPLES = 2**48  # in a channel: 46 years at 192 kHz
MAX_CODES_PER_CHUNK = 2**20
MAX_SECONDS_PER_CHUNK = 60
MIN_PAYLOAD = 750  # bytes of a default chunk, so that its other fields add little

HEADER = struct.Struct("<6sBBIIHHBBB8sQI")
MIN_CHUNK = 2 + CRC.size  # bytes
COPY_FROM = 1024  # bytes before the trailer from which on a stream ends with a copy of its header
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
    """The header of a stream. Raises ValueError for a value outside the limits.

    Attributes:
        sample_rate: of the source, Hz.
        channels: of the source.
        num_samples: source samples in a channel; None while unknown.
        model_id: identity of the model, 8 bytes.
        num_codebooks: codes in a frame of one channel, or the maximum if `varies`.
        bits_per_code: bits of a packed code.
        frames_per_chunk: frames in every chunk but the last, which may have fewer.
        model_sample_rate: of the audio that the codes describe, Hz.
        hop_length: samples in a frame, at model_sample_rate.
        varies: True if chunks may have fewer than num_codebooks, each another number.
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

    def most_frames_for(self, num_samples: int, delay: int) -> int:
        """Return the most frames that hold `num_samples` source samples.

        Args:
            num_samples: in a channel.
            delay: samples at model_sample_rate that the model adds at the end.
        """
        at_model_rate = -(-num_samples * self.model_sample_rate // self.sample_rate)
        return (at_model_rate + delay) // self.hop_length + 1

    def to_bytes(self) -> bytes:
        """Return the 43 bytes that begin a stream."""
        num_samples = _UNKNOWN if self.num_samples is None else self.num_samples
        rates = (self.sample_rate, self.model_sample_rate, self.hop_length, self.frames_per_chunk)
        counts = (self.channels, self.num_codebooks, self.bits_per_code)
        data = HEADER.pack(
            MAGIC, VERSION, FLAG_VARIES * self.varies, *rates, *counts, bytes(self.model_id), num_samples, 0
        )
        return with_crc(data[: -CRC.size])

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        """Decode the first 43 bytes of a stream.

        Raises:
            Truncated: there are fewer bytes.
            ChecksumMismatch: they are damaged.
            UnsupportedVersion: the version or a flag is unknown.
            BitstreamError: the magic is another, or a value is outside the limits.
        """
        _check_magic_version_and_crc(data)
        _, _, flags, sample_rate, model_sample_rate, hop_length, *rest = HEADER.unpack(data)
        frames_per_chunk, channels, num_codebooks, bits_per_code, model_id, num_samples, _ = rest
        if flags & ~FLAG_VARIES:
            expected = f"0x00 or {FLAG_VARIES:#04x}"
            raise UnsupportedVersion(f"header: flags {flags:#04x} at byte 7, expected {expected}")
        try:
            return cls(
                sample_rate=sample_rate,
                channels=channels,
                num_samples=None if num_samples == _UNKNOWN else num_samples,
                model_id=model_id,
                num_codebooks=num_codebooks,
                bits_per_code=bits_per_code,
                frames_per_chunk=frames_per_chunk,
                model_sample_rate=model_sample_rate,
                hop_length=hop_length,
                varies=flags == FLAG_VARIES,
            )
        except ValueError as error:
            raise BitstreamError(f"header at byte 0: {error}") from None


@dataclass(frozen=True)
class StoredChunk:
    """A chunk as stored, with a checked CRC-32.

    Attributes:
        index: its number in the stream.
        start_frame: number of its first frame.
        frames: number of frames.
        codebooks: codes in a frame of one channel.
        coding: of the payload, PACKED or RANGE_CODED.
        payload: the coded codes.
        where: the place in the stream, for messages.
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
    """A decoded chunk.

    Attributes:
        index: its number in the stream.
        start_frame: number of its first frame.
        codes: int32 [channel, frame, codebook]; silence has no codebooks.
    """

    index: int
    start_frame: int
    codes: NDArray[np.int32]


def default_frames_per_chunk(
    *, channels: int, num_codebooks: int, bits_per_code: int, hop_length: int, model_sample_rate: int
) -> int:
    """Return the frames of one second, or of as many whole seconds as fill 750 bytes, within the limits."""
    second = frames_per_second(hop_length, model_sample_rate)
    seconds = -(-MIN_PAYLOAD * 8 // (channels * num_codebooks * bits_per_code * second))
    most = _most_frames(channels * num_codebooks, hop_length, model_sample_rate)
    return min(seconds * second, most // second * second or most)


def frames_per_second(hop_length: int, model_sample_rate: int) -> int:
    """Return the number of frames in a second, rounded, at least one."""
    return max(1, round(model_sample_rate / hop_length))


def check_model(header: Header, model_id: bytes) -> None:
    """Raise WrongModel unless the model with this identity (8 bytes) made the stream."""
    if header.model_id != model_id:
        stored, expected = header.model_id.hex(), model_id.hex()
        raise WrongModel(
            f"header: model {stored} at byte 23, expected {expected}: decode with the model that coded it"
        )


def check_prior(header: Header, prior: Prior) -> None:
    """Raise ValueError unless the prior fits the number and the size of the stream's codebooks."""
    if prior.codebook_size != 1 << header.bits_per_code or prior.num_codebooks < header.num_codebooks:
        raise ValueError(
            f"a prior of {prior.num_codebooks} codebooks of {prior.codebook_size} codes, "
            f"expected {header.num_codebooks} or more of {1 << header.bits_per_code} codes"
        )


def _check_magic_version_and_crc(data: bytes) -> None:
    start = data[: len(MAGIC)]
    if not MAGIC.startswith(start):
        cause = ": perhaps changed by a transfer as text" if start.startswith(MAGIC[:3]) else ""
        raise BitstreamError(
            f"not a Lamella file: {start.hex(' ')} at byte 0, expected {MAGIC.hex(' ')}{cause}"
        )
    if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
        raise UnsupportedVersion(f"header: format version {data[len(MAGIC)]} at byte 6, expected {VERSION}")
    if len(data) < HEADER.size:
        ending = f"the stream ends at byte {len(data)}" if data else "the stream is empty"
        raise Truncated(f"header at byte 0: {ending}, expected at least {HEADER.size} bytes")
    check_crc(data, "header at byte 0")


def check_range(name: str, value: int, low: int, high: int) -> None:
    """Raise ValueError unless `value` is an integer and low <= value <= high."""
    if not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} {value!r}, expected an integer from {low} to {high}")


def _most_frames(codes_per_frame: int, hop_length: int, model_sample_rate: int) -> int:
    """Return the maximum number of frames in a chunk; at least 1."""
    by_time = MAX_SECONDS_PER_CHUNK * model_sample_rate // hop_length
    return max(1, min(by_time, MAX_CODES_PER_CHUNK // codes_per_frame, 2**16 - 1))


def too_few_frames(header: Header, num_samples: int, num_frames: int) -> str:
    """Return the error message for fewer frames than `num_samples` source samples need."""
    needed = header.frames_for(num_samples)
    return f"{num_samples} samples in at most {num_frames} frames, expected at least {needed} frames"


def chunk_crc(number: int, fields: bytes, payload: bytes) -> int:
    """Return the CRC-32 of a chunk.

    Args:
        number: of the chunk, from 0.
        fields: the bytes of its varints.
        payload: its payload.
    """
    return zlib.crc32(payload, zlib.crc32(struct.pack("<Q", number) + fields))
