"""Sounds for tests, and helpers that all tests of audio files need."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import pytest

from codec.audio import AudioReader, SampleReader
from codec.errors import AudioError, CodecError
from codec.files import PathLike
from codec.presets import samples


def noise(num_samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Return Gaussian noise, float32 [time, channels], deviation 0.1."""
    samples = np.random.default_rng(seed).standard_normal((num_samples, channels)) * 0.1
    return samples.astype(np.float32)


def tone(seconds: float, sample_rate: int, channels: int = 1) -> np.ndarray:
    """Return harmonics of changing level over a little noise, float32 [time, channels], below full scale."""
    time = np.arange(round(seconds * sample_rate))[:, None] / sample_rate
    pitch = 110 * np.arange(1, channels + 1)
    waves = sum(np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 8))
    noise = np.random.default_rng(1).standard_normal((len(time), channels))
    return (0.2 * waves * (0.6 + 0.4 * np.sin(5 * time)) + 0.005 * noise).astype(np.float32)


def speech(frames: int, hop_length: int) -> np.ndarray:
    """Return the first frames of the speech sample of the package, float32 [1, time, 1]."""
    with AudioReader(next(samples().glob("1-speech.*"))) as reader:
        return reader.read(frames * hop_length)[None, :, :1]


def read_all(reader: SampleReader, block: int = 777) -> np.ndarray:
    """Read a whole file in blocks of so many samples, and close it."""
    with reader:
        return np.concatenate([np.zeros((0, reader.channels), np.float32), *reader.blocks(block)])


def audio_error(source: PathLike | BinaryIO) -> str:
    """Return the message of the AudioError that reading this file raises."""
    with pytest.raises(AudioError) as error:
        read_all(AudioReader(source))
    return one_line(error)


def one_line(error: pytest.ExceptionInfo[CodecError]) -> str:
    """Return the message of an error after checking that it is one line."""
    message = str(error.value)
    assert message and "\n" not in message
    return message
