"""Noise, a stream like a pipe, and what the tests of readers and writers of sound ask of both."""

from __future__ import annotations

import io

import numpy as np
import pytest

from codec.audio import Reader
from codec.errors import CodecError


class Pipe(io.RawIOBase):
    """A stream like a pipe: it cannot seek and gives the bytes in pieces."""

    def __init__(self, data: bytes, piece: int = 1000) -> None:
        self._data, self._piece = io.BytesIO(data), piece

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        return self._data.read(min(size, self._piece) if size >= 0 else self._piece)

    def readable(self) -> bool:
        return True


def noise(num_samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal((num_samples, channels)) * 0.1
    return samples.astype(np.float32)


def read_all(reader: Reader, block: int = 777) -> np.ndarray:
    with reader:
        return np.concatenate([np.zeros((0, reader.channels), np.float32), *reader.blocks(block)])


def one_line(error: pytest.ExceptionInfo[CodecError]) -> str:
    message = str(error.value)
    assert message and "\n" not in message
    return message
