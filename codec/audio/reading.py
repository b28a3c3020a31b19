"""Read sound files and raw PCM, from paths or pipes, in blocks of samples."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from codec.audio.blocks import Block, DamagedSound, check_finite, check_supported
from codec.audio.joined import SampleSource, open_parts
from codec.audio.recovery import describe_damage, naming_remedy, open_left
from codec.audio.wav import RAW, PcmSource, open_wav
from codec.errors import AudioError
from codec.files import PathLike, name_of, naming_damage, reading, temporary_copy


class SampleReader:
    """The base of all readers: blocks in order, and every sample checked.

    Attributes:
        name: the file's name for messages.
        sample_rate: Hz.
        channels: 1 .. 8.
        num_samples: samples in a channel; None where the file does not state it exactly (pipes, some MP3).
        position: samples read so far.
        damage: how much of a damaged file is left, when its end is read; empty if it is whole.
    """

    def __init__(
        self, source: SampleSource, name: str, stack: contextlib.ExitStack, recover: bool = False
    ) -> None:
        check_supported(source.sample_rate, source.channels, name)
        self.name = name
        self.sample_rate = source.sample_rate
        self.channels = source.channels
        self.num_samples = source.num_samples
        self.position = 0
        self.damage = ""
        self._source, self._recover = source, recover
        self._stack = stack

    def read(self, count: int) -> Block:
        """Read the next `count` samples: float32 [time, channels], fewer only at the end, none after it.

        Raises:
            AudioError: the data are damaged, end too early, or hold a sample that is not a finite number.
            CodecError: the file cannot be read.
        """
        with naming_damage(self.name):
            block = self._read_left(count) if self._recover else self._read_whole(count)
        check_finite(block, self.position, self.sample_rate, self.name)
        self.position += len(block)
        return block

    def _read_whole(self, count: int) -> Block:
        with naming_remedy(isinstance(self._source, PcmSource)):
            return self._source.read(count)

    def _read_left(self, count: int) -> Block:
        """Read samples up to the damage, which is the end of the sound."""
        nothing = np.zeros((0, self.channels), np.float32)
        if self.damage:
            return nothing
        try:
            return self._source.read(count)
        except DamagedSound as error:
            block = nothing if error.block is None else error.block
            left = self.position + len(block)
            if not left:
                raise AudioError(f"{error}; nothing is left of it") from error
            self.damage = describe_damage(left, error.samples, self.sample_rate)
            return block

    def blocks(self, count: int) -> Iterator[Block]:
        """Yield the remaining samples, `count` at a time."""
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
    """Read a sound file of any format that libsndfile supports, or FFmpeg if PyAV is installed.

    Args:
        source: a path, or a binary stream such as a pipe.
        recover: read what is left of a truncated or damaged file; `damage` says how much.

    Raises:
        AudioError: the file is empty, not audio or truncated, or it has more than 8 channels or a sample rate
            outside 8 .. 192 kHz. With `recover`: nothing is left of it.
        CodecError: the file is missing or cannot be read.
    """

    def __init__(self, source: PathLike | BinaryIO, recover: bool = False) -> None:
        name = name_of(source)
        with contextlib.ExitStack() as stack, naming_damage(name):
            file = stack.enter_context(reading(source))
            start = file.tell() if file.seekable() else None
            with naming_remedy(is_plain=True):
                decoder: SampleSource | None
                decoder, header = open_wav(file, name, recover)
            if not header:
                raise AudioError(f"{name}: is empty, expected a sound file")
            if decoder is None:
                whole = _rewound(file, start, header, stack)
                with naming_remedy(is_plain=False):
                    decoder = (open_left if recover else open_parts)(whole, name, stack)
            super().__init__(decoder, name, stack.pop_all(), recover)


class RawReader(SampleReader):
    """Read raw PCM: int16, little-endian, channels interleaved, no header.

    Args:
        source: a path, or a binary stream such as a pipe.
        sample_rate: Hz.
        channels: number of channels.
        recover: leave out the bytes of an incomplete last sample; then `damage` is set.
    """

    def __init__(
        self, source: PathLike | BinaryIO, sample_rate: int, channels: int, recover: bool = False
    ) -> None:
        name = name_of(source)
        check_supported(sample_rate, channels, name)
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(reading(source))
            decoder = PcmSource(file, RAW, sample_rate, channels, name)
            super().__init__(decoder, name, stack.pop_all(), recover)


def _rewound(file: BinaryIO, start: int | None, header: bytes, stack: contextlib.ExitStack) -> BinaryIO:
    """Return a file that can seek and whose first byte begins the sound.

    Args:
        file: the file, of which `header` was read already.
        start: the position where `header` began; None for a pipe.
        header: the bytes read so far.
        stack: closes a temporary copy, which is needed unless `start` is 0.
    """
    if start == 0:
        file.seek(0)
        return file
    return stack.enter_context(temporary_copy(file, header))
