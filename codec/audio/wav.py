"""Read and write plain WAV and raw PCM, also through pipes that cannot seek.

A WAV file, all integers little-endian:

    "RIFF" size:4 "WAVE"
    "fmt " size:4  tag:2 channels:2 sample_rate:4 bytes_per_second:4 bytes_per_sample:2 bits:2 [...]
    ...            other chunks, each with its name, size and an even number of bytes
    "data" size:4  samples, channels interleaved

Programs that write to a pipe do not know the sizes: ffmpeg writes 0xFFFFFFFF, sox 0x7FFFF000, others 0. The samples
then reach to the end of the stream. RF64 (EBU Tech 3306) has larger sizes in a chunk "ds64" before the others.

Sources: Multimedia Programming Interface and Data Specifications (IBM and Microsoft 1991); RFC 2361 for the tags.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import struct
from typing import BinaryIO, NamedTuple

import numpy as np

from codec.audio.blocks import truncated
from codec.errors import AudioError
from codec.files import CountedFile, read_up_to

UNKNOWN_SIZE = 0xFFFFFFFF
MAX_DATA = UNKNOWN_SIZE - 4096  # bytes of samples in a WAV file, with room for the other chunks
STREAMING_SIZES = (0x7FFFF000, 0x7FFFFFFF, 0x80000000, UNKNOWN_SIZE)
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
MAX_CHUNK = 1 << 20  # bytes of a chunk before the samples; libsndfile reads files with larger ones
MAX_CHUNKS = 64


@dataclasses.dataclass(frozen=True)
class Encoding:
    """The representation of one sample in bytes.

    Args:
        dtype: numpy's name, little-endian; "<i3" stands for 24-bit samples, which numpy does not have.
    """

    dtype: str

    @property
    def is_float(self) -> bool:
        """True for floating-point samples."""
        return self.dtype[1] == "f"

    @property
    def size(self) -> int:
        """Bytes in a sample."""
        return int(self.dtype[2])

    @property
    def bits(self) -> int:
        """Bits in a sample."""
        return 8 * self.size

    def unpack(self, data: bytes, channels: int) -> np.ndarray:
        """Convert the bytes of whole samples to float32 [time, channels], full scale -1 .. 1."""
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
        with np.errstate(over="ignore", invalid="ignore"):  # the reader refuses what is too large
            return samples.astype(np.float32, copy=False).reshape(-1, channels)

    def pack(self, samples: np.ndarray) -> bytes:
        """Convert float32 [time, channels] to bytes; integers are rounded and clipped."""
        if self.is_float:
            return samples.astype(self.dtype).tobytes()
        whole = to_integers(samples, self.bits)
        if self.dtype == "<i3":
            return np.ascontiguousarray(whole.reshape(-1, 1).view(np.uint8)[:, :3]).tobytes()
        return whole.astype(self.dtype).tobytes()


def to_integers(samples: np.ndarray, bits: int) -> np.ndarray:
    """Convert samples of full scale -1 .. 1 to integers of `bits` bits in int32, rounded and clipped."""
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
RAW = ENCODINGS[PCM, 16]


class PcmSource:
    """Read interleaved samples up to their known number, or to the end of the stream.

    Args:
        file: a file or pipe, positioned at the first sample.
        encoding: of the samples.
        sample_rate: Hz.
        channels: number of channels.
        name: the file's name for messages.
        num_samples: samples in a channel; None while only the end of the file shows it.
        start: the first bytes of the samples, if they were already read from the file.
        padding: bytes after the samples, before the next chunk of a WAV file; None if it is not WAV or has no more.
    """

    def __init__(
        self,
        file: BinaryIO,
        encoding: Encoding,
        sample_rate: int,
        channels: int,
        name: str,
        num_samples: int | None = None,
        start: bytes = b"",
        padding: int | None = None,
    ) -> None:
        self.sample_rate, self.channels = sample_rate, channels
        self.num_samples, self._stated = num_samples, num_samples
        self._start, self._padding = start, padding
        self._file, self._encoding, self._name = file, encoding, name
        self._position = 0

    def read(self, count: int) -> np.ndarray:
        """Read `count` samples, float32 [time, channels], fewer only at the end; AudioError if that is early."""
        if self._position == self._stated and self._padding is not None:
            self._check_last()
        if self._stated is not None:
            count = min(count, self._stated - self._position)
        frame = self._encoding.size * self.channels
        data = self._start[: count * frame]
        self._start = self._start[len(data) :]
        data += read_up_to(self._file, count * frame - len(data))
        self._position += len(data) // frame
        block = self._encoding.unpack(data[: len(data) // frame * frame], self.channels)
        if len(data) % frame or (self._stated is not None and len(data) < count * frame):
            expected = "whole samples" if self._stated is None else f"{self._stated} samples"
            error = truncated(self._name, f"ends after sample {self._position}, expected {expected}")
            error.block, error.samples = block, self._stated
            raise error
        return block

    def _check_last(self) -> None:
        """Raise AudioError if another WAV file follows."""
        read_up_to(self._file, self._padding or 0)
        self._padding = None
        for _ in range(MAX_CHUNKS):
            head = read_up_to(self._file, 8)
            if head[:4] == b"RIFF":
                raise AudioError(
                    f"{self._name}: another WAV file follows after sample {self._position}; split it first"
                )
            size = int.from_bytes(head[4:], "little")
            if len(head) < 8 or size > MAX_CHUNK:
                return
            read_up_to(self._file, size + size % 2)


class PcmSink:
    """Write interleaved samples to a file that need not be able to seek.

    Each block is flushed, so that a live stream does not wait for the next one.
    """

    def __init__(self, file: CountedFile, encoding: Encoding, stack: contextlib.ExitStack) -> None:
        self._file, self._encoding = file, encoding
        stack.callback(file.flush)

    def write(self, samples: np.ndarray) -> None:
        """Append samples, float32 [time, channels]."""
        self._file.write(self._encoding.pack(samples))
        self._file.flush()


class _RecordingFile:
    """A file that keeps all bytes read from it, since a pipe cannot go back."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.recorded = bytearray()

    def read(self, count: int) -> bytes:
        data = read_up_to(self._file, count)
        self.recorded.extend(data)
        return data


