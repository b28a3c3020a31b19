"""How many codebooks code a frame: a constant number, or for each chunk the number that its sound needs.

With a constant quality, each chunk gets the number of codebooks n with the least cost:

    cost(n) = weight * (error of the latents after n codebooks) + price * n

Each codebook reduces the error less than the one before it, so bits go where they help most. The quality sets the
price. The error is a mean over the frames, weighted by their loudness: power^0.3 (Stevens' law).

The weight is 1 for a pure tone and falls with spectral flatness to 1/8 for noise. Noise hides coding noise of up to
9 dB more (Johnston 1988, "Transform coding of audio signals using perceptual noise criteria", section III). The weight
falls further where even the loudest frame is quieter than -40 dB of full scale.

A chunk that counts as silence gets no codebook. The codes of a frame also describe the end of the frame before, so the
level of a frame is that of both frames: no sound is cut off.

The choice needs nothing after the end of the chunk, so it adds no delay. A chunk gets either no codebook or at least
those that code the base. So its codes are the first ones of each row, as at a constant bitrate. A search with several
candidates finds the best row of all codebooks. Its first codes have an error 1 % larger than the best row of their
length.
"""

from __future__ import annotations

import dataclasses
import numbers
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from codec.config import CodecConfig
    from codec.protocol import StreamingCodec

LEVELS = (0, 2, 4, 6, 8, 10)
PRICES = (0.06, 0.033, 0.0055, 0.002, 0.0006, 0.00025)  # of a codebook, at these levels
SILENCE = (-60.0, -90.0)  # dB of full scale, of the loudest 20 ms: at level 0 and at level 10
FULL_WEIGHT = 0.01  # of full scale; a loudest frame below this level reduces the weight
LOUDNESS_POWER = 0.6  # of the level
TONALITY_RANGE = -60.0  # dB of spectral flatness at which a sound counts as a pure tone
FLATNESS_BAND = (100, 4000)  # Hz; an 8 kHz source has no sound above, which must not look like a tone
POWER_FLOOR = 1e-7


@dataclasses.dataclass(frozen=True)
class Quality:
    """A constant quality from 0 to 10; levels 2, 4, 6, 8 take about 1.5, 3, 6, 10 kbit/s for speech."""

    level: float

    def __post_init__(self) -> None:
        if not isinstance(self.level, numbers.Real) or not LEVELS[0] <= self.level <= LEVELS[-1]:
            raise ValueError(f"`quality` must be from {LEVELS[0]} to {LEVELS[-1]}, found {self.level!r}")

    @property
    def price(self) -> float:
        """Return the price of a codebook, relative to the variance of the latents without the details."""
        return float(np.exp(np.interp(self.level, LEVELS, np.log(PRICES))))

    @property
    def silence(self) -> float:
        """Return the level below which a chunk's loudest frame counts as silence; 1 is full scale."""
        return float(10 ** (np.interp(self.level, (LEVELS[0], LEVELS[-1]), SILENCE) / 20))


@dataclasses.dataclass(frozen=True)
class Rate:
    """How many codebooks code a frame.

    Attributes:
        num_codebooks: the number in every frame; with a quality, the most that a chunk may get.
        quality: chooses the number for each chunk; None for a constant number.
    """

    num_codebooks: int
    quality: Quality | None = None

    @classmethod
    def of(
        cls,
        config: CodecConfig,
        bitrate: int | None = None,
        quality: float | None = None,
        num_codebooks: int | None = None,
    ) -> Rate:
        """Return the rate that a caller asked for; without any argument, the model's nearest to 6000 bit/s.

        Args:
            config: the sizes of the model.
            bitrate: bits per second and channel, one of `config.bitrates`.
            quality: 0 to 10.
            num_codebooks: 1 to what the model has.

        Raises:
            ValueError: more than one is given, or the model does not offer it; says what it offers.
        """
        given = {"bitrate": bitrate, "quality": quality, "num_codebooks": num_codebooks}
        names = [f"`{name}`" for name, value in given.items() if value is not None]
        if len(names) > 1:
            raise ValueError(f"{' and '.join(names)} are given, expected only one of them")
        if quality is not None:
            return cls(config.num_codebooks, Quality(quality))
        return cls(config.choose_codebooks(bitrate, num_codebooks))


