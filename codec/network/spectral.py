r"""From audio to spectral features, and from a spectrum back to audio.

Both work on spectral frames of `spectral_hop` samples (10 ms) and never look ahead. Frame t ends where block t ends:

    blocks         |  t-3  |  t-2  |  t-1  |   t   |
    long window     ___/-----------------------\__    rises over three blocks, falls over the last; 25 Hz bins
    short window                    __/-----\__       square root of Hann; synthesis uses it on the same frames

Levels: white noise of variance v has E|X|^2 = v in the long window and v / 2 in the short.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from codec.config import CodecConfig
from codec.dsp import (
    BAND_FLOOR,
    BAND_SCALE,
    MAGNITUDE_FLOOR,
    PHASE_POWER,
    SPECTRUM_POWER,
    analysis_window,
    band_weights,
    synthesis_window,
)
from codec.network.streaming import State, StreamingLayer, Tensor


class FeatureSlices(NamedTuple):
    """Where each kind of feature stands in the output of `Analysis`."""

    spectrum: slice
    bands: slice
    low_bins: slice


def compress(real: Tensor, imaginary: Tensor, power: float) -> tuple[Tensor, Tensor]:
    """Return X |X|^power for a complex X given as two tensors; finite at zero."""
    gain = ops.exp((power / 2) * ops.log(real * real + imaginary * imaginary + MAGNITUDE_FLOOR))
    return real * gain, imaginary * gain


class Analysis(StreamingLayer):
    """Audio to spectral features.

    The features are the compressed spectrum, the scaled log energies of the mel bands, and the compressed low bins of
    the short window. Of complex numbers, real parts come before imaginary parts.

    Shapes:
        x:     [batch, time, 1], time a multiple of `spectral_hop`
        y:     [batch, spectral frame, features]
        state: [batch, 3 * spectral_hop], the last samples

    Attributes:
        slices: where each kind of feature stands in y.
    """

    def __init__(self, config: CodecConfig, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.config = config
        self.stride = Fraction(config.spectral_hop)
        self.window = analysis_window(config)
        self.short_window = (synthesis_window(config) / np.sqrt(config.short_window)).astype(np.float32)
        self.bands = band_weights(config)
        sizes = (2 * config.spectrum_bins, config.mel_bands, 2 * config.phase_bins)
        ends = [int(end) for end in np.cumsum(sizes)]
        self.slices = FeatureSlices(*map(slice, [0, *ends[:-1]], ends))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], None, self.slices.low_bins.stop)

    def initial_state(self, batch_size: int | Tensor) -> State:
        return ops.zeros((batch_size, 3 * self.config.spectral_hop), "float32")

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        hop = self.config.spectral_hop
        samples = ops.concatenate([state, ops.cast(x[..., 0], "float32")], axis=1)
        blocks = ops.reshape(samples, (ops.shape(samples)[0], -1, hop))
        count = ops.shape(blocks)[1] - 3
        frames = ops.concatenate([blocks[:, i : i + count] for i in range(4)], axis=-1)
        low_bins = self._low_bins(frames[..., 2 * hop :])
        features = ops.concatenate([*self._long_features(frames), *low_bins], axis=-1)
        return features, samples[:, ops.shape(samples)[1] - 3 * hop :]

    def rfft(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return real and imaginary parts of the bins, [..., time] -> [..., time // 2 + 1]."""
        return ops.rfft(frames)

    def _long_features(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Return the compressed bins below `spectrum_limit`, and scaled log energies of all bands."""
        real, imaginary = self.rfft(frames * self.window)
        power = ops.matmul(real * real + imaginary * imaginary, self.bands)
        bins = self.config.spectrum_bins
        spectrum = compress(real[..., :bins], imaginary[..., :bins], SPECTRUM_POWER)
        return (*spectrum, 0.5 * BAND_SCALE * ops.log(power + BAND_FLOOR))

    def _low_bins(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return the compressed bins 1, 2, ... of the short window, which the phase path carries."""
        real, imaginary = self.rfft(frames * self.short_window)
        low = slice(1, 1 + self.config.phase_bins)
        return compress(real[..., low], imaginary[..., low], PHASE_POWER)


class Synthesis(StreamingLayer):
    """A spectrum to audio: inverse real FFT, window, overlap-add.

    Frame t covers blocks t-1 and t. Block t-1 is complete once frame t is there, so the audio lags by one block.

    Shapes:
        x:     [batch, spectral frame, 2 * synthesis_bins], real parts then imaginary parts
        y:     [batch, time, 1], `spectral_hop` samples a frame
        state: [batch, 1, spectral_hop], the second half of the last windowed frame
    """

    def __init__(self, config: CodecConfig, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.config = config
        self.stride = Fraction(1, config.spectral_hop)
        self.latency = config.spectral_hop
        self.window = (synthesis_window(config) * np.sqrt(config.short_window)).astype(np.float32)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], None, 1)

    def initial_state(self, batch_size: int | Tensor) -> State:
        return ops.zeros((batch_size, 1, self.config.spectral_hop), "float32")

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        real, imaginary = ops.split(x, 2, axis=-1)
        pieces = self.irfft(real, imaginary) * self.window
        heads, tails = ops.split(pieces, 2, axis=-1)
        tails = ops.concatenate([state, tails], axis=1)
        count = ops.shape(tails)[1]
        blocks = heads + tails[:, : count - 1]
        return ops.reshape(blocks, (ops.shape(blocks)[0], -1, 1)), tails[:, count - 1 :]

    def irfft(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Return the samples of a spectrum, [..., synthesis_bins] -> [..., short_window]."""
        return ops.irfft((real, imaginary), fft_length=self.config.short_window)
