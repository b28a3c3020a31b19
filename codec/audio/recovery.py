"""Read what is left of a truncated or damaged sound file.

The file is read once to see whether it is whole. If it is not, FFmpeg reads it past the damage, where PyAV is
installed; else it is read up to the damage. What can be read is counted before the first sample is returned.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple, TypeAlias

import numpy as np

from codec.audio.blocks import DamagedSound
from codec.audio.joined import SampleSource, open_parts
from codec.audio.parts import Part, PartFile, Range
from codec.audio.pyav import EXTRA, PyavSource
from codec.audio.sndfile import SndfileSource
from codec.errors import AudioError

STEP = 1024  # samples read at a time to count them: libsndfile returns none of those that it reads with the damage

Opener: TypeAlias = Callable[[contextlib.ExitStack], SampleSource]  # the stack closes what is opened


class LeftSource:
    """Read the samples of a damaged file that can be read, then raise the error that says what is wrong with it.

    Args:
        source: gives at least `num_samples` samples.
        num_samples: to read.
        error: to raise at the end.
    """

    def __init__(self, source: SampleSource, num_samples: int, error: DamagedSound) -> None:
        self.sample_rate, self.channels = source.sample_rate, source.channels
        self.num_samples: int | None = num_samples
        self._source, self._left, self._error = source, num_samples, error

    def read(self, count: int) -> np.ndarray:
        """Read `count` samples, float32 [time, channels]; DamagedSound at the end, with the last of them."""
        block = self._source.read(min(count, self._left))
        self._left -= len(block)
        if len(block) < count:
            self._error.block = block
            raise self._error
        return block


class _Attempt(NamedTuple):
    """One way to read a damaged file, and what it gives."""

    open: Opener
    num_samples: int  # that can be read
    stated: int | None  # that the file states
    error: AudioError | None


def open_left(file: BinaryIO, name: str, stack: contextlib.ExitStack) -> SampleSource:
    """Return a source of all samples in a file that can seek, or of those that are left if it is damaged.

    Args:
        file: a file that can seek.
        name: its name for messages.
        stack: closes what is opened here.

    Raises:
        AudioError: it is not a sound file that can be read, or nothing is left of it.
    """
    strict = _attempt(functools.partial(open_parts, file, name))
    if strict.error is None:
        return strict.open(stack)
    if not isinstance(strict.error, DamagedSound):
        raise strict.error
    whole = Part((Range(0, file.seek(0, os.SEEK_END)),))
    attempts = [_attempt(lambda closing: _open_pyav(file, whole, name, closing)), strict]
    if not any(attempt.num_samples for attempt in attempts):
        attempts.append(_attempt(lambda closing: SndfileSource(file, whole, name, closing)))
    best = max(attempts, key=lambda attempt: attempt.num_samples)
    if not best.num_samples:
        needed = "" if _has_pyav() else f" without: pip install '{EXTRA}'"
        raise AudioError(f"{strict.error}; nothing is left of it that can be read{needed}") from strict.error
    strict.error.samples = max(attempt.stated or 0 for attempt in attempts)
    return LeftSource(best.open(stack), best.num_samples, strict.error)


@contextlib.contextmanager
def naming_remedy(is_plain: bool) -> Iterator[None]:
    """Turn DamagedSound into an AudioError that says how to compress what is left.

    Args:
        is_plain: True for WAV and raw PCM, which no decoder is needed for.
    """
    try:
        yield
    except DamagedSound as error:
        needed = "" if is_plain or _has_pyav() else f"; most formats need: pip install '{EXTRA}'"
        raise AudioError(f"{error}; --recover compresses what is left{needed}") from error


def describe_damage(num_samples: int, stated: int | None, sample_rate: int) -> str:
    """Return how much of a damaged sound is left, and how much there was if the file states it.

    Args:
        num_samples: samples that are left.
        stated: samples that the file states.
        sample_rate: Hz.
    """
    expected = f" of {stated / sample_rate:.2f} s" if stated and stated > num_samples else ""
    return f"the file is cut or damaged; {num_samples / sample_rate:.2f} s{expected} are left"


def _attempt(opener: Opener) -> _Attempt:
    """Open a file in one way and count the samples up to the first error."""
    num_samples, stated = 0, None
    try:
        with contextlib.ExitStack() as stack:
            source = opener(stack)
            stated = source.num_samples
            while size := len(source.read(STEP)):
                num_samples += size
    except AudioError as error:
        return _Attempt(opener, num_samples, stated, error)
    return _Attempt(opener, num_samples, stated, None)


def _open_pyav(file: BinaryIO, whole: Part, name: str, stack: contextlib.ExitStack) -> SampleSource:
    try:
        return PyavSource(PartFile(file, whole.ranges), name, stack, skip_damage=True)  # type: ignore[arg-type]
    except ImportError as error:
        raise AudioError(f"{name}: needs: pip install '{EXTRA}'") from error


def _has_pyav() -> bool:
    return importlib.util.find_spec("av") is not None
