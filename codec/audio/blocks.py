"""Blocks of samples: their form, and the limits that readers and writers check."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from codec.errors import AudioError

Block: TypeAlias = np.ndarray  # float32 [time, channels], full scale -1 .. 1

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 8_000, 192_000  # Hz
MAX_CHANNELS = 8
LARGEST_SAMPLE = 1e9  # far above it, power spectra overflow float32


def as_block(samples: Block, channels: int) -> Block:
    """Return the samples as contiguous float32; raise ValueError unless they are [time, channels]."""
    samples = np.ascontiguousarray(samples, np.float32)
    if samples.ndim != 2 or samples.shape[1] != channels:
        raise ValueError(f"`samples` must be [time, {channels}], found shape {list(samples.shape)}")
    return samples


def check_supported(sample_rate: int, channels: int, name: str) -> None:
    """Raise AudioError, listing what is supported, for any other sample rate or number of channels.

    Args:
        sample_rate: Hz.
        channels: number of channels.
        name: the file's name for the message.
    """
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"{name}: sample rate {sample_rate} Hz is not supported, "
            f"expected {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{name}: {channels} channels are not supported, expected 1 to {MAX_CHANNELS}")


class DamagedSound(AudioError):
    """A sound file that is truncated or damaged, so that a part of it may still be read.

    Attributes:
        samples: samples in a channel that the file states; None where it does not.
        block: the samples before the damage that were read together with it; None if there are none.
    """

    samples: int | None = None
    block: Block | None = None


def truncated(name: str, problem: str) -> DamagedSound:
    """Return the error for a file that ends too early.

    Args:
        name: the file's name for the message.
        problem: what it holds, and what was expected.
    """
    return DamagedSound(f"{name}: truncated: {problem}")


def check_finite(block: Block, start: int, sample_rate: int, name: str) -> None:
    """Raise AudioError naming the first sample that is NaN, infinite or absurdly large.

    Args:
        block: float32 [time, channels].
        start: position of the block's first sample in the file.
        sample_rate: Hz.
        name: the file's name for the message.
    """
    if not len(block) or np.max(np.abs(block)) <= LARGEST_SAMPLE:  # NaN makes the maximum NaN: not <=
        return
    time, channel = np.argwhere(~(np.abs(block) <= LARGEST_SAMPLE))[0]
    position = start + int(time)
    raise AudioError(
        f"{name}: sample {position} ({position / sample_rate:.3f} s) of channel {channel + 1} is "
        f"{block[time, channel]}, expected a number within -1 .. 1"
    )
