"""Read and write sound files of any format through libsndfile, with the errors that it does not report.

libsndfile reads a truncated Ogg or MP3 file as a shorter one. It stops early in an MP3 file whose length it could only
guess. It cannot pass an exception from a Python file object through its C code.
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

from codec.audio.wav import to_integers
from codec.errors import AudioError
from codec.files import PathLike, replacing

UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's SF_COUNT_MAX
INTEGER_BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}  # libsndfile's names of encodings
MP3_TAIL = 16_384  # bytes that may follow the last frame of an MP3: tags
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


class SndfileSource:
    """Read samples through libsndfile.

    Args:
        file: a file that can seek, at its first byte.
        name: the file's name for messages.
        stack: closes what is opened here.
    """

    def __init__(self, file: BinaryIO, name: str, stack: contextlib.ExitStack) -> None:
        self._file, self._name, self._position = _CallbackFile(file), name, 0
        _check_ogg_end(file, name)
        self._estimated = _is_estimated(file)
        try:
            self._sound = stack.enter_context(soundfile.SoundFile(self._file))
        except soundfile.LibsndfileError as error:
            self._file.raise_kept()
            raise AudioError(f"{name}: not a sound file that can be read ({_message(error)})") from error
        # soundfile seeks after each read, which fails in a FLAC file without a length.
        self._sound.seekable = lambda: False
        self.sample_rate, self.channels = self._sound.samplerate, self._sound.channels
        known = not self._estimated and self._sound.frames < UNKNOWN_FRAMES
        self.num_samples: int | None = self._sound.frames if known else None

    def read(self, count: int) -> np.ndarray:
        """Read `count` samples, float32 [time, channels], fewer only at the end; AudioError if that is early."""
        try:
            block: np.ndarray = self._sound.read(count, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            self._file.raise_kept()
            where = f"between samples {self._position} and {self._position + count}"
            raise AudioError(f"{self._name}: damaged or truncated {where} ({_message(error)})") from error
        self._file.raise_kept()
        self._position += len(block)
        if len(block) < count:
            self._check_end()
        return block

    def _check_end(self) -> None:
        """Raise AudioError if the samples ended before the file's length or before its last bytes."""
        if self.num_samples is not None and self._position < self.num_samples:
            ending = f"ends after sample {self._position}, expected {self.num_samples} samples"
            raise AudioError(f"{self._name}: truncated: {ending}")
        if not self._estimated:
            return
        here = self._file.tell()
        self._file.seek(0, os.SEEK_END)
        rest = self._file.tell() - here
        self._file.seek(here)
        if rest > MP3_TAIL:  # libsndfile stops where it estimated the end to be
            raise AudioError(f"{self._name}: MP3 without a length; convert it to WAV or FLAC first")


def _message(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).strip().rstrip(".").removeprefix("Error : ")


def _check_ogg_end(file: BinaryIO, name: str) -> None:
    """Raise AudioError for a truncated Ogg file: its last page lacks flag 4, end of stream (RFC 3533)."""
    if file.read(4) == b"OggS":
        file.seek(max(0, file.seek(0, os.SEEK_END) - 65_536))  # a page has at most 65,307 bytes
        tail = file.read()
        page = tail[max(0, tail.rfind(b"OggS\0")) :]
        segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
        if len(page) < 27 + len(segments) + sum(segments) or not page[5] & 4:
            raise AudioError(f"{name}: truncated: the last Ogg page is missing")
    file.seek(0)


def _is_estimated(file: BinaryIO) -> bool:
    """Return True for an MP3 file without a Xing, Info or VBRI frame, whose length libsndfile can only estimate."""
    head = file.read(10)
    if head[:3] == b"ID3" and len(head) == 10:
        size = sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        file.seek(10 + size)
        head = file.read(2)
    start = head[:2]
    head += file.read(4096)
    file.seek(0)
    is_mp3 = len(start) == 2 and start[0] == 0xFF and start[1] & 0xE6 in (0xE2, 0xE4)  # sync, layer III or II
    return is_mp3 and not any(tag in head for tag in (b"Xing", b"Info", b"VBRI"))


class SndfileSink:
    """Write samples through libsndfile into a new file that replaces `path` at the end.

    Args:
        path: its ending selects the format.
        sample_rate: Hz.
        channels: number of channels.
        subtype: libsndfile's name of the encoding; None for the format's default.
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
        stack: contextlib.ExitStack,
    ) -> None:
        self._name, self._is_empty = os.fspath(path), True
        container, subtype = _format_of(path, subtype)
        temporary = stack.enter_context(replacing(path))
        self._file = _CallbackFile(stack.enter_context(open(temporary, "wb+")))  # noqa: SIM115
        try:
            self._sound = soundfile.SoundFile(
                self._file, "w", sample_rate, channels, subtype, format=container
            )
        except soundfile.LibsndfileError as error:
            self._file.raise_kept()
            raise AudioError(
                f"{self._name}: {container} ({subtype}) cannot hold {channels} channels at {sample_rate} Hz; "
                "WAV and FLAC hold all that is supported"
            ) from error
        stack.callback(self._close)

    def write(self, samples: np.ndarray) -> None:
        """Append samples, float32 [time, channels]; OSError where that fails."""
        try:
            self._sound.write(self._rounded(samples))
            self._is_empty = False
        except (soundfile.LibsndfileError, AssertionError) as error:
            # soundfile asserts that libsndfile wrote all samples.
            self._file.raise_kept()
            raise OSError(errno.EIO, str(error) or "libsndfile wrote fewer samples than given") from error
        self._file.raise_kept()

    def _rounded(self, samples: np.ndarray) -> np.ndarray:
        """Return integer samples in the upper bits of int32, since libsndfile would round floats down."""
        bits = INTEGER_BITS.get(self._sound.subtype)
        return samples if bits is None else to_integers(samples, bits) << (32 - bits)

    def _close(self) -> None:
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

    An OSError is kept, and raised by `raise_kept` when libsndfile has returned. A damaged sound file can make
    libsndfile seek to a negative position; that is ignored, and libsndfile sees that the position did not change.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self.tell = file.tell
        self._error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        return self._guarded(self._file.readinto, buffer) or 0

    def read(self, size: int) -> bytes:  # for file objects without `readinto`
        return self._guarded(self._file.read, size) or b""

    def write(self, data: bytes) -> int:
        return self._guarded(self._file.write, data) or 0

    def _guarded(self, operation: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return operation(argument)
        except OSError as error:
            self._error = error
            return None

    def raise_kept(self) -> None:
        if self._error is not None:
            raise self._error
