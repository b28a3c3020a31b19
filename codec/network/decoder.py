r"""Latents to audio: the mirror of the encoder, with a noise source for what no bits were spent on.

latents -> network at 50 Hz -> two frames each -> + noise -> network at 100 Hz -> head -> Synthesis -> audio
       \--> envelope path: log energies of the bands, interpolated to bins ----> log-magnitudes
        \-> phase path: low bins as the encoder saw them ----------------------> directions, and added as they are
             from `phasor_limit` up: white noise ---------------------------> directions
             below it: pulses at the pitch the network tells -----------------> directions, magnitudes
"""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import Any

import keras
import numpy as np
from keras import ops

from codec.config import EXCITATION_PERIOD, CodecConfig
from codec.dsp import (
    EXCITATION_FLOOR,
    EXCITATION_GAIN,
    LOG_MAGNITUDE_RANGE,
    LOW_GAIN_RANGE,
    NOISE_PERIOD,
    PHASE_GAIN,
    PHASE_POWER,
    PHASOR_FLOOR,
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
)
from codec.network.excitation import Excitation
from codec.network.layers import CausalConv1D, ConvNeXtBlock, dense, layer_norm
from codec.network.spectral import Synthesis
from codec.network.streaming import Serial, State, StreamingLayer, Tensor


class Noise(StreamingLayer):
    """Noise that depends on the frame number alone, so a file decodes to the same samples every time.

    Shapes:
        x:     [batch, spectral frame, any]; only its length counts
        y:     [batch, spectral frame, channels]
        state: int32 [batch], the number of the next frame

    Args:
        table: [frame, channels], over and over; as many frames as divide NOISE_PERIOD.
    """

    def __init__(self, table: np.ndarray, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = table

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.table.shape[1])

    def initial_state(self, batch_size: int | Tensor) -> State:
        return ops.zeros((batch_size,), "int32")

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        count = ops.shape(x)[1]
        numbers = (state[:, None] + ops.arange(count, dtype="int32")) % len(self.table)
        return ops.take(ops.convert_to_tensor(self.table), numbers, axis=0), (state + count) % NOISE_PERIOD