class _WavHeader(NamedTuple):
    """The content of a WAV file before its samples.

    data_size: bytes of the samples, as stated in the data chunk.
    riff_size: bytes from the first sample to the end of the file, as the RIFF chunk states them.
    start: the first bytes of the samples, read where no size is stated.
    """

    encoding: Encoding
    sample_rate: int
    channels: int
    data_size: int
    riff_size: int
    start: bytes


def open_wav(file: BinaryIO, name: str, recover: bool = False) -> tuple[PcmSource | None, bytes]:
    """Read the header of a plain WAV stream up to its first sample.

    Args:
        file: a file or pipe.
        name: its name for messages.
        recover: accept a file that is too short: the source raises the error at the end of the samples.

    Returns:
        A source of the samples, or None for anything but a WAV file of plain numbers; and the bytes that were read.

    Raises:
        AudioError: the file ends before its first sample. Or it can seek and holds fewer samples than its header
            states.
    """
    recording = _RecordingFile(file)
    header = _read_header(recording, name)
    if header is None:
        return None, bytes(recording.recorded)
    num_samples = _count_samples(file, header, name, recover)
    padding = None
    if num_samples is not None and header.data_size and not _is_streamed(header):
        padding = header.data_size % (header.encoding.size * header.channels) + header.data_size % 2
    source = PcmSource(
        file, header.encoding, header.sample_rate, header.channels, name, num_samples, header.start, padding
    )
    if recover and num_samples is not None:
        rest = _remaining_bytes(file)
        frame = header.encoding.size * header.channels
        source.num_samples = None if rest is None else min(num_samples, (len(header.start) + rest) // frame)
    return source, bytes(recording.recorded)


def _read_header(file: _RecordingFile, file_name: str) -> _WavHeader | None:
    riff = file.read(12)
    if riff[:4] not in (b"RIFF", b"RF64", b"BW64") or riff[8:] != b"WAVE":
        return None
    layout, large = None, UNKNOWN_SIZE
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name == b"data" and len(head) < 8:
            raise AudioError(f"{file_name}: truncated: ends before its first sample")
        if name == b"data" and layout is not None:
            riff_size = int.from_bytes(riff[4:8], "little") + 8 - len(file.recorded)
            size = large if size == UNKNOWN_SIZE else size
            return _WavHeader(*layout, size, riff_size, b"" if size else file.read(8))
        if len(head) < 8 or name == b"data" or size > MAX_CHUNK:
            return None
        body = file.read(size + size % 2)
        if name == b"fmt ":
            layout = _read_format(body)
        elif name == b"ds64":
            large = int.from_bytes(body[8:16], "little") or UNKNOWN_SIZE
    return None


def _read_format(body: bytes) -> tuple[Encoding, int, int] | None:
    """Return encoding, sample rate and channels of a "fmt " chunk; None for anything but plain numbers."""
    if len(body) < 16:
        return None
    tag, channels, sample_rate, _, frame, bits = struct.unpack("<HHIIHH", body[:16])
    if tag == EXTENSIBLE and len(body) >= 26:
        tag = int.from_bytes(body[24:26], "little")
    encoding = ENCODINGS.get((tag, bits))
    if encoding is None or frame != channels * encoding.size or not channels:
        return None
    return encoding, sample_rate, channels


def _count_samples(file: BinaryIO, header: _WavHeader, name: str, recover: bool) -> int | None:
    """Return the samples in a channel that are stated; None for a pipe of unknown length."""
    frame = header.encoding.size * header.channels
    rest = _remaining_bytes(file)
    if _is_streamed(header):
        samples, odd = divmod(len(header.start) + (rest or 0), frame)
        if rest is not None and odd:
            if recover:
                return None
            raise truncated(name, f"ends after sample {samples}, expected whole samples")
        return None if rest is None else samples
    stated = header.data_size // frame
    if rest is not None and rest < header.data_size and not recover:
        raise truncated(name, f"holds {rest // frame} samples, expected {stated}")
    if rest is not None and rest - header.data_size > UNKNOWN_SIZE:
        raise AudioError(
            f"{name}: holds {rest} bytes of samples, but states {header.data_size}, expected RF64"
        )
    return stated


def _is_streamed(header: _WavHeader) -> bool:
    """Return True if the program that wrote the header did not know the size of the data.

    Some programs write a size of 0 then. It is a true 0 if the RIFF chunk states that more follows and this is a chunk.
    """
    if header.data_size:
        return header.data_size in STREAMING_SIZES
    if not 0 < header.riff_size < STREAMING_SIZES[0] - 8192:
        return True
    name, size = header.start[:4], int.from_bytes(header.start[4:], "little")
    return not (name.isascii() and name.decode("ascii").isprintable() and size <= header.riff_size - 8)


def _remaining_bytes(file: BinaryIO) -> int | None:
    """Return the bytes from the current position to the end; None for a pipe."""
    if not file.seekable():
        return None
    here = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(here)
    return end - here


def wav_header(encoding: Encoding, sample_rate: int, channels: int, num_samples: int | None) -> bytes:
    """Return the bytes before the samples: 44, or 80 in RF64, where 4 GiB are not enough.

    Args:
        encoding: of the samples.
        sample_rate: Hz.
        channels: number of channels.
        num_samples: samples in a channel. If unknown (None), the sizes are 0xFFFFFFFF.
    """
    frame = encoding.size * channels
    size = None if num_samples is None else num_samples * frame
    tag = FLOAT if encoding.is_float else PCM
    layout = (16, tag, channels, sample_rate, sample_rate * frame, frame, encoding.bits)
    form, riff_size, data_size, sizes = b"RIFF", UNKNOWN_SIZE, UNKNOWN_SIZE, b""
    if size is not None and size <= MAX_DATA:
        riff_size, data_size = 36 + size + size % 2, size
    elif size is not None:
        form = b"RF64"
        sizes = struct.pack("<4sIQQQI", b"ds64", 28, 72 + size + size % 2, size, num_samples, 0)
    head = struct.pack("<4sI4s", form, riff_size, b"WAVE") + sizes
    return head + struct.pack("<4sIHHIIHH4sI", b"fmt ", *layout, b"data", data_size)
