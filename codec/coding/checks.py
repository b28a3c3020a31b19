"""Checks of the arguments of streams and packets: a wrong one is a ValueError that says what is expected."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from codec.audio import MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, Block
from codec.runtime import signals

if TYPE_CHECKING:
    from codec.protocol import StreamingCodec


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
    block = signals.checked_samples(np.asarray(samples))
    if block.shape[1] != channels:
        raise ValueError(f"`samples` must be [time, {channels}], found shape {list(np.shape(samples))}")
    return block


def checked_codes(codes: ArrayLike, channels: int, model: StreamingCodec) -> np.ndarray:
    """Return codes as int32 [channel, frame, codebook].

    Raises:
        ValueError: they are no integers, have another shape, or one of them is not in a codebook.
    """
    checked = signals.checked_codes(model, np.asarray(codes))
    if len(checked) != channels:
        raise ValueError(f"`codes` must be of {channels} channels, found {len(checked)}")
    return checked
