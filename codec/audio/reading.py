"""Audio in and out: any file or pipe, in blocks of float32 [time, channels], in constant memory.

    AudioReader -> blocks -> Resampler -> ... -> SecondsResampler (codec.audio.resampling) -> blocks -> AudioWriter

Plain WAV and raw PCM are decoded by `codec.audio.wav`, so they stream from a pipe that cannot seek; everything else
goes through libsndfile (`codec.audio.sndfile`), from a pipe by way of a temporary file. Rates are changed by soxr,
whose stream gives the same samples for any block sizes, without delay.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Protocol, Self, TypeAlias

import numpy as np
import soxr

from codec.audio.sndfile import SndfileSink, SndfileSource
from codec.audio.wav import (
    ENCODINGS,
    FLOAT,
    PCM,
    Encoding,
    PcmSink,
    PcmSource,
    open_wav,
    wav_header,
    write_fully,
)
from codec.errors import AudioError
from codec.files import PathLike, is_special, name_of, naming_errors, replacing

Block: TypeAlias = np.ndarray  # float32 [time, channels], full scale -1 .. 1

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 8_000, 192_000  # Hz
MAX_CHANNELS = 8
LARGEST_SAMPLE = 1e9  # far beyond it, power spectra overflow float32
WRITE_BLOCK = 16_384  # samples; libsndfile's Vorbis encoder overflows its stack on very long writes
RAW = ENCODINGS[PCM, 16]
STREAMED = {  # libsndfile's names of the encodings that we write as WAV into a pipe
    "PCM_16": ENCODINGS[PCM, 16],
    "PCM_24": ENCODINGS[PCM, 24],
    "PCM_32": ENCODINGS[PCM, 32],
    "FLOAT": ENCODINGS[FLOAT, 32],
}


# -- reading --


class SampleSource(Protocol):
    """Where a reader's samples come from: `num_samples` is None where only the end will tell."""

    sample_rate: int
    channels: int
    num_samples: int | None

    def read(self, count: int) -> Block:
        """The next `count` samples, fewer only at the end."""