class RateControl:
    """Chooses the number of codebooks of each chunk.

    It keeps what it observed of the frames whose chunk has not ended yet.

    Args:
        quality: sets the price of a codebook.
        model: made the codes that are observed.
    """

    def __init__(self, quality: Quality, model: StreamingCodec) -> None:
        self._quality, self._config, self._codebooks = quality, model.config, model.codebooks
        self._observed: list[np.ndarray] = []  # [channel, frame, 2 + codebooks]: level, flatness, errors
        self._power = np.zeros((1, 1), np.float32)  # [channel, 1], of the last frame

    def observe(self, sound: np.ndarray, codes: np.ndarray) -> None:
        """Take sound [channel, time] and its codes of all codebooks, [channel, frame, codebook]."""
        config = self._config
        frames = sound.reshape(len(sound), -1, config.hop_length)[:, : codes.shape[1]]
        power = np.mean(frames * frames, axis=-1)
        before = np.broadcast_to(self._power, (len(power), 1))
        level = np.sqrt((power + np.concatenate([before, power[:, :-1]], axis=1)) / 2)
        self._power = power[:, -1:]
        errors = errors_after(codes, self._codebooks)
        errors *= config.latent_dim / config.core_dim  # relative to the variance without the details
        features = [level[..., None], flatness(frames, config.sample_rate)[..., None], errors]
        self._observed.append(np.concatenate(features, axis=-1))

    def choose(self, frames: int) -> int:
        """Return the number of codebooks of the next chunk, which has this number of frames."""
        observed = np.concatenate(self._observed, axis=1)
        self._observed = [observed[:, frames:]]
        level, flat, errors = observed[:, :frames, 0], observed[:, :frames, 1], observed[:, :frames, 2:]
        loudest = float(level.max())
        if loudest < self._quality.silence:
            return 0
        loudness = level**LOUDNESS_POWER
        loudness /= loudness.sum()
        tonality = min(1.0, float(np.sum(loudness * flat)) / TONALITY_RANGE)
        weight = 8 ** (tonality - 1) * min(1.0, loudest / FULL_WEIGHT) ** LOUDNESS_POWER
        least = self._config.base_codebooks
        numbers = np.arange(least, errors.shape[-1] + 1)
        error = np.append(np.einsum("cf,cfn->n", loudness, errors), 0)[least:]
        return int(numbers[np.argmin(weight * error + self._quality.price * numbers)])


def errors_after(codes: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    """Return the mean square of the latents that the codes from number n on add, for each n.

    It stands for the squared error of the first n codes: only what all codebooks leave is missing.

    Args:
        codes: [channel, frame, codebook].
        codebooks: codewords [codebook, codebook_size, dim].

    Returns:
        float32 [channel, frame, n].
    """
    rest = np.zeros((*codes.shape[:2], codebooks.shape[-1]), np.float32)
    errors = np.empty(codes.shape, np.float32)
    for stage in reversed(range(codes.shape[-1])):
        rest += codebooks[stage, codes[..., stage]]
        errors[..., stage] = np.mean(rest * rest, axis=-1)
    return errors


def flatness(frames: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the geometric over the arithmetic mean of the power spectrum, in dB.

    Shapes:
        frames: [channel, frame, samples]; returns [channel, frame].
    """
    size = frames.shape[-1]
    low, high = (max(1, round(frequency * size / sample_rate)) for frequency in FLATNESS_BAND)
    spectrum = np.fft.rfft(frames * np.hanning(size))[..., low : high + 1]
    power = np.abs(spectrum) ** 2 + POWER_FLOOR
    return 10 * (np.mean(np.log10(power), axis=-1) - np.log10(np.mean(power, axis=-1)))
