"""Read and write sound files of any format through libsndfile, with the errors that it does not report.

libsndfile reads a truncated file as a shorter one. It stops early in an MP3 file whose length it could only guess. It
cannot pass an exception from a Python file object through its C code, and its MP3 decoder prints to standard error.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from codec.audio.blocks import DamagedSound, truncated
from codec.audio.native import SilentStandardError
from codec.audio.parts import Part, PartFile
from codec.audio.wav import MAX_DATA, to_integers
from codec.errors import AudioError
from codec.files import PathLike, replacing
from codec.stop_signals import signals_held  # a handler's exception in a callback would be lost in C code

UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's SF_COUNT_MAX
SIZED = ("WAV", "WAVEX", "AIFF", "AU")  # containers with sizes of 32 bits
SAMPLE_BYTES = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4}
INTEGER_BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}  # libsndfile's names of encodings
MAX_TAIL = 16_384  # bytes after the samples of a FLAC file that can be tags
MPEG = "MP3"  # libsndfile's name, also of layers I and II
_silent = SilentStandardError()
FORMATS = {  # ending -> libsndfile's format and the default encoding
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".oga": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".aiff": ("AIFF", "PCM_16"),
    ".aif": ("AIFF", "PCM_16"),
    ".au": ("AU", "PCM_16"),
    ".caf": ("CAF", "PCM_16"),
    ".w64": ("W64", "PCM_16"),
}


class NotRecognized(AudioError):
    """A file that libsndfile does not read."""


class SndfileSource:
    """Read samples through libsndfile.

    Args:
        file: a file that can seek, at its first byte.
        part: the part of the file to read.
        name: the file's name for messages.
        stack: closes what is opened here.

    Raises:
        NotRecognized: libsndfile does not read it.
    """

    def __init__(self, file: BinaryIO, part: Part, name: str, stack: contextlib.ExitStack) -> None:
        counted = part.num_samples is not None
        self._file, self._name, self._position = _CallbackFile(PartFile(file, part.ranges, counted)), name, 0
        self._size = sum(end - start for start, end in part.ranges)
        try:
            with signals_held(), _silent():
                self._sound = stack.enter_context(soundfile.SoundFile(self._file))
        except soundfile.LibsndfileError as error:
            self._file.raise_kept()
            raise NotRecognized(f"{name}: not a sound file that can be read ({_message(error)})") from error
        self._is_mpeg = self._sound.format == MPEG
        if self._is_mpeg and not part.is_mpeg:  # its length would be a guess
            raise NotRecognized(f"{name}: not a sound file that can be read (MPEG frames of unknown size)")
        self._file.raise_kept()
        # soundfile seeks after each read, which fails in a FLAC file without a length.
        self._sound.seekable = lambda: False
        self.sample_rate, self.channels = self._sound.samplerate, self._sound.channels
        known = self._sound.frames < UNKNOWN_FRAMES
        self.num_samples: int | None = part.num_samples if counted else self._sound.frames if known else None

    def read(self, count: int) -> np.ndarray:
        """Read `count` samples, float32 [time, channels], fewer only at the end; AudioError if that is early."""
        try:
            with signals_held(), _silent() if self._is_mpeg else contextlib.nullcontext():
                block: np.ndarray = self._sound.read(count, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            self._file.raise_kept()
            where = f"between samples {self._position} and {self._position + count}"
            raise DamagedSound(f"{self._name}: damaged or truncated {where} ({_message(error)})") from error
        self._file.raise_kept()
        self._position += len(block)
        if len(block) < count:
            self._check_end()
        return block

    def _check_end(self) -> None:
        """Raise AudioError if the file ends before the samples that it states, or holds more."""
        if self.num_samples is not None and self._position < self.num_samples:
            ending = f"ends after sample {self._position}, expected {self.num_samples} samples"
            raise truncated(self._name, ending)
        if self._sound.format == "FLAC" and self._size - self._file.tell() > MAX_TAIL:
            raise DamagedSound(
                f"{self._name}: damaged: more follows after the {self._position} samples that it states"
            )


def _message(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).strip().rstrip(".").removeprefix("Error : ")


class SndfileSink:
    """Write samples through libsndfile into a new file that replaces `path` at the end.

    Args:
        path: its ending selects the format.
        sample_rate: Hz.
        channels: number of channels.
        subtype: libsndfile's name of the encoding; None for the format's default.
        num_samples: samples in a channel that will be written; None if unknown.
        stack: finishes the file and puts it in its place.

    Raises:
        AudioError: the ending is unknown, or the format cannot hold this sample rate or these channels.
        ValueError: the format does not have this encoding.
    """

    def __init__(
        self,
        path: PathLike,
        sample_rate: int,
        channels: int,
        subtype: str | None,
        num_samples: int | None,
        stack: contextlib.ExitStack,
    ) -> None:
        self._name, self._is_empty = os.fspath(path), True
        container, subtype = _format_of(path, subtype)
        if (num_samples or 0) * channels * SAMPLE_BYTES.get(subtype, 8) > MAX_DATA:
            container = "RF64" if container == "WAV" else container
            self._check_size(container, MAX_DATA + 1)
        unsupported = AudioError(
            f"{self._name}: {container} ({subtype}) cannot hold {channels} channels at {sample_rate} Hz; "
            "WAV holds all that is supported"
        )
        if container == "FLAC" and sample_rate > 65_535 and sample_rate % 10:
            raise unsupported  # libsndfile would fail at the first sample
        temporary = stack.enter_context(replacing(path))
        self._file = _CallbackFile(stack.enter_context(open(temporary, "wb+")))  # noqa: SIM115
        try:
            with signals_held():
                self._sound = soundfile.SoundFile(
                    self._file, "w", sample_rate, channels, subtype, format=container
                )
        except soundfile.LibsndfileError as error:
            self._file.raise_kept()
            raise unsupported from error
        stack.callback(self._close)

    def write(self, samples: np.ndarray) -> None:
        """Append samples, float32 [time, channels]; OSError where that fails."""
        try:
            rounded = self._rounded(samples)
            with signals_held():
                self._sound.write(rounded)
            self._is_empty = False
        except (soundfile.LibsndfileError, AssertionError) as error:
            # soundfile asserts that libsndfile wrote all samples.
            self._file.raise_kept()
            raise OSError(errno.EIO, str(error) or "libsndfile wrote fewer samples than given") from error
        self._file.raise_kept()
        self._check_size(self._sound.format, self._file.tell())

    def _check_size(self, container: str, size: int) -> None:
        """Raise AudioError if the container cannot state this number of bytes."""
        if container in SIZED and size > MAX_DATA:
            raise AudioError(f"{self._name}: {container} holds at most 4 GiB; write .w64, .caf or .flac")

    def _rounded(self, samples: np.ndarray) -> np.ndarray:
        """Return integer samples in the upper bits of int32, since libsndfile would round floats down."""
        bits = INTEGER_BITS.get(self._sound.subtype)
        return samples if bits is None else to_integers(samples, bits) << (32 - bits)

    def _close(self) -> None:
        with signals_held():
            self._sound.close()
        self._file.raise_kept()
        if self._is_empty and self._sound.format == "FLAC":
            self._file.write(_empty_flac(self._sound))
        elif self._is_empty and self._sound.subtype in ("OPUS", "MPEG_LAYER_III"):
            raise AudioError(f"{self._name}: this format cannot hold a sound of no samples; WAV and FLAC can")


def _format_of(path: PathLike, subtype: str | None) -> tuple[str, str]:
    """Return libsndfile's names of the container for a path's ending, and of the encoding in it."""
    ending = Path(path).suffix.lower()
    if ending not in FORMATS:
        known = " ".join(FORMATS)
        raise AudioError(f"{path}: unknown ending {ending or 'none'!r}, expected one of {known}")
    container, default = FORMATS[ending]
    subtype = subtype or default
    if not soundfile.check_format(container, subtype):
        known = ", ".join(soundfile.available_subtypes(container))
        raise ValueError(f"`subtype` of {container} must be one of {known}, found {subtype!r}")
    return container, subtype


def _empty_flac(sound: soundfile.SoundFile) -> bytes:
    """Return a FLAC stream of no samples: its STREAMINFO (RFC 9639, 8.2), which libsndfile does not write then."""
    bits = INTEGER_BITS.get(sound.subtype, 8)
    layout = sound.samplerate << 44 | (sound.channels - 1) << 41 | (bits - 1) << 36
    return b"fLaC\x80\0\0\x22" + struct.pack(">HH6xQ16x", 4096, 4096, layout)


class _CallbackFile:
    """A file for libsndfile, which reads and writes it by callbacks. Exceptions cannot pass through its C code.

    An exception is kept, and raised by `raise_kept` when libsndfile has returned.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._error: BaseException | None = None
        self._position = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> None:
        self._guarded(self._file.seek, offset, whence)

    def tell(self) -> int:
        position = self._guarded(self._file.tell)
        self._position = self._position if position is None else position
        return self._position

    def readinto(self, buffer: Any) -> int:
        return self._guarded(self._file.readinto, buffer) or 0

    def write(self, data: bytes) -> int:
        return self._guarded(self._file.write, data) or 0

    def _guarded(self, operation: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return operation(*arguments)
        except BaseException as error:  # also KeyboardInterrupt, which would be lost in C code
            self._error = self._error or error
            return None

    def raise_kept(self) -> None:
        if self._error is not None:
            raise self._error
