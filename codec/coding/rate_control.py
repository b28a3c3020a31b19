"""Variable rate: each chunk has as many codebooks as its sound is worth.

More codebooks leave less of the latents, each next one less of it than the one before. A chunk has so many that one
more would not be worth its price, which the quality sets; so bits go where they help most:

    cost of n codebooks = worth * (error of the latents after n) + price * n          the n that costs least

The error is a mean over the frames, each counting by its loudness, power^0.3 (Stevens' law). The worth of a chunk is
one for a pure tone, down to an eighth for noise, which hides noise up to 9 dB louder (Johnston 1988, "Transform coding
of audio signals using perceptual noise criteria", section III: by spectral flatness), and less where even the loudest
frame is quieter than -40 dB of full scale. A chunk that is quieter than what counts as silence has no codebook at all.
A frame's codes tell also of the end of the frame before, so its level is that of both: no sound is cut off.

Everything is known when a chunk ends, so this costs no delay. The number never lies between none and those that code
the base: so the codes are the first ones of each row, the same as at a constant bitrate; or, if several candidates are
searched, the first ones of the best row of all codebooks, which leave 1 % more than the best row of so many.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from codec.network.codec import Codec
    from codec.runtime.codec import NumpyCodec

LEVELS = (0, 2, 4, 6, 8, 10)
PRICES = (0.06, 0.033, 0.0055, 0.002, 0.0006, 0.00025)  # of a codebook, at these levels
SILENCE = (-60.0, -90.0)  # dB of full scale, of the loudest 20 ms: at level 0 and at level 10
FULL_WORTH = 0.01  # of full scale, the level of the loudest frame
LOUDNESS_POWER = 0.6  # of the level
TONALITY_RANGE = -60.0  # dB of spectral flatness, as far as a pure tone
FLATNESS_BAND = (100, 4000)  # Hz, so that what an 8 kHz source lacks is no tone
POWER_FLOOR = 1e-7


@dataclasses.dataclass(frozen=True)
class Quality:
    """How well a file of variable rate sounds, 0 to 10; of speech 2, 4, 6, 8 make about 1.5, 3, 6, 10 kbit/s."""

    level: float

    def __post_init__(self) -> None:
        if not 0 <= self.level <= LEVELS[-1]:
            raise ValueError(f"quality {self.level!r}, expected a number from 0 to {LEVELS[-1]}")

    @property
    def price(self) -> float:
        """What a codebook costs, as a part of the latents' variance, details left out."""
        return float(np.exp(np.interp(self.level, LEVELS, np.log(PRICES))))

    @property
    def silence(self) -> float:
        """The level of the loudest frame below which a chunk is silence, 1 is full scale."""
        return float(10 ** (np.interp(self.level, (LEVELS[0], LEVELS[-1]), SILENCE) / 20))


class RateControl:
    """Chooses for each chunk; keeps what it has heard of frames whose chunk has not ended yet."""

    def __init__(self, quality: Quality, codec: Codec | NumpyCodec) -> None:
        self._quality, self._codec = quality, codec
        self._heard: list[np.ndarray] = []  # [channel, frame, 2 + codebooks]: level, flatness, errors
        self._power = np.zeros((1, 1), np.float32)  # [channel, 1], of the last frame

    def observe(self, sound: np.ndarray, codes: np.ndarray) -> None:
        """Take sound [channel, time] and its codes [channel, frame, codebook], of all codebooks."""
        config = self._codec.config
        frames = sound.reshape(len(sound), -1, config.hop_length)[:, : codes.shape[1]]
        power = np.mean(frames * frames, axis=-1)
        before = np.broadcast_to(self._power, (len(power), 1))
        level = np.sqrt((power + np.concatenate([before, power[:, :-1]], axis=1)) / 2)
        self._power = power[:, -1:]
        errors = errors_after(codes, self._codec.codebooks)
        errors *= config.latent_dim / config.core_dim  # as parts of the variance of all but details
        known = [level[..., None], flatness(frames, config.sample_rate)[..., None], errors]
        self._heard.append(np.concatenate(known, axis=-1))

    def choose(self, frames: int) -> int:
        """How many codebooks the next chunk has, of so many frames."""
        heard = np.concatenate(self._heard, axis=1)
        self._heard = [heard[:, frames:]]
        level, flat, errors = heard[:, :frames, 0], heard[:, :frames, 1], heard[:, :frames, 2:]
        loudest = float(level.max())
        if loudest < self._quality.silence:
            return 0
        loudness = level**LOUDNESS_POWER
        loudness /= loudness.sum()
        tonality = min(1.0, float(np.sum(loudness * flat)) / TONALITY_RANGE)
        worth = 8 ** (tonality - 1) * min(1.0, loudest / FULL_WORTH) ** LOUDNESS_POWER
        least = self._codec.config.base_codebooks
        numbers = np.arange(least, errors.shape[-1] + 1)
        error = np.append(np.einsum("cf,cfn->n", loudness, errors), 0)[least:]
        return int(numbers[np.argmin(worth * error + self._quality.price * numbers)])


def errors_after(codes: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    """What the codes from the n-th on tell of the latents, their mean square: [channel, frame, codebook] by n.

    But for what all codebooks leave, it is the squared error of the first n of them.

    Args:
        codes: [channel, frame, codebook].
        codebooks: codewords [codebook, codebook_size, dim].
    """
    rest = np.zeros((*codes.shape[:2], codebooks.shape[-1]), np.float32)
    errors = np.empty(codes.shape, np.float32)
    for stage in reversed(range(codes.shape[-1])):
        rest += codebooks[stage, codes[..., stage]]
        errors[..., stage] = np.mean(rest * rest, axis=-1)
    return errors


def flatness(frames: np.ndarray, sample_rate: int) -> np.ndarray:
    """Geometric over arithmetic mean of the power spectrum, dB: [channel, frame, samples] -> [channel, frame]."""
    size = frames.shape[-1]
    low, high = (max(1, round(frequency * size / sample_rate)) for frequency in FLATNESS_BAND)
    spectrum = np.fft.rfft(frames * np.hanning(size))[..., low : high + 1]
    power = np.abs(spectrum) ** 2 + POWER_FLOOR
    return 10 * (np.mean(np.log10(power), axis=-1) - np.log10(np.mean(power, axis=-1)))
