"""Noise, and what the tests of readers and writers of sound ask of both."""

from __future__ import annotations

import numpy as np
import pytest

from codec.audio import Reader
from codec.errors import CodecError


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