class SampleReader:
    """What all readers share: blocks in order, every sample looked at once.

    Attributes:
        name: the file's name for messages.
        sample_rate: Hz.
        channels: 1 .. 8.
        num_samples: samples a channel, None where the file does not say exactly (pipes, some MP3).
        position: samples read so far.
    """

    def __init__(self, source: SampleSource, name: str, stack: contextlib.ExitStack) -> None:
        check_supported(source.sample_rate, source.channels, name)
        self.name = name
        self.sample_rate = source.sample_rate
        self.channels = source.channels
        self.num_samples = source.num_samples
        self.position = 0
        self._source = source
        self._stack = stack

    def read(self, count: int) -> Block:
        """Read the next `count` samples: float32 [time, channels], fewer only at the end, none after it.

        Raises AudioError where the data are damaged, end too early or hold a sample that is no number.
        """
        try:
            block = self._source.read(count)
        except OSError as error:
            raise AudioError(f"{self.name}: cannot be read: {error.strerror or error}") from error
        _check_finite(block, self.position, self.sample_rate, self.name)
        self.position += len(block)
        return block

    def blocks(self, count: int) -> Iterator[Block]:
        """All that is left, `count` samples at a time."""
        while len(block := self.read(count)):
            yield block

    def close(self) -> None:
        """Close the file if it was opened here; a file object that was passed in stays open."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AudioReader(SampleReader):
    """Read a sound file of any format that libsndfile knows, from a path or a binary stream such as a pipe.

    Raises AudioError for what is missing, empty, not audio, truncated, or outside 1 .. 8 channels and
    8 .. 192 kHz.
    """

    def __init__(self, source: PathLike | BinaryIO) -> None:
        name = name_of(source)
        with contextlib.ExitStack() as stack:
            file = _open_for_reading(source, name, stack)
            start = file.tell() if file.seekable() else None
            wav, taken = open_wav(file, name)
            if not taken:
                raise AudioError(f"{name}: is empty, expected a sound file")
            whole = wav or SndfileSource(_rewound(file, start, taken, stack), name, stack)
            super().__init__(whole, name, stack.pop_all())


class RawReader(SampleReader):
    """Read raw PCM: int16, little-endian, channels interleaved, no header. Rate and channels must be told."""

    def __init__(self, source: PathLike | BinaryIO, sample_rate: int, channels: int) -> None:
        name = name_of(source)
        check_supported(sample_rate, channels, name)
        with contextlib.ExitStack() as stack:
            file = _open_for_reading(source, name, stack)
            super().__init__(PcmSource(file, RAW, sample_rate, channels, name), name, stack.pop_all())


def check_supported(sample_rate: int, channels: int, name: str) -> None:
    """Raise AudioError, listing what is supported, for a rate or a number of channels that is not."""
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"{name}: sample rate {sample_rate} Hz is not supported, "
            f"expected {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{name}: {channels} channels are not supported, expected 1 to {MAX_CHANNELS}")


def _open_for_reading(source: PathLike | BinaryIO, name: str, stack: contextlib.ExitStack) -> BinaryIO:
    if not isinstance(source, (str, os.PathLike)):
        return source
    try:
        return stack.enter_context(open(source, "rb"))
    except OSError as error:
        raise AudioError(f"{name}: cannot be read: {error.strerror or error}") from error


def _rewound(file: BinaryIO, start: int | None, taken: bytes, stack: contextlib.ExitStack) -> BinaryIO:
    """The file from its first byte, seekable as libsndfile needs it: itself, or a temporary copy on disk."""
    if start == 0:
        file.seek(0)
        return file
    copy = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    copy.write(taken)
    shutil.copyfileobj(file, copy)
    copy.seek(0)
    return copy


def _check_finite(block: Block, start: int, sample_rate: int, name: str) -> None:
    """Raise AudioError naming the first sample that is no number or absurd; the block begins at `start`."""
    if not len(block) or np.max(np.abs(block)) <= LARGEST_SAMPLE:  # a NaN makes the maximum NaN: not <=
        return
    time, channel = np.argwhere(~(np.abs(block) <= LARGEST_SAMPLE))[0]
    position = start + int(time)
    raise AudioError(
        f"{name}: sample {position} ({position / sample_rate:.3f} s) of channel {channel + 1} is "
        f"{block[time, channel]}, expected a number within -1 .. 1"
    )


# -- changing the rate --


class Resampler:
    """Change the sample rate of a stream, exactly and without delay.

    n samples in give ceil(n * target_rate / source_rate) samples out, the same ones for any block sizes; the
    k-th of them stands at the time k / target_rate of the source.

    Args:
        source_rate: Hz, of what is pushed.
        target_rate: Hz, of what comes out.
        channels: of both.
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int) -> None:
        self._rates = (source_rate, target_rate)
        self._channels = channels
        self._stream = None
        if source_rate != target_rate:
            self._stream = soxr.ResampleStream(
                source_rate, target_rate, channels, dtype="float32", quality="HQ"
            )
        self._taken = self._given = 0

    def push(self, samples: Block) -> Block:
        """Take any number of samples [time, channels]; return those that are ready, maybe none."""
        samples = _as_block(samples, self._channels)
        self._taken += len(samples)
        ready: Block = samples if self._stream is None else self._stream.resample_chunk(samples)
        self._given += len(ready)
        return ready

    def flush(self) -> Block:
        """End the stream and return its last samples. Nothing may be pushed after it."""
        source_rate, target_rate = self._rates
        missing = -(-self._taken * target_rate // source_rate) - self._given
        if self._stream is None or missing <= 0:
            return np.zeros((0, self._channels), np.float32)
        # soxr rounds the length down; silence behind the end lets it make the last sample too
        silence = np.zeros((2 * math.ceil(source_rate / target_rate) + 2, self._channels), np.float32)
        last: Block = self._stream.resample_chunk(silence, last=True)[:missing]
        self._given += missing
        return np.pad(last, ((0, missing - len(last)), (0, 0)))


def _as_block(samples: Block, channels: int) -> Block:
    samples = np.ascontiguousarray(samples, np.float32)
    if samples.ndim != 2 or samples.shape[1] != channels:
        raise ValueError(f"`samples` must be [time, {channels}], found shape {list(samples.shape)}")
    return samples


# -- writing --


class SampleSink(Protocol):
    """Where a writer's samples go."""

    def write(self, samples: Block) -> None:
        """Take the next samples, float32 [time, channels]."""


class SampleWriter:
    """What all writers share. In a `with`, a file appears under its name at the end, and not after an error.

    Attributes:
        name: the file's name for messages.
        num_samples: samples a channel written so far.
        clipped: samples (of all channels) that lay beyond full scale and were clipped; float files keep them.
    """

    def __init__(
        self, sink: SampleSink, name: str, sample_rate: int, channels: int, stack: contextlib.ExitStack
    ) -> None:
        self.name = name
        self.sample_rate = sample_rate
        self.channels = channels
        self.num_samples = 0
        self.clipped = 0
        self._limit = 1.0
        self._sink = sink
        self._stack = stack

    def write(self, samples: Block) -> None:
        """Append samples [time, channels]; AudioError for one that is no number, CodecError if it fails."""
        samples = _as_block(samples, self.channels)
        _check_finite(samples, self.num_samples, self.sample_rate, self.name)
        with naming_errors(self.name):
            for start in range(0, len(samples), WRITE_BLOCK):
                block = samples[start : start + WRITE_BLOCK]
                self.clipped += int(np.count_nonzero(np.abs(block) > self._limit))
                self._sink.write(np.clip(block, -self._limit, self._limit))
        self.num_samples += len(samples)

    def close(self) -> None:
        """Finish the file and put it in its place; a file object that was passed in stays open."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


class AudioWriter(SampleWriter):
    """Write a sound file of the format that its ending says, or WAV to a binary stream that is never sought.

    Args:
        target: a path (written beside and renamed) or a binary file object.
        sample_rate: Hz.
        channels: 1 .. 8.
        subtype: libsndfile's name of the encoding, such as "PCM_24" or "FLOAT"; else 16 bits, if any.
        num_samples: samples a channel, if known, so that the header of a stream can tell.

    Raises AudioError for an unknown ending or a format that cannot hold this rate and these channels,
    ValueError for an unknown subtype, CodecError where the file cannot be written.
    """

    def __init__(
        self,
        target: PathLike | BinaryIO,
        sample_rate: int,
        channels: int,
        subtype: str | None = None,
        num_samples: int | None = None,
    ) -> None:
        name = name_of(target)
        with contextlib.ExitStack() as stack:
            if isinstance(target, (str, os.PathLike)) and not is_special(target):
                sink: SampleSink = SndfileSink(target, sample_rate, channels, subtype, stack)
            else:
                file = _open_for_writing(target, stack)
                encoding = _streamed_encoding(subtype or "PCM_16")
                sink = PcmSink(file, encoding, stack)
                with naming_errors(name):
                    write_fully(file, wav_header(encoding, sample_rate, channels, num_samples))
            super().__init__(sink, name, sample_rate, channels, stack.pop_all())
        if subtype in ("FLOAT", "DOUBLE"):
            self._limit = LARGEST_SAMPLE


class RawWriter(SampleWriter):
    """Write raw PCM: int16, little-endian, channels interleaved, to a path or a binary stream.

    There is no header, so `num_samples` has no use; it is here so that both writers are called alike.
    """

    def __init__(
        self, target: PathLike | BinaryIO, sample_rate: int, channels: int, num_samples: int | None = None
    ) -> None:
        with contextlib.ExitStack() as stack:
            sink = PcmSink(_open_for_writing(target, stack), RAW, stack)
            super().__init__(sink, name_of(target), sample_rate, channels, stack.pop_all())


def _open_for_writing(target: PathLike | BinaryIO, stack: contextlib.ExitStack) -> BinaryIO:
    if not isinstance(target, (str, os.PathLike)):
        return target
    return stack.enter_context(open(stack.enter_context(replacing(target)), "wb"))


def _streamed_encoding(subtype: str) -> Encoding:
    if subtype not in STREAMED:
        raise ValueError(f"`subtype` of a WAV stream must be one of {', '.join(STREAMED)}, found {subtype!r}")
    return STREAMED[subtype]
