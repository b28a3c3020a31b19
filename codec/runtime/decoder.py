"""The decoder in numpy: quantized latents to audio, as `codec.network.decoder`."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from codec import architecture
from codec.config import CodecConfig
from codec.dsp import (
    EXCITATION_FLOOR,
    EXCITATION_GAIN,
    LOG_MAGNITUDE_RANGE,
    LOW_GAIN_RANGE,
    NOISE_PERIOD,
    PHASE_GAIN,
    PHASE_POWER,
    PITCHES,
    POSTFILTER_FLOOR,
    POWER_FLOOR,
    POWER_LIMIT,
    band_interpolation,
    magnitude_offset,
    noise_share,
    noise_table,
    postfilter_contrast,
    postfilter_weights,
    random_phasors,
    synthesis_window,
)
from codec.runtime import folding
from codec.runtime.excitation import Excitation
from codec.runtime.folding import Weights
from codec.runtime.layers import Dense, Norm, Normalize, RuntimeLayer, Step, run, split
from codec.runtime.spectral import exp_within, power, seconds, unit


class HeadInputs(NamedTuple):
    """What the head makes a spectrum of; each [batch, spectral frame, channels]."""

    features: np.ndarray
    energies: np.ndarray  # log energies of the mel bands
    low_bins: np.ndarray  # complex, compressed
    phase_unknown: np.ndarray  # [batch, spectral frame]: 1 where all phase latents are zero
    numbers: np.ndarray  # [batch, spectral frame], frame numbers


class Decoder:
    """Quantized latents to audio.

    Args:
        config: sizes of the network.
        weights: the decoder's, float32.
    """

    def __init__(self, config: CodecConfig, weights: Weights) -> None:
        self.config = config
        layers = architecture.decoder_layers(config)
        self.coarse = folding.fold_layers(layers.coarse, weights)
        self.noise = noise_table(config.noise_channels) @ folding.dense(layers.noise, weights).kernel
        self.fine = folding.fold_layers(layers.fine, weights)
        self.paths = _folded_paths(config, layers.paths, weights)
        self.head = _folded_head(config, layers.head, weights, self.fine)
        phasors = 2 * config.phasor_bins
        sizes = (config.synthesis_bins, phasors, config.phase_bins, PITCHES + 1, phasors)
        self.head_ends = tuple(itertools.accumulate(sizes))
        self.phasors, self.noise_share = random_phasors(config), noise_share(config)
        self.interpolation = band_interpolation(config)
        self.excitation = Excitation(config)
        self.contrast, self.postfilter_weights = postfilter_contrast(config), postfilter_weights(config)
        self.window = (synthesis_window(config) * np.sqrt(config.short_window)).astype(np.float32)

    def audio(self, step: Step, latents: np.ndarray, postfilter: float) -> np.ndarray:
        """Return the audio of the next block: [batch, frame, latent_dim] -> [batch, time, 1].

        Args:
            step: holds the state.
            latents: quantized.
            postfilter: strength of the postfilter, 0 to leave the spectrum as it is.
        """
        parts = map(HeadInputs._make, seconds(self.config, *self._head_inputs(step, latents)))
        pieces = [self._pieces(self._filtered(self._spectrum(step, part), postfilter)) for part in parts]
        return self._overlapped(step, np.concatenate(pieces, axis=1))

    def _head_inputs(self, step: Step, latents: np.ndarray) -> HeadInputs:
        config = self.config
        fine = run(self.coarse, step, latents)
        numbers = self._frame_numbers(step, fine.shape[1])
        fine += self.noise[numbers]
        fine = run(self.fine, step, fine)
        energies, low = _cut(split(self.paths(step, latents)), config.mel_bands)
        phase = latents[..., config.envelope_dim : config.core_dim]
        phase_unknown = np.repeat(np.exp(-np.einsum("btd,btd->bt", phase, phase)), 2, axis=1)
        return HeadInputs(fine, energies, low.view(np.complex64), phase_unknown, numbers)

    def _frame_numbers(self, step: Step, count: int) -> np.ndarray:
        """Return the numbers of the next spectral frames, [batch, spectral frame]; they select the noise."""
        first = step.before["frame"]
        step.after["frame"] = (first + count) % NOISE_PERIOD
        return (first[:, None] + np.arange(count)) % NOISE_PERIOD

    def _spectrum(self, step: Step, inputs: HeadInputs) -> np.ndarray:
        """Run the head: complex [batch, spectral frame, synthesis_bins]."""
        config, low_bins = self.config, slice(1, 1 + self.config.phase_bins)
        log_magnitude, phasors, log_gain, logits, gain, sharpness = _cut(
            self.head(step, inputs.features), *self.head_ends
        )
        pulses = self.excitation.spectra(step, logits, inputs.numbers)
        pulse_power = power(pulses)
        log_magnitude += inputs.energies @ self.interpolation
        log_magnitude[..., : config.phasor_bins] += sharpness * np.log1p(
            pulse_power / np.float32(EXCITATION_FLOOR)
        )
        pulses *= gain.view(np.complex64)
        pulses *= inputs.phase_unknown[..., None] / np.sqrt(pulse_power + np.float32(EXCITATION_FLOOR))
        made = phasors.view(np.complex64) + pulses
        made[..., low_bins] += np.float32(PHASE_GAIN) * inputs.low_bins
        spectrum = self._with_noise(made, inputs.numbers)
        spectrum *= exp_within(log_magnitude, *LOG_MAGNITUDE_RANGE)
        spectrum[..., low_bins] += _expanded(inputs.low_bins, log_gain)
        return spectrum

    def _with_noise(self, made: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Return phasors of all bins: those made by the network, mixed with noise near the limit, then noise."""
        phasors = self.phasors[numbers % len(self.phasors)]
        below = phasors[..., : made.shape[-1]]
        made = unit(made)
        made += self.noise_share * (below - made)
        below[...] = unit(made)
        return phasors

    def _filtered(self, spectrum: np.ndarray, strength: float) -> np.ndarray:
        """Apply the postfilter in place, as `codec.network.decoder.Postfilter`."""
        low = spectrum[..., : len(self.postfilter_weights)]
        low_power = power(low)
        rise = np.log(low_power + np.float32(POSTFILTER_FLOOR)) @ self.contrast
        rise *= np.float32(strength)
        before = low_power.sum(axis=-1, keepdims=True) + np.float32(POSTFILTER_FLOOR)
        after = (low_power * np.exp(rise)).sum(axis=-1, keepdims=True) + np.float32(POSTFILTER_FLOOR)
        rise += self.postfilter_weights * np.log(before / after)
        low *= np.exp(np.float32(0.5) * rise)
        return spectrum

    def _pieces(self, spectrum: np.ndarray) -> np.ndarray:
        """Return the windowed audio of each spectrum, [batch, spectral frame, samples]."""
        spectrum = spectrum.astype(np.complex128)
        return np.fft.irfft(spectrum, n=self.config.short_window).astype(np.float32) * self.window

    def _overlapped(self, step: Step, pieces: np.ndarray) -> np.ndarray:
        hop = self.config.spectral_hop
        tails = step.extend("synthesis", pieces[..., hop:], 1)
        return (pieces[..., :hop] + tails[:, :-1]).reshape(len(pieces), -1, 1)


