"""Checks of the arguments of streams and packets: a wrong one is a ValueError that says what is expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from codec.audio import Block
from codec.runtime import signals

if TYPE_CHECKING:
    from codec.protocol import StreamingCodec


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
