r"""Latents to audio: the mirror of the encoder, with noise for everything that no bits describe.

latents -> coarse, at 50 Hz -> split -> + noise -> fine, at 100 Hz -> head -> Synthesis -> audio
       \--> envelope path: log energies of the bands, interpolated to bins ----> log-magnitudes
        \-> phase path: low bins as the encoder saw them ----------------------> phasors, and added as they are
             from `phasor_limit` up: white noise ------------------------------> phasors
             below it: the excitation at the predicted pitch ------------------> phasors, magnitudes
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from codec import architecture
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
from codec.network.layers import dense, serial, split
from codec.network.spectral import Synthesis
from codec.network.streaming import State, StreamingLayer, Tensor

Complex = tuple[Tensor, Tensor]  # real parts and imaginary parts


class HeadInputs(NamedTuple):
    """What the head makes a spectrum of; each [batch, spectral frame, channels]."""

    features: Tensor  # of the network
    energies: Tensor  # log energies of the mel bands
    low_bins: Complex  # compressed, of the phase path
    noise: Complex  # phasors of white noise, of all bins
    phase_unknown: Tensor  # 1 where all phase latents are zero, less the more they say
    resets: Tensor  # 1 where the excitation is reset, else 0


class DecoderState(NamedTuple):
    """What the decoder keeps between two steps."""

    coarse: State
    frame: State  # int32 [batch], number of the next spectral frame, which selects the noise
    fine: State
    excitation: State
    synthesis: State


class Head(keras.layers.Layer):
    """Features to a complex spectrum: a log-magnitude and a phasor for each bin, plus the low bins of the phase path.

    A phasor is two numbers brought to length one, so no angle has to wrap. The spectrum of low bin k is

        exp(log-magnitude) * phasor(network + 3 c + u g e) + c |c|^1.5 * exp(gain of the network)

    with c the compressed coefficient of the phase path and e the phasor of the excitation. Its gain g is 2.5 plus a
    complex number of the network, which also says how much louder it makes its bins. u is `phase_unknown`: the
    excitation knows nothing of the source's phases, and where bits were spent on these it cost .2 of PESQ-WB at
    3 kbit/s.

    From `phasor_limit` up the phasors are those of white noise, mixed in from a little below. No bits are spent on
    phase there. A network trained on spectral distances guesses nearly the same phase in every frame. That buzzes,
    although no distance shows it.
    """

    def __init__(self, config: CodecConfig, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.config = config
        layers = architecture.decoder_layers(config).head
        self.magnitude, self.phasor, self.low_gain, self.pitch, self.excitation = (
            dense(layer, "float32") for layer in layers
        )
        self.pulse_train = Excitation(config)
        self.interpolation, self.offset = band_interpolation(config), magnitude_offset(config)
        self.noise_share = noise_share(config)

    def initial_state(self, batch_size: int | Tensor) -> State:
        """Return the state of the excitation after silence."""
        return self.pulse_train.initial_state(batch_size)

    def step(self, inputs: HeadInputs, state: State) -> tuple[Tensor, State]:
        """Return the spectrum, [batch, spectral frame, 2 * synthesis_bins], and the state after it."""
        features = inputs.features
        logits = ops.concatenate([self.pitch(features), inputs.resets], axis=-1)
        pulses, state = self.pulse_train.step(logits, state)
        excitation, louder = self._excitation(features, inputs.phase_unknown, _parts(pulses))
        magnitude = ops.exp(self._log_magnitude(features, inputs.energies, louder))
        phasors = self._phasors(inputs, excitation)
        low_bins = self._expanded(features, inputs.low_bins)
        real, imaginary = (
            _add_low_bins(magnitude * phasor, low) for phasor, low in zip(phasors, low_bins, strict=True)
        )
        return ops.concatenate([real, imaginary], axis=-1), state

    def pitch_logits(self, inputs: HeadInputs) -> Tensor:
        """Return the logits of pitch and voicing, [batch, spectral frame, PITCHES + 1], for their training."""
        return self.pitch(inputs.features)

    def _excitation(self, features: Tensor, phase_unknown: Tensor, pulses: Complex) -> tuple[Complex, Tensor]:
        """Return what the excitation adds to the phasors and to the log-magnitudes."""
        real, imaginary = pulses
        gain_real, gain_imaginary, sharpness = ops.split(self.excitation(features), 3, axis=-1)
        power = real * real + imaginary * imaginary
        scale, gain_real = phase_unknown * ops.rsqrt(power + EXCITATION_FLOOR), EXCITATION_GAIN + gain_real
        turned = (
            (gain_real * real - gain_imaginary * imaginary) * scale,
            (gain_real * imaginary + gain_imaginary * real) * scale,
        )
        return turned, 0.5 * sharpness * ops.log(1.0 + power / EXCITATION_FLOOR)

    def _phasors(self, inputs: HeadInputs, excitation: Complex) -> Complex:
        """Return phasors of all bins: of the network, phase path and excitation, then of noise."""
        made = _unit(
            tuple(
                _add_low_bins(network + pulse, PHASE_GAIN * low)
                for network, pulse, low in zip(
                    _parts(self.phasor(inputs.features)), excitation, inputs.low_bins, strict=True
                )
            )
        )
        below, above = zip(
            *(ops.split(part, [self.config.phasor_bins], axis=-1) for part in inputs.noise), strict=True
        )
        mixed = _unit(
            tuple(
                (1 - self.noise_share) * part + self.noise_share * noise
                for part, noise in zip(made, below, strict=True)
            )
        )
        real, imaginary = (ops.concatenate(pair, axis=-1) for pair in zip(mixed, above, strict=True))
        return real, imaginary

    def _log_magnitude(self, features: Tensor, energies: Tensor, louder: Tensor) -> Tensor:
        """Return the network's, plus the decoded envelope between band centers, plus the excitation's."""
        envelope = ops.matmul(energies, self.interpolation) + self.offset
        louder = ops.pad(louder, [[0, 0], [0, 0], [0, envelope.shape[-1] - louder.shape[-1]]])
        return ops.clip(self.magnitude(features) + envelope + louder, *LOG_MAGNITUDE_RANGE)

    def _expanded(self, features: Tensor, low_bins: Complex) -> Complex:
        """Undo the compression of the low bins, times a gain of the network that starts at one."""
        real, imaginary = low_bins
        power = real * real + imaginary * imaginary + POWER_FLOOR
        exponent = -PHASE_POWER / (1 + PHASE_POWER) / 2  # |c| = |C|^0.4, so C = c |c|^1.5
        gain = ops.exp(ops.clip(self.low_gain(features), *LOW_GAIN_RANGE))
        gain = gain * ops.minimum(power, POWER_LIMIT) ** exponent
        return real * gain, imaginary * gain


def _parts(x: Tensor) -> Complex:
    """Split the last axis into real parts and imaginary parts."""
    real, imaginary = ops.split(x, 2, axis=-1)
    return real, imaginary


def _add_low_bins(spectrum: Tensor, low: Tensor) -> Tensor:
    """Add the low bins, which start at bin 1, to a longer spectrum."""
    return spectrum + ops.pad(low, [[0, 0], [0, 0], [1, spectrum.shape[-1] - 1 - low.shape[-1]]])


def _unit(parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Bring complex numbers to length one."""
    scale = ops.rsqrt(sum(part * part for part in parts) + PHASOR_FLOOR)
    return tuple(part * scale for part in parts)


