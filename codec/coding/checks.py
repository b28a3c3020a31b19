"""Checks of the arguments of streams and packets: a wrong one is a ValueError that says what is expected."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from codec.audio.blocks import LARGEST_SAMPLE, MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, Block

if TYPE_CHECKING:
    from codec.config import CodecConfig


def check_whole(name: str, value: int, least: int, most: int) -> None:
    """Raise ValueError unless an argument is a whole number from `least` to `most`."""
    if not isinstance(value, numbers.Integral) or not least <= value <= most:
        raise ValueError(f"`{name}` must be a whole number from {least} to {most}, found {value!r}")


def check_format(sample_rate: int, channels: int) -> None:
    """Raise ValueError for a sample rate (Hz) or a number of channels that is not supported."""
    check_whole("sample_rate", sample_rate, MIN_SAMPLE_RATE, MAX_SAMPLE_RATE)
    check_whole("channels", channels, 1, MAX_CHANNELS)


def checked_samples(samples: ArrayLike, channels: int) -> Block:
    """Return samples as float32 [time, channels].

    Raises:
        ValueError: they are integers, have another shape, or one of them is not a finite number.
    """
    array = np.asarray(samples)
    if array.dtype.kind != "f":
        expected = "expected floats within -1 .. 1: divide 16-bit samples by 32768"
        raise ValueError(f"`samples` are {array.dtype}, {expected}")
    if array.ndim != 2 or array.shape[1] != channels:
        raise ValueError(f"`samples` must be [time, {channels}], found shape {list(array.shape)}")
    if array.size and not np.max(np.abs(array)) <= LARGEST_SAMPLE:  # NaN makes the maximum NaN
        time, channel = np.argwhere(~(np.abs(array) <= LARGEST_SAMPLE))[0]
        found = f"sample {time} of channel {channel} is {array[time, channel]}"
        raise ValueError(f"`samples`: {found}, expected a number within -1 .. 1")
    return array.astype(np.float32, copy=False)


def checked_codes(codes: ArrayLike, channels: int, config: CodecConfig) -> np.ndarray:
    """Return codes as int32 [channel, frame, codebook].

    Raises:
        ValueError: they are no integers, have another shape, or one of them is not in a codebook.
    """
    array = np.asarray(codes)
    if array.dtype.kind not in "iu":
        raise ValueError(f"`codes` are {array.dtype}, expected integers")
    if array.ndim != 3 or array.shape[0] != channels or array.shape[2] > config.num_codebooks:
        expected = f"[{channels}, frame, codebook] of at most {config.num_codebooks} codebooks"
        raise ValueError(f"`codes` must be {expected}, found shape {list(array.shape)}")
    most = (1 << config.bits_per_code) - 1
    if array.size and not 0 <= array.min() <= array.max() <= most:
        raise ValueError(f"`codes` reach from {array.min()} to {array.max()}, expected 0 to {most}")
    return array.astype(np.int32, copy=False)