class Head(StreamingLayer):
    """Features to a complex spectrum: a log-magnitude and a direction for each bin, and the low bins of the phase path.

    A direction is two numbers brought to length one, so no angle has to wrap. The spectrum of low bin k is

        exp(log-magnitude) * direction(network + 3 c + s g p) + c |c|^1.5 * exp(gain of the network)

    with c the compressed coefficient of the phase path and p the phasor of the excitation
    (`codec.network.excitation`). Their gain g is 2.5 plus a complex number that the network predicts.

    From `phasor_limit` up the directions are those of white noise, mixed in from a little below. No bits are spent
    on phase there, and what a network trained on spectral distances guesses is nearly the same in every frame, which
    buzzes: distances cannot hear that, listeners do.

    Shapes:
        x: [batch, spectral frame, width + mel_bands + 2 * phase_bins + 2 * synthesis_bins + 2]: features, log energies
           of the bands, low bins, directions of noise, s, 1 where the pulses begin anew or 0
        y: [batch, spectral frame, 2 * synthesis_bins]
        state: that of the pulses
    """

    def __init__(self, config: CodecConfig, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.config = config
        self.magnitude = keras.layers.Dense(
            config.synthesis_bins, kernel_initializer="zeros", dtype="float32"
        )
        self.direction = keras.layers.Dense(2 * config.phasor_bins, dtype="float32")
        self.low_gain = keras.layers.Dense(config.phase_bins, kernel_initializer="zeros", dtype="float32")
        self.pitch = keras.layers.Dense(PITCHES + 1, kernel_initializer="zeros", dtype="float32")
        self.voice = keras.layers.Dense(3 * config.phasor_bins, kernel_initializer="zeros", dtype="float32")
        self.pulses = Excitation(config)
        self.interpolation, self.offset = band_interpolation(config), magnitude_offset(config)
        self.noise_share = noise_share(config)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for layer in (self.magnitude, self.direction, self.low_gain, self.pitch, self.voice):
            layer.build((None, None, self.config.decoder_fine_width))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], 2 * self.config.synthesis_bins)

    def initial_state(self, batch_size: int | Tensor) -> State:
        return self.pulses.initial_state(batch_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        config = self.config
        sizes = (
            config.decoder_fine_width,
            config.mel_bands,
            2 * config.phase_bins,
            2 * config.synthesis_bins,
            1,
        )
        ends = np.cumsum(sizes)
        features, energies, low, noise, unknown, restarts = ops.split(x, [int(end) for end in ends], axis=-1)
        low_parts, noise_parts = ops.split(low, 2, axis=-1), ops.split(noise, 2, axis=-1)
        logits = ops.concatenate([self.pitch(features), restarts], axis=-1)
        pulses, state = self.pulses.step(logits, state)
        pulse_parts, louder = self._voiced(features, unknown, ops.split(pulses, 2, axis=-1))
        magnitude = ops.exp(self._log_magnitude(features, energies, louder))
        directions = self._directions(features, low_parts, noise_parts, pulse_parts)
        expanded = self._expand(features, *low_parts)
        spectrum = [
            _to_low_bins(magnitude * one, more) for one, more in zip(directions, expanded, strict=True)
        ]
        return ops.concatenate(spectrum, axis=-1), state

    def pitch_logits(self, x: Tensor) -> Tensor:
        """What the network says of pitch and voicing, [batch, spectral frame, PITCHES + 1], for its training."""
        return self.pitch(x[..., : self.config.decoder_fine_width])

    def _voiced(self, features: Tensor, unknown: Tensor, pulses: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """What pulses add to the directions, real and imaginary parts, and to the log-magnitudes."""
        real, imaginary = pulses
        gain_real, gain_imaginary, sharpness = ops.split(self.voice(features), 3, axis=-1)
        power = real * real + imaginary * imaginary
        scale, gain_real = unknown * ops.rsqrt(power + EXCITATION_FLOOR), EXCITATION_GAIN + gain_real
        turned = [
            (gain_real * real - gain_imaginary * imaginary) * scale,
            (gain_real * imaginary + gain_imaginary * real) * scale,
        ]
        return turned, 0.5 * sharpness * ops.log(1.0 + power / EXCITATION_FLOOR)

    def _directions(
        self, features: Tensor, low: list[Tensor], noise: list[Tensor], pulses: list[Tensor]
    ) -> list[Tensor]:
        """Real and imaginary parts of length one: the network's with those of phase path and pulses, then noise."""
        made = ops.split(self.direction(features), 2, axis=-1)
        made = _unit(
            [
                _to_low_bins(one + pulse, PHASE_GAIN * more)
                for one, pulse, more in zip(made, pulses, low, strict=True)
            ]
        )
        noise_parts = [ops.split(one, [self.config.phasor_bins], axis=-1) for one in noise]
        mixed = _unit(
            [
                (1 - self.noise_share) * one + self.noise_share * below
                for one, (below, _) in zip(made, noise_parts, strict=True)
            ]
        )
        return [
            ops.concatenate([one, above], axis=-1) for one, (_, above) in zip(mixed, noise_parts, strict=True)
        ]

    def _log_magnitude(self, features: Tensor, energies: Tensor, louder: Tensor) -> Tensor:
        """The network's, plus the decoded envelope between band centres, plus the pulses' in the lowest bins."""
        envelope = ops.matmul(energies, self.interpolation) + self.offset
        louder = ops.pad(louder, [[0, 0], [0, 0], [0, envelope.shape[-1] - louder.shape[-1]]])
        return ops.clip(self.magnitude(features) + envelope + louder, *LOG_MAGNITUDE_RANGE)

    def _expand(self, features: Tensor, real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
        """Undo the compression of the low bins, times a gain of the network's that starts at one."""
        power = real * real + imaginary * imaginary + POWER_FLOOR
        exponent = -PHASE_POWER / (1 + PHASE_POWER) / 2  # |c| = |C|^0.4, so C = c |c|^1.5
        gain = ops.exp(ops.clip(self.low_gain(features), *LOW_GAIN_RANGE))
        gain = gain * ops.minimum(power, POWER_LIMIT) ** exponent
        return real * gain, imaginary * gain


def _to_low_bins(spectrum: Tensor, low: Tensor) -> Tensor:
    """Add the low bins, which start at bin 1, to a longer spectrum."""
    return spectrum + ops.pad(low, [[0, 0], [0, 0], [1, spectrum.shape[-1] - 1 - low.shape[-1]]])


def _unit(parts: list[Tensor]) -> list[Tensor]:
    """Real and imaginary parts, brought to length one."""
    scale = ops.rsqrt(sum(part * part for part in parts) + PHASOR_FLOOR)
    return [part * scale for part in parts]


class Postfilter:
    """Raises the peaks of a decoded spectrum and lowers its valleys below 4 kHz, at the same power in each frame.

    What a network trained on distances decodes is a mean of what it could have been, so its peaks are flat. The decoder
    is trained without it, or it would only learn to undo it. `codec.dsp.postfilter_contrast` says more.

    Shapes:
        spectrum: [batch, spectral frame, 2 * synthesis_bins]
        strength: a number, or [batch, spectral frame, 1]
    """

    def __init__(self, config: CodecConfig) -> None:
        self.contrast, self.weights = postfilter_contrast(config), postfilter_weights(config)
        self.others = config.synthesis_bins - len(self.weights)

    def __call__(self, spectrum: Tensor, strength: float | Tensor) -> Tensor:
        low = [part[..., : len(self.weights)] for part in ops.split(spectrum, 2, axis=-1)]
        power = sum(part * part for part in low)
        # Of the logarithms of powers: the gain on magnitudes takes half of it.
        rise = strength * ops.matmul(ops.log(power + POSTFILTER_FLOOR), self.contrast)
        before, after = (
            ops.sum(one, axis=-1, keepdims=True) + POSTFILTER_FLOOR for one in (power, power * ops.exp(rise))
        )
        gain = ops.exp(0.5 * (rise + self.weights * ops.log(before / after)))
        gain = ops.pad(gain, [[0, 0], [0, 0], [0, self.others]], constant_values=1.0)
        return spectrum * ops.concatenate([gain, gain], axis=-1)


class Decoder(StreamingLayer):
    """Latents to audio, as it is trained; `postfilter` is for what goes to the ear.

    Shapes:
        x: [batch, frame, latent_dim]
        y: [batch, time, 1], `hop_length` samples a frame, `latency` samples late
    """

    def __init__(self, config: CodecConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.stride = Fraction(1, config.hop_length)
        self.latency = config.spectral_hop
        policy = self.dtype_policy
        block = functools.partial(ConvNeXtBlock, expansion=config.decoder_expansion, dtype=policy)
        self.coarse = Serial(
            [CausalConv1D(config.decoder_width, 3, dtype=policy)]
            + [block(config.decoder_width) for _ in range(config.decoder_blocks)]
            + [dense(2 * config.decoder_fine_width, dtype=policy)],
            dtype=policy,
        )
        self.noise = Noise(noise_table(config.noise_channels), dtype="float32")
        directions = random_phasors(config)
        self.random_phasors = Noise(np.hstack([directions.real, directions.imag]), dtype="float32")
        # No noise, but a table by frame number too: where the pulses begin anew.
        self.restarts = Noise(np.eye(EXCITATION_PERIOD, 1, dtype=np.float32), dtype="float32")
        self.noise_map = keras.layers.Dense(config.decoder_fine_width, use_bias=False, dtype=policy)
        self.fine = Serial(
            [block(config.decoder_fine_width) for _ in range(config.decoder_fine_blocks)]
            + [layer_norm(dtype=policy)],
            dtype=policy,
        )
        self.envelope_map = keras.layers.Dense(2 * config.mel_bands, dtype="float32", name="envelope_map")
        self.phase_map = keras.layers.Dense(
            4 * config.phase_bins, use_bias=False, dtype="float32", name="phase_map"
        )
        self.detail_map = keras.layers.Dense(
            2 * config.mel_bands, use_bias=False, dtype="float32", name="detail_map"
        )
        self.head, self.synthesis = Head(config), Synthesis(config)
        self.postfilter = Postfilter(config)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        config = self.config
        self.coarse.build((None, None, config.latent_dim))
        self.noise_map.build((None, None, config.noise_channels))
        self.fine.build((None, None, config.decoder_fine_width))
        self.envelope_map.build((None, None, config.envelope_dim))
        self.phase_map.build((None, None, config.phase_dim))
        self.detail_map.build((None, None, config.detail_dim))
        self.head.build((None, None, None))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], None, 1)

    def initial_state(self, batch_size: int | Tensor, first_noise: int | Tensor = 0) -> State:
        """Silence, with the noise at frame `first_noise` (spectral frames; int32 [batch] for one each)."""
        parts = (self.coarse, self.noise, self.fine, self.head, self.synthesis)
        coarse, noise, *others = (part.initial_state(batch_size) for part in parts)
        return coarse, noise + first_noise, *others

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        *network_state, synthesis_state = state
        spectrum, network_state = self.spectrum(x, network_state)
        audio, synthesis_state = self.synthesis.step(spectrum, synthesis_state)
        return audio, (*network_state, synthesis_state)

    def spectrum(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """All before `synthesis`: [batch, frame, latent_dim] -> [batch, spectral frame, 2 * synthesis_bins]."""
        *network_state, head_state = state
        features, network_state = self.features(x, network_state)
        spectrum, head_state = self.head.step(features, head_state)
        return spectrum, (*network_state, head_state)

    def features(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """All before `head`: [batch, frame, latent_dim] -> what that takes, [batch, spectral frame, any]."""
        coarse_state, noise_state, fine_state = state
        coarse, coarse_state = self.coarse.step(x, coarse_state)
        fine = split(coarse)
        restarts, _ = self.restarts.step(fine, noise_state)
        directions, _ = self.random_phasors.step(fine, noise_state)
        noise, noise_state = self.noise.step(fine, noise_state)
        fine, fine_state = self.fine.step(fine + self.noise_map(noise), fine_state)
        envelope, phase, detail = ops.split(
            ops.cast(x, "float32"), [self.config.envelope_dim, self.config.core_dim], axis=-1
        )
        energies = split(self.envelope_map(envelope) + self.detail_map(detail))
        low = split(self.phase_map(phase))
        told = ops.sum(ops.square(phase), axis=-1, keepdims=True)
        unknown = ops.repeat(ops.exp(-told), 2, axis=1)
        parts = [ops.cast(fine, "float32"), energies, low, directions, unknown, restarts]
        return ops.concatenate(parts, axis=-1), (coarse_state, noise_state, fine_state)


def split(x: Tensor) -> Tensor:
    """A code frame becomes two spectral frames: [batch, n, 2 dim] -> [batch, 2 n, dim]."""
    return ops.reshape(x, (ops.shape(x)[0], -1, x.shape[-1] // 2))
