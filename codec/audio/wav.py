"""Plain WAV and raw PCM, byte by byte, for streams that cannot seek.

A WAV file, all integers little-endian:

    "RIFF" size:4 "WAVE"
    "fmt " size:4  tag:2 channels:2 sample_rate:4 bytes_per_second:4 bytes_per_sample:2 bits:2 [...]
    ...            other chunks, each with its name, size and an even number of bytes
    "data" size:4  samples, channels interleaved

Programs that write to a pipe do not know the sizes: ffmpeg writes 0xFFFFFFFF, sox 0x7FFFF000, others 0.
Then the samples go on to the end of the stream. Source: Multimedia Programming Interface and Data
Specifications (IBM and Microsoft 1991); RFC 2361 for the tags.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import struct
from typing import BinaryIO, NamedTuple

import numpy as np

from codec.errors import AudioError

UNKNOWN_SIZE = 0xFFFFFFFF
STREAMING_SIZES = (0x7FFFF000, 0x7FFFFFFF, 0x80000000, UNKNOWN_SIZE)
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
MAX_CHUNK = 1 << 20  # bytes of a chunk before the samples; what is larger is left to libsndfile
MAX_CHUNKS = 64


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How one sample lies in bytes.

    Args:
        dtype: numpy's name of it, little-endian; 24-bit samples are "<i3", which numpy does not know.
    """

    dtype: str

    @property
    def is_float(self) -> bool:
        return self.dtype[1] == "f"

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.dtype[2])

    @property
    def bits(self) -> int:
        return 8 * self.size

    def unpack(self, data: bytes, channels: int) -> np.ndarray:
        """Whole samples in bytes -> float32 [time, channels], full scale -1 .. 1."""
        samples: np.ndarray
        if self.is_float:
            samples = np.frombuffer(data, self.dtype)
        elif self.dtype == "<u1":
            samples = (np.frombuffer(data, "u1").astype(np.float32) - 128) / 128
        elif self.dtype == "<i3":
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            samples = wide.view("<i4")[:, 0].astype(np.float32) / 2.0**31
        else:
            samples = np.frombuffer(data, self.dtype).astype(np.float32) / 2.0 ** (self.bits - 1)
        return samples.astype(np.float32, copy=False).reshape(-1, channels)

    def pack(self, samples: np.ndarray) -> bytes:
        """float32 [time, channels] -> bytes."""
        if self.is_float:
            return samples.astype(self.dtype).tobytes()
        whole = to_integers(samples, self.bits)
        if self.dtype == "<i3":
            return np.ascontiguousarray(whole.reshape(-1, 1).view(np.uint8)[:, :3]).tobytes()
        return whole.astype(self.dtype).tobytes()


def to_integers(samples: np.ndarray, bits: int) -> np.ndarray:
    """Full scale -1 .. 1 -> int32 of `bits` bits, rounded and clipped, never wrapped around."""
    full = 2.0 ** (bits - 1)
    exact = samples if bits <= 24 else samples.astype(np.float64)  # float32 holds 24 bits
    return np.clip(np.rint(exact * full), -full, full - 1).astype("<i4")


ENCODINGS = {  # WAV tag and bits -> encoding
    (PCM, 8): Encoding("<u1"),
    (PCM, 16): Encoding("<i2"),
    (PCM, 24): Encoding("<i3"),
    (PCM, 32): Encoding("<i4"),
    (FLOAT, 32): Encoding("<f4"),
    (FLOAT, 64): Encoding("<f8"),
}


class PcmSource:
    """Read interleaved samples to their known number, or to the end of the stream."""

    def __init__(
        self, file: BinaryIO, encoding: Encoding, sample_rate: int, channels: int, name: str
    ) -> None:
        self.sample_rate, self.channels = sample_rate, channels
        self.num_samples: int | None = None
        self._file, self._encoding, self._name = file, encoding, name
        self._position = 0

    def read(self, count: int) -> np.ndarray:
        """Read `count` samples, float32 [time, channels], fewer at the end; AudioError if it is early."""
        if self.num_samples is not None:
            count = min(count, self.num_samples - self._position)
        frame = self._encoding.size * self.channels
        data = read_fully(self._file, count * frame)
        self._position += len(data) // frame
        if len(data) % frame or (self.num_samples is not None and len(data) < count * frame):
            expected = "whole samples" if self.num_samples is None else f"{self.num_samples} samples"
            raise AudioError(
                f"{self._name}: truncated: ends after sample {self._position}, expected {expected}"
            )
        return self._encoding.unpack(data, self.channels)


