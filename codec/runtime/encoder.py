"""The encoder in numpy: audio to latents, as `codec.network.encoder`. FFTs are in float64, which is faster in numpy."""

from __future__ import annotations

import numpy as np

from codec import architecture
from codec.config import CodecConfig
from codec.dsp import (
    BAND_FLOOR,
    BAND_SCALE,
    MAGNITUDE_FLOOR,
    PHASE_POWER,
    SPECTRUM_POWER,
    VARIANCE_FLOOR,
    analysis_window,
    band_weights,
    latent_blocks,
    synthesis_window,
)
from codec.runtime import folding
from codec.runtime.folding import Weights
from codec.runtime.layers import Dense, RuntimeLayer, Step, pair, run, windows
from codec.runtime.spectral import power, seconds


class Encoder:
    """Audio to latents.

    Args:
        config: sizes of the network.
        weights: the encoder's, float32.
    """

    def __init__(self, config: CodecConfig, weights: Weights) -> None:
        self.config = config
        self.network, self.output = _folded(config, weights)
        self.window, self.bands = analysis_window(config).astype(np.float64), band_weights(config)
        self.low_bins = low_bin_matrix(config)

    def latents(self, step: Step, audio: np.ndarray) -> np.ndarray:
        """Return the latents of the next block: [batch, time, 1] -> [batch, frame, latent_dim]."""
        parts = [self._features(frames) for (frames,) in seconds(self.config, self._frames(step, audio))]
        spectrum, energies, low_bins = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
        coded = run(self.network, step, np.concatenate([spectrum, energies], axis=-1))
        return self.output(step, np.concatenate([coded, pair(energies), pair(low_bins)], axis=-1))

    def _frames(self, step: Step, audio: np.ndarray) -> np.ndarray:
        """Return the long windows that end in each block, [batch, spectral frame, samples]."""
        hop = self.config.spectral_hop
        samples = step.extend("analysis", audio[..., 0].astype(np.float32), 3 * hop)
        blocks = samples.reshape(len(samples), -1, hop)
        return windows(blocks, 4).reshape(len(samples), -1, 4 * hop)

    def _features(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return compressed bins, log energies of the bands, compressed low bins: [batch, spectral frame, n]."""
        config = self.config
        long = np.fft.rfft(frames * self.window).astype(np.complex64)
        low = (frames[..., 2 * config.spectral_hop :] @ self.low_bins).view(np.complex64)
        energies = 0.5 * np.log(power(long) @ self.bands + np.float32(BAND_FLOOR))
        spectrum = _compressed(long[..., : config.spectrum_bins], SPECTRUM_POWER)
        return spectrum, energies, _compressed(low, PHASE_POWER)


def _folded(config: CodecConfig, weights: Weights) -> tuple[list[RuntimeLayer], Dense]:
    """Return the network, and its last layer merged with the linear paths and the standardization."""
    layers = architecture.encoder_layers(config)
    network = folding.fold_layers(layers.network, weights)
    first = folding.interleave_rows(folding.take_dense(network, 0), slice(2 * config.spectrum_bins))
    network.insert(0, folding.scale_rows(first, slice(2 * config.spectrum_bins, None), BAND_SCALE))
    everything = slice(config.latent_dim)
    envelope, phase, detail = (folding.dense(path, weights) for path in layers.paths)
    of_energies = folding.concatenate([envelope, Dense(_zeros(envelope, config.phase_dim), None), detail])
    frame = 2 * config.phase_bins
    for start in (0, frame):
        phase = folding.interleave_rows(phase, slice(start, start + frame))
    paths = [
        (folding.take_dense(network, -1), everything),
        (of_energies, everything),
        (phase, slice(config.envelope_dim, config.core_dim)),
    ]
    output = folding.stack_paths(paths, config.latent_dim)
    scale = _scale(config, weights["standardize.variance"])
    return network, folding.standardize(output, weights["standardize.mean"], scale)


def _zeros(layer: Dense, outputs: int) -> np.ndarray:
    return np.zeros((len(layer.kernel), outputs), np.float32)


def _scale(config: CodecConfig, variances: np.ndarray) -> np.ndarray:
    """Return the divisor of each latent."""
    dims, targets = zip(*latent_blocks(config), strict=True)
    scales = np.sqrt(variances / np.array(targets, np.float32) + VARIANCE_FLOOR)
    return np.repeat(scales, dims).astype(np.float32)


def low_bin_matrix(config: CodecConfig) -> np.ndarray:
    """Return the few bins of the phase path, windowed, as a matrix: [short_window, real and imaginary parts]."""
    times, bins = np.arange(config.short_window), np.arange(1, 1 + config.phase_bins)
    waves = np.exp(-2j * np.pi / config.short_window * np.outer(times, bins))
    waves *= synthesis_window(config)[:, None] / np.sqrt(config.short_window)
    return waves.astype(np.complex64).view(np.float32)


def _compressed(x: np.ndarray, exponent: float) -> np.ndarray:
    """Return X |X|^exponent, real and imaginary parts side by side."""
    return (x * (power(x) + np.float32(MAGNITUDE_FLOOR)) ** np.float32(exponent / 2)).view(np.float32)