class Postfilter:
    """Raise the peaks of a decoded spectrum and lower its valleys below 4 kHz, at the same power in each frame.

    A network trained on distances decodes a mean of what the source could have been, so its peaks are flat. The
    decoder is trained without the postfilter, or it would only learn to undo it. See `codec.dsp.postfilter_contrast`.

    Shapes:
        spectrum: [batch, spectral frame, 2 * synthesis_bins]
        strength: a number, or [batch, spectral frame, 1]
    """

    def __init__(self, config: CodecConfig) -> None:
        self.contrast, self.weights = postfilter_contrast(config), postfilter_weights(config)
        self.other_bins = config.synthesis_bins - len(self.weights)

    def __call__(self, spectrum: Tensor, strength: float | Tensor) -> Tensor:
        low = [part[..., : len(self.weights)] for part in ops.split(spectrum, 2, axis=-1)]
        power = sum(part * part for part in low)
        # On the logarithms of powers; the gain of magnitudes takes half of it.
        rise = strength * ops.matmul(ops.log(power + POSTFILTER_FLOOR), self.contrast)
        before, after = (
            ops.sum(values, axis=-1, keepdims=True) + POSTFILTER_FLOOR
            for values in (power, power * ops.exp(rise))
        )
        rise = rise + self.weights * ops.log(before / after)
        gain = ops.pad(ops.exp(0.5 * rise), [[0, 0], [0, 0], [0, self.other_bins]], constant_values=1.0)
        return spectrum * ops.concatenate([gain, gain], axis=-1)