class PcmSink:
    """Write interleaved samples to a file object, which is flushed at the end and never sought."""

    def __init__(self, file: BinaryIO, encoding: Encoding, stack: contextlib.ExitStack) -> None:
        self._file, self._encoding = file, encoding
        stack.callback(file.flush)

    def write(self, samples: np.ndarray) -> None:
        """Append float32 [time, channels]; whoever listens to a live stream gets them at once."""
        write_fully(self._file, self._encoding.pack(samples))
        self._file.flush()


def write_fully(file: BinaryIO, data: bytes) -> None:
    """Write all bytes; a pipe may take them piece by piece."""
    rest = memoryview(data)
    while len(rest):
        rest = rest[file.write(rest) :]


def read_fully(file: BinaryIO, count: int) -> bytes:
    """Read `count` bytes, fewer only at the end; a pipe may give them piece by piece."""
    pieces = []
    while count > 0 and (piece := file.read(count)):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


class _Taking:
    """A file that remembers what was read from it, since a pipe cannot go back."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.taken = bytearray()

    def read(self, count: int) -> bytes:
        data = read_fully(self._file, count)
        self.taken.extend(data)
        return data


class _Header(NamedTuple):
    """What stands before the samples; `size` is theirs in bytes as written, `behind` what RIFF's leaves."""

    encoding: Encoding
    sample_rate: int
    channels: int
    size: int
    behind: int


def open_wav(file: BinaryIO, name: str) -> tuple[PcmSource | None, bytes]:
    """Read the header of a plain WAV stream up to its samples; return their source and the bytes taken.

    The source is None for whatever is not a WAV of plain numbers. Raises AudioError if the file can tell its
    size and holds fewer samples than it says.
    """
    taking = _Taking(file)
    header = _read_header(taking)
    if header is None:
        return None, bytes(taking.taken)
    source = PcmSource(file, header.encoding, header.sample_rate, header.channels, name)
    source.num_samples = _count_samples(file, header, name)
    return source, bytes(taking.taken)


def _read_header(file: _Taking) -> _Header | None:
    riff = file.read(12)
    if riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
        return None
    layout = None
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name == b"data" and layout is not None:
            return _Header(*layout, size, int.from_bytes(riff[4:8], "little") + 8 - len(file.taken))
        if len(head) < 8 or name == b"data" or size > MAX_CHUNK:
            return None
        body = file.read(size + size % 2)
        if name == b"fmt ":
            layout = _read_format(body)
    return None


def _read_format(body: bytes) -> tuple[Encoding, int, int] | None:
    """Encoding, sample rate and channels of a "fmt " chunk; None for what is not plain numbers."""
    if len(body) < 16:
        return None
    tag, channels, sample_rate, _, frame, bits = struct.unpack("<HHIIHH", body[:16])
    if tag == EXTENSIBLE and len(body) >= 26:
        tag = int.from_bytes(body[24:26], "little")
    encoding = ENCODINGS.get((tag, bits))
    if encoding is None or frame != channels * encoding.size or not channels:
        return None
    return encoding, sample_rate, channels


def _count_samples(file: BinaryIO, header: _Header, name: str) -> int | None:
    """Samples a channel; None for a pipe of unknown length."""
    frame = header.encoding.size * header.channels
    rest = _remaining_bytes(file)
    streaming = header.size in STREAMING_SIZES or (
        header.size == 0 and not 0 < header.behind < STREAMING_SIZES[0] - 8192
    )
    if streaming:
        return None if rest is None else rest // frame
    if rest is not None and rest < header.size:
        raise AudioError(f"{name}: truncated: holds {rest // frame} samples, expected {header.size // frame}")
    return header.size // frame


def _remaining_bytes(file: BinaryIO) -> int | None:
    if not file.seekable():
        return None
    here = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(here)
    return end - here


def wav_header(encoding: Encoding, sample_rate: int, channels: int, num_samples: int | None) -> bytes:
    """The 44 bytes before the samples; sizes are 0xFFFFFFFF where their number is unknown or too large."""
    frame = encoding.size * channels
    size = UNKNOWN_SIZE if num_samples is None else num_samples * frame
    known = size + 37 < UNKNOWN_SIZE
    riff_size, data_size = (36 + size + size % 2, size) if known else (UNKNOWN_SIZE, UNKNOWN_SIZE)
    tag = FLOAT if encoding.is_float else PCM
    layout = (16, tag, channels, sample_rate, sample_rate * frame, frame, encoding.bits)
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", riff_size, b"WAVE", b"fmt ", *layout, b"data", data_size
    )
