"""Limit the sound that a file may give: by its size, by the free space of the target, or by the caller."""

from __future__ import annotations

import os
import shutil
import stat
from typing import BinaryIO

from codec import bitstream
from codec.errors import TooLong
from codec.files import PathLike, is_special

SPACE_SHARE = 0.95  # of the free space, which a sound may take
PCM_BYTES = 2  # of a sample of 16 bits, which FLAC hardly ever exceeds
LOSSY_BYTES = 1  # of a sample in a lossy format, at most
LOSSY_ENDINGS = (".ogg", ".oga", ".opus", ".mp3")
_REMEDY = "if you trust the file, allow more with --max-duration or --force (`max_duration` in Python)"


class WorkLimit:
    """The most sound that a file may give.

    Args:
        reader: of the file.
        target: where the sound is written.
        max_duration: the most seconds, whatever the size of the file and the free space; None for the default: what
            `bitstream.plausible_seconds` allows, and 95 % of the free space.

    Raises:
        ValueError: `max_duration` is not a positive number.
    """

    def __init__(
        self, reader: bitstream.Reader, target: PathLike | BinaryIO, max_duration: float | None
    ) -> None:
        if max_duration is not None and not max_duration > 0:
            raise ValueError(f"`max_duration` must be a positive number of seconds, found {max_duration}")
        self._reader, self._max_duration = reader, max_duration
        self._space = None if max_duration is not None else free_space(target)
        header = reader.header
        lossy = isinstance(target, (str, os.PathLike)) and os.fspath(target).lower().endswith(LOSSY_ENDINGS)
        self._bytes_per_second = header.sample_rate * header.channels * (LOSSY_BYTES if lossy else PCM_BYTES)

    def check_claim(self, seconds: float) -> None:
        """Raise TooLong if the file claims more sound than the limit allows; of a pipe the size is not known yet."""
        if self._max_duration is None and self._reader.size is not None:
            bitstream.check_plausible(self._reader, seconds, _REMEDY)
        self._check_duration_and_space(seconds)

    def check(self, seconds: float) -> None:
        """Raise TooLong if that much sound, which the bytes read so far gave, is more than the limit allows."""
        if self._max_duration is None:
            bitstream.check_plausible(self._reader, seconds, _REMEDY)
        self._check_duration_and_space(seconds)

    def _check_duration_and_space(self, seconds: float) -> None:
        if self._max_duration is not None and seconds > self._max_duration:
            raise TooLong(f"more than {self._max_duration:g} s of sound; {_REMEDY}")
        if self._space is None:
            return
        size, most = seconds * self._bytes_per_second, self._space * SPACE_SHARE
        if size > most:
            raise TooLong(
                f"{seconds:.0f} s of sound take up to {_megabytes(size)}, expected at most {_megabytes(most)}: "
                f"95 % of the free space of the target; {_REMEDY}"
            )


def free_space(target: PathLike | BinaryIO) -> int | None:
    """Return the free bytes where a file is written; None for a pipe, a device or a stream in memory."""
    try:
        if isinstance(target, (str, os.PathLike)):
            folder = os.path.dirname(os.path.realpath(target))
            return None if is_special(target) else shutil.disk_usage(folder).free
        descriptor = target.fileno()
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return shutil.disk_usage(descriptor).free
    except (OSError, AttributeError, TypeError, ValueError):
        return None  # whatever is wrong with the target is reported when it is opened


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB"
