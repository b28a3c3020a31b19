"""Read sound files and raw PCM, from paths or pipes, in blocks of samples."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Self

from codec.audio.blocks import Block, check_finite, check_supported
from codec.audio.joined import SampleSource, open_parts
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

        Raises:
            AudioError: the data are damaged, end too early, or hold a sample that is not a finite number.
            CodecError: the file cannot be read.
        """
        with naming_damage(self.name):
            block = self._source.read(count)
        check_finite(block, self.position, self.sample_rate, self.name)
        self.position += len(block)
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

    Raises:
        AudioError: the file is empty, not audio or truncated, or it has more than 8 channels or a sample rate
            outside 8 .. 192 kHz.
        CodecError: the file is missing or cannot be read.
    """

    def __init__(self, source: PathLike | BinaryIO) -> None:
        name = name_of(source)
        with contextlib.ExitStack() as stack, naming_damage(name):
            file = stack.enter_context(reading(source))
            start = file.tell() if file.seekable() else None
            wav, header = open_wav(file, name)
            if not header:
                raise AudioError(f"{name}: is empty, expected a sound file")
            decoder = wav or open_parts(_rewound(file, start, header, stack), name, stack)
            super().__init__(decoder, name, stack.pop_all())


class RawReader(SampleReader):
    """Read raw PCM: int16, little-endian, channels interleaved, no header.

    Args:
        source: a path, or a binary stream such as a pipe.
        sample_rate: Hz.
        channels: number of channels.
    """

    def __init__(self, source: PathLike | BinaryIO, sample_rate: int, channels: int) -> None:
        name = name_of(source)
        check_supported(sample_rate, channels, name)
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(reading(source))
            decoder = PcmSource(file, RAW, sample_rate, channels, name)
            super().__init__(decoder, name, stack.pop_all())


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