def _folded_paths(config: CodecConfig, paths: architecture.LinearPaths, weights: Weights) -> Dense:
    """Return the linear paths as one layer: latents to energies, then complex low bins, of two spectral frames."""
    envelope, phase, detail = (folding.dense(path, weights) for path in paths)
    size = config.mel_bands + 2 * config.phase_bins  # outputs for one spectral frame
    kernel, bias = np.zeros((config.latent_dim, 2, size), np.float32), np.zeros((2, size), np.float32)
    energies, low = np.split(kernel, [config.mel_bands], axis=2)
    for path, rows in ((envelope, slice(config.envelope_dim)), (detail, slice(config.core_dim, None))):
        energies[rows] = path.kernel.reshape(-1, *energies.shape[1:])
    low[config.envelope_dim : config.core_dim] = folding.interleave(
        phase.kernel.reshape(-1, *low.shape[1:]), 2
    )
    bias[:, : config.mel_bands] = envelope.biases.reshape(2, -1)
    return Dense(kernel.reshape(config.latent_dim, -1), bias.reshape(-1))


def _folded_head(
    config: CodecConfig, head: architecture.HeadLayers, weights: Weights, fine: list[RuntimeLayer]
) -> Dense:
    """Return all layers of the head as one; a norm at the end of `fine` is folded into it.

    Its outputs are log-magnitudes, phasors, gains of low bins, pitch, complex gains of the excitation, sharpness.
    """
    magnitude, phasor, low_gain, pitch, excitation = (folding.dense(layer, weights) for layer in head)
    gain, sharpness = _split_outputs(excitation, 2 * config.phasor_bins)
    sharpness = Dense(np.float32(0.5) * sharpness.kernel, np.float32(0.5) * sharpness.biases)
    one = np.resize(
        np.array([EXCITATION_GAIN, 0], np.float32), 2 * config.phasor_bins
    )  # real parts, imaginary parts
    gain = folding.add_bias(folding.interleave_columns(gain), one)
    magnitude = folding.add_bias(magnitude, magnitude_offset(config))
    merged = folding.concatenate(
        [magnitude, folding.interleave_columns(phasor), low_gain, pitch, gain, sharpness]
    )
    if isinstance(fine[-1], Norm):
        merged = folding.fold_norm(fine[-1], merged)
        fine[-1] = Normalize()
    return merged


def _split_outputs(layer: Dense, count: int) -> tuple[Dense, Dense]:
    parts = slice(count), slice(count, None)
    first, second = (Dense(layer.kernel[:, part], layer.biases[part]) for part in parts)
    return first, second


def _expanded(low: np.ndarray, log_gain: np.ndarray) -> np.ndarray:
    """Undo the compression of the low bins, times a gain."""
    exponent = -PHASE_POWER / (1 + PHASE_POWER) / 2
    gain = exp_within(log_gain, *LOW_GAIN_RANGE)
    return low * gain * np.minimum(power(low) + POWER_FLOOR, POWER_LIMIT) ** exponent


def _cut(x: np.ndarray, *ends: int) -> list[np.ndarray]:
    """Split the last axis at `ends`; `np.split` takes four times as long."""
    return [x[..., start:end] for start, end in itertools.pairwise((0, *ends, None))]