class Decoder(StreamingLayer):
    """Latents to audio.

    The noise depends on the frame number alone, so a file decodes to the same samples every time.

    Shapes:
        x: [batch, frame, latent_dim]
        y: [batch, time, 1], `hop_length` samples a frame
    """

    def __init__(self, config: CodecConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.stride, self.latency = Fraction(1, config.hop_length), config.spectral_hop
        layers, policy = architecture.decoder_layers(config), self.dtype_policy
        self.coarse, self.fine = serial(layers.coarse, policy), serial(layers.fine, policy)
        self.noise_map = dense(layers.noise, policy)
        self.envelope_map, self.phase_map, self.detail_map = (dense(path, "float32") for path in layers.paths)
        self.noise_table = noise_table(config.noise_channels)
        phasors = random_phasors(config)
        self.noise_phasors = np.hstack([phasors.real, phasors.imag])
        self.reset_table = np.eye(EXCITATION_PERIOD, 1, dtype=np.float32)
        self.head, self.synthesis = Head(config), Synthesis(config)
        self.postfilter = Postfilter(config)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.coarse.build((None, None, self.config.latent_dim))
        self.fine.build((None, None, self.config.decoder_fine_width))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], None, 1)

    def initial_state(self, batch_size: int | Tensor, first_frame: int | Tensor = 0) -> DecoderState:
        """Return the state after silence.

        Args:
            batch_size: signals side by side.
            first_frame: number of the next spectral frame, which selects the noise; int32 [batch] for one each.
        """
        return DecoderState(
            coarse=self.coarse.initial_state(batch_size),
            frame=ops.zeros((batch_size,), "int32") + first_frame,
            fine=self.fine.initial_state(batch_size),
            excitation=self.head.initial_state(batch_size),
            synthesis=self.synthesis.initial_state(batch_size),
        )

    def step(self, x: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        spectrum, state = self.spectrum(x, state)
        audio, synthesis = self.synthesis.step(spectrum, state.synthesis)
        return audio, state._replace(synthesis=synthesis)

    def spectrum(self, x: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Run everything before `synthesis`: -> [batch, spectral frame, 2 * synthesis_bins]."""
        inputs, state = self.features(x, state)
        spectrum, excitation = self.head.step(inputs, state.excitation)
        return spectrum, state._replace(excitation=excitation)

    def features(self, x: Tensor, state: DecoderState) -> tuple[HeadInputs, DecoderState]:
        """Run everything before `head`."""
        fine, coarse_state = self.coarse.step(x, state.coarse)
        count = ops.shape(fine)[1]
        numbers = (state.frame[:, None] + ops.arange(count, dtype="int32")) % NOISE_PERIOD
        noise = self.noise_map(_rows(self.noise_table, numbers))
        fine, fine_state = self.fine.step(fine + noise, state.fine)
        envelope, phase, detail = ops.split(
            ops.cast(x, "float32"), [self.config.envelope_dim, self.config.core_dim], axis=-1
        )
        phase_power = ops.sum(ops.square(phase), axis=-1, keepdims=True)
        inputs = HeadInputs(
            features=ops.cast(fine, "float32"),
            energies=split(self.envelope_map(envelope) + self.detail_map(detail)),
            low_bins=_parts(split(self.phase_map(phase))),
            noise=_parts(_rows(self.noise_phasors, numbers)),
            phase_unknown=ops.repeat(ops.exp(-phase_power), 2, axis=1),
            resets=_rows(self.reset_table, numbers),
        )
        frame = (state.frame + count) % NOISE_PERIOD
        return inputs, state._replace(coarse=coarse_state, frame=frame, fine=fine_state)


def _rows(table: np.ndarray, numbers: Tensor) -> Tensor:
    """Return the rows of a periodic table [frame, channels] for frame numbers [batch, spectral frame]."""
    return ops.take(ops.convert_to_tensor(table), numbers % len(table), axis=0)
