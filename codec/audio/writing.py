"""Write sound files and raw PCM, to paths or pipes, block by block."""

from __future__ import annotations

import contextlib
import os
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import numpy as np

from codec.audio.blocks import LARGEST_SAMPLE, Block, as_block, check_finite
from codec.audio.sndfile import SndfileSink
from codec.audio.wav import ENCODINGS, FLOAT, PCM, RAW, Encoding, PcmSink, wav_header
from codec.files import PathLike, is_special, name_of, naming_errors, writing

WRITE_BLOCK = 16_384  # samples; libsndfile's Vorbis encoder overflows its stack on very long writes
STREAM_ENCODINGS = {  # libsndfile's names of the encodings that can be written as WAV into a pipe
    "PCM_16": ENCODINGS[PCM, 16],
    "PCM_24": ENCODINGS[PCM, 24],
    "PCM_32": ENCODINGS[PCM, 32],
    "FLOAT": ENCODINGS[FLOAT, 32],
}


class SampleSink(Protocol):
    """An encoder that a writer gives its samples to."""

    def write(self, samples: Block) -> None:
        """Append samples, float32 [time, channels]."""


class SampleWriter:
    """The base of all writers. Used in a `with` statement, it replaces the file only if all goes well.

    Attributes:
        name: the file's name for messages.
        sample_rate: Hz.
        channels: number of channels.
        num_samples: samples in a channel written so far.
        clipped: samples, of all channels, that exceeded full scale and were clipped; float files keep them.
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
        """Append samples [time, channels].

        Raises:
            ValueError: the samples have another shape.
            AudioError: a sample is not a finite number.
            CodecError: the file cannot be written.
        """
        samples = as_block(samples, self.channels)
        check_finite(samples, self.num_samples, self.sample_rate, self.name)
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
    """Write a sound file in the format of its ending, or WAV into a binary stream that cannot seek.

    Args:
        target: a path, which is replaced at the end, or a binary file object.
        sample_rate: Hz.
        channels: 1 .. 8.
        subtype: libsndfile's name of the encoding, such as "PCM_24" or "FLOAT"; by default 16 bits where the
            format has them.
        num_samples: samples in a channel, if known, for the header. Above 4 GiB, WAV becomes RF64.

    Raises:
        AudioError: the ending is unknown, or the format cannot hold this sample rate or these channels.
        ValueError: the subtype is unknown.
        CodecError: the file cannot be written.
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
                sink: SampleSink = SndfileSink(target, sample_rate, channels, subtype, num_samples, stack)
            else:
                encoding = _stream_encoding(subtype or "PCM_16")
                file = stack.enter_context(writing(target))
                sink = PcmSink(file, encoding, stack)
                file.write(wav_header(encoding, sample_rate, channels, num_samples))
            super().__init__(sink, name, sample_rate, channels, stack.pop_all())
        if subtype in ("FLOAT", "DOUBLE"):
            self._limit = LARGEST_SAMPLE


class RawWriter(SampleWriter):
    """Write raw PCM: int16, little-endian, channels interleaved, no header.

    Args:
        target: a path, which is replaced at the end, or a binary file object.
        sample_rate: Hz, for messages.
        channels: number of channels.
        num_samples: unused, since there is no header; accepted so that both writers have the same call.
    """

    def __init__(
        self, target: PathLike | BinaryIO, sample_rate: int, channels: int, num_samples: int | None = None
    ) -> None:
        with contextlib.ExitStack() as stack:
            sink = PcmSink(stack.enter_context(writing(target)), RAW, stack)
            super().__init__(sink, name_of(target), sample_rate, channels, stack.pop_all())


def _stream_encoding(subtype: str) -> Encoding:
    if subtype not in STREAM_ENCODINGS:
        known = ", ".join(STREAM_ENCODINGS)
        raise ValueError(f"`subtype` of a WAV stream must be one of {known}, found {subtype!r}")
    return STREAM_ENCODINGS[subtype]
