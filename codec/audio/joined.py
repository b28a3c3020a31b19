"""Read all sounds that stand one after another in a file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol

import numpy as np

from codec.audio import flac, mpeg, ogg
from codec.audio.blocks import truncated
from codec.audio.chunks import stated_end
from codec.audio.parts import Part, PartFile, Range, Window, content_start
from codec.audio.pyav import EXTRA, PyavSource
from codec.audio.sndfile import NotRecognized, SndfileSource
from codec.audio.wav import UNKNOWN_SIZE
from codec.errors import AudioError


class SampleSource(Protocol):
    """A decoder that a reader takes its samples from.

    Attributes:
        sample_rate: Hz.
        channels: number of channels.
        num_samples: samples in a channel; None while only the end of the file shows it.
    """

    sample_rate: int
    channels: int
    num_samples: int | None

    def read(self, count: int) -> np.ndarray:
        """Return the next `count` samples, float32 [time, channels], fewer only at the end."""


class JoinedSource:
    """Read the samples of one part after another.

    Args:
        file: a file that can seek.
        parts: of the file.
        name: the file's name for messages.
        stack: closes what is opened here.

    Raises:
        AudioError: a part cannot be read.
    """

    def __init__(self, file: BinaryIO, parts: list[Part], name: str, stack: contextlib.ExitStack) -> None:
        self._file, self._name = file, name
        self._opened = stack.enter_context(contextlib.ExitStack())
        self._sources = self._open(parts)
        self._source: SampleSource | None = next(self._sources)
        self.sample_rate, self.channels = self._source.sample_rate, self._source.channels
        self.num_samples = self._source.num_samples if len(parts) == 1 else None

    def read(self, count: int) -> np.ndarray:
        """Read `count` samples, float32 [time, channels], fewer only at the end; AudioError if that is early."""
        blocks = [np.zeros((0, self.channels), np.float32)]
        while count > 0 and self._source is not None:
            block = self._source.read(count)
            blocks.append(block)
            if len(block) < count:
                self._source = next(self._sources, None)
            count -= len(block)
        return np.concatenate(blocks)

    def _open(self, parts: list[Part]) -> Iterator[SampleSource]:
        """Open one part after another, and close the one before."""
        for part in parts:
            self._opened.close()
            source = _open_part(self._file, part, self._name, self._opened)
            if part is not parts[0]:
                self._check_equal(source)
            yield source

    def _check_equal(self, source: SampleSource) -> None:
        if (source.sample_rate, source.channels) != (self.sample_rate, self.channels):
            raise AudioError(
                f"{self._name}: changes to {source.channels} channels at {source.sample_rate} Hz, "
                f"expected {self.channels} at {self.sample_rate} Hz to the end; split it first"
            )


def open_parts(file: BinaryIO, name: str, stack: contextlib.ExitStack) -> SampleSource:
    """Return a source of all samples in a file that can seek.

    Args:
        file: a file that can seek; all of it is read.
        name: its name for messages.
        stack: closes what is opened here.

    Raises:
        AudioError: it is not a sound file that can be read, or it is damaged or truncated.
    """
    return JoinedSource(file, _find_parts(file, name), name, stack)


def _find_parts(file: BinaryIO, name: str) -> list[Part]:
    window = Window(file)
    start = content_start(window)
    magic = window.at(start, len(ogg.CAPTURE))
    if magic == ogg.CAPTURE:
        return ogg.find_parts(window, start, name)
    if magic.startswith(flac.MARKER):
        return flac.find_parts(window, start, name)
    frame = mpeg.first_frame(window, start)
    if frame is not None:
        return mpeg.find_parts(window, frame, name)
    if magic[:4] == b"RIFF" and window.size > UNKNOWN_SIZE + 8:
        raise AudioError(f"{name}: a WAV file of {window.size} bytes, expected at most 4 GiB, or RF64")
    end = stated_end(window)
    if end is not None and end > window.size:
        raise truncated(name, f"holds {window.size} bytes, expected {end}")
    return [Part((Range(0, window.size),))]


def _open_part(file: BinaryIO, part: Part, name: str, stack: contextlib.ExitStack) -> SampleSource:
    """Open a part with libsndfile, or with PyAV if libsndfile does not read it."""
    try:
        return SndfileSource(file, part, name, stack)
    except NotRecognized as error:
        try:
            return PyavSource(PartFile(file, part.ranges), name, stack)  # type: ignore[arg-type]
        except ImportError:
            raise AudioError(
                f"{error}; AAC, ALAC, WMA, Matroska and more need: pip install '{EXTRA}'"
            ) from error
