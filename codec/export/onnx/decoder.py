"""Codes to audio as a graph: the quantizer and the decoder, as `codec.runtime`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np

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
    PHASE_STEPS,
    PHASOR_FLOOR,
    PHASOR_PERIOD,
    PITCHES,
    POSTFILTER_FLOOR,
    POWER_FLOOR,
    POWER_LIMIT,
    band_interpolation,
    half_steps,
    harmonic_lobes,
    magnitude_offset,
    noise_share,
    noise_table,
    phase_turns,
    postfilter_contrast,
    postfilter_strength,
    postfilter_weights,
    random_phasors,
    synthesis_window,
)
from codec.export.onnx.fourier import Fourier
from codec.export.onnx.function import Function
from codec.export.onnx.graph import Graph, Value
from codec.export.onnx.layers import Part, Weights

Complex: TypeAlias = tuple[Value, Value]  # real parts and imaginary parts


def write_decoder(function: Function, config: CodecConfig, parts: Mapping[str, Weights]) -> None:
    """Write the graph that decodes audio into a function."""
    codes = function.input("codes", "int32", "batch", "frame", config.num_codebooks)
    resets = function.input("resets", "bool", "batch", "frame")
    quantized = _dequantized(function, config, parts["quantizer"], codes, resets)
    spectrum = _Spectrum(function, config, parts["decoder"]).of(quantized)
    spectrum = _filtered(function, config, spectrum, codes)
    audio = _overlapped(function, config, spectrum)
    function.output("audio", audio, "float32", "batch", "time", 1)


def _dequantized(
    function: Function, config: CodecConfig, weights: Weights, codes: Value, resets: Value
) -> Value:
    """Return the quantized latents of codes, [batch, frame, latent_dim]."""
    prediction = function.table("prediction", weights["prediction"])
    books = np.asarray(weights["codebooks"])
    core, size = min(config.core_codebooks, config.num_codebooks), config.latent_dim

    def step(body: Graph, state: list[Value], frame: list[Value]) -> tuple[list[Value], list[Value]]:
        (base,), (difference, reset) = state, frame
        base = body.add("Gemm", body.where(reset, 0.0, base), prediction, difference)
        return [base], [base]

    differences = _sum_of_codewords(function, codes, books, range(config.base_codebooks), config.envelope_dim)
    before = function.state("base", "float32", config.envelope_dim)
    frames = [(differences, "float32"), (resets.expand(2), "bool")]
    after, bases = function.scan(step, [(before, "float32")], frames, ["float32"])
    function.set_state("base", after)
    total = bases.pad(0, size - config.envelope_dim)
    if core > config.base_codebooks:
        words = _sum_of_codewords(function, codes, books, range(config.base_codebooks, core), config.core_dim)
        total = total + words.pad(0, config.detail_dim)
    if config.num_codebooks > core:
        total = total + _sum_of_codewords(function, codes, books, range(core, config.num_codebooks), size)
    return total


def _sum_of_codewords(function: Function, codes: Value, books: np.ndarray, stages: range, dim: int) -> Value:
    """Return the sum of the codewords of some codebooks, [batch, frame, dim]; -1 adds nothing.

    All codewords are rows of one table, with a row of zeros after each codebook. A code of -1 modulo the rows of a
    codebook is the number of that row.
    """
    used = books[stages.start : stages.stop, :, :dim]
    table = np.concatenate([used, np.zeros_like(used[:, :1])], axis=1)
    rows = np.array(table.shape[1], np.int32)
    firsts = np.arange(len(stages), dtype=np.int32) * rows
    places = codes.part(2, stages.start, stages.stop) % rows + firsts
    name = f"codebooks_{stages.start + 1}_to_{stages.stop}"
    return function.table(name, table.reshape(-1, dim)).take(places).sum(2)


class _HeadInputs(NamedTuple):
    """What the head makes a spectrum of; each [batch, spectral frame, channels]."""

    features: Value
    energies: Value  # log energies of the mel bands
    low_bins: Complex  # compressed
    phase_unknown: Value  # 1 where all phase latents are zero, less the more they say
    numbers: Value  # int32 [batch, spectral frame], frame numbers


class _Spectrum:
    """Latents to spectra."""

    def __init__(self, function: Function, config: CodecConfig, weights: Weights) -> None:
        self.function, self.config, self.weights = function, config, weights
        self.part, self.layers = Part(function, weights), architecture.decoder_layers(config)

    def of(self, latents: Value) -> Complex:
        """Return the spectra of latents: [batch, frame, latent_dim] -> [batch, spectral frame, bin] each."""
        config = self.config
        fine = self.part.run(self.layers.coarse, latents, config.latent_dim)
        numbers = self._frame_numbers(fine)
        # As float32, since the pitch is chosen from what the network makes of it.
        noise = self.function.constant(noise_table(config.noise_channels), "noise").take(numbers)
        fine = fine + self.part.dense(noise, self.layers.noise)
        fine = self.part.run(self.layers.fine, fine, config.decoder_fine_width)
        energies, low_bins, phase_unknown = self._paths(latents)
        return self._head(_HeadInputs(fine, energies, low_bins, phase_unknown, numbers))

    def _frame_numbers(self, frames: Value) -> Value:
        """Return the numbers of the next spectral frames, int32 [batch, spectral frame]; they select the noise."""
        period = np.array(NOISE_PERIOD, np.int32)
        first, count = self.function.state("frame", "int32"), frames.shape(1, 2).cast("int32")
        self.function.set_state("frame", (first + count) % period)
        zero, one = np.array(0, np.int32), np.array(1, np.int32)
        places = self.function.add("Range", zero, self.function.add("Squeeze", count), one)
        return (first.expand(1) + places) % period

    def _paths(self, latents: Value) -> tuple[Value, Complex, Value]:
        """Return log energies, low bins and how little is known of the phase, of each spectral frame."""
        config, paths = self.config, self.layers.paths
        envelope, phase, detail = latents.split(config.envelope_dim, config.phase_dim, config.detail_dim)
        energies = self.part.dense(envelope, paths.envelope) + self.part.dense(detail, paths.detail)
        low = self.part.dense(phase, paths.phase).reshape(0, -1, 2 * config.phase_bins)
        unknown = self.function.add("Exp", (phase * phase).sum(2, keep=True) * -1.0)
        real, imaginary = low.split(config.phase_bins, config.phase_bins)
        return energies.reshape(0, -1, config.mel_bands), (real, imaginary), _twice(unknown)

    def _head(self, inputs: _HeadInputs) -> Complex:
        """Return the spectra: a magnitude and a phasor for each bin, plus the low bins (`codec.network.decoder`)."""
        config, exp = self.config, "Exp"
        below, above = config.phasor_bins, config.synthesis_bins - config.phasor_bins
        sizes = (below, above, below, below, config.phase_bins, PITCHES, 1, below, below, below)
        (low_magnitude, high_magnitude, real, imaginary, low_gain, pitch, voiced, *excitation) = (
            self.part.dense(inputs.features, *self.layers.head).split(*sizes)
        )
        envelope = inputs.energies @ band_interpolation(config) + magnitude_offset(config)
        low_envelope, high_envelope = envelope.split(below, above)
        pulses = self._pulses(pitch, voiced, inputs.numbers)
        turned, louder = _turned(pulses, excitation, inputs.phase_unknown)
        made = (real + turned[0], imaginary + turned[1])
        noise = self._noise(inputs.numbers)
        made = self._mixed(made, inputs.low_bins, (noise[0], noise[2]))
        low = self.function.add(exp, (low_magnitude + low_envelope + louder).clip(*LOG_MAGNITUDE_RANGE))
        high = self.function.add(exp, (high_magnitude + high_envelope).clip(*LOG_MAGNITUDE_RANGE))
        expanded = _expanded(inputs.low_bins, low_gain)
        after = below - 1 - config.phase_bins
        real, imaginary = (
            self.function.concatenate([low * phasor + extra.pad(1, after), high * rest])
            for phasor, extra, rest in zip(made, expanded, (noise[1], noise[3]), strict=True)
        )
        return real, imaginary

    def _pulses(self, pitch: Value, voiced: Value, numbers: Value) -> Complex:
        """Return the spectra of the excitation below `phasor_limit`."""
        function, lobes = self.function, harmonic_lobes(self.config)
        best = function.add("ArgMax", pitch, axis=2, keepdims=0)
        speaks = function.add("Greater", voiced, 0.0)
        spoken = function.add("Squeeze", speaks, np.array([2]))
        halves = function.where(
            spoken, function.value(half_steps(self.config)).take(best), np.array(0, np.int32)
        )
        phases = self._phases(halves, numbers).expand(2)
        harmonics = (
            phases * np.arange(1, 1 + lobes.shape[-1], dtype=np.int32) % np.array(PHASE_STEPS, np.int32)
        )
        turns = function.value(phase_turns()).take(harmonics)
        spectra = function.fraction("lobes", lobes).take(best) @ turns  # [batch, spectral frame, bin, 2]
        real, imaginary = spectra.split(1, 1)
        scale = speaks.cast("float32")
        axis = np.array([3])
        real, imaginary = (function.add("Squeeze", part, axis) * scale for part in (real, imaginary))
        return real, imaginary

    def _phases(self, halves: Value, numbers: Value) -> Value:
        """Return the phase at each frame, int32 [batch, spectral frame]; frames that are not voiced reset it.

        It is the sum of all steps less the sum at the last reset. That lies at most EXCITATION_PERIOD frames back, so
        the largest place of a reset in a window of this length finds it.
        """
        function, zero = self.function, np.array(0, np.int32)
        before = function.state("excitation", "int32", 2)
        last, phase = before.split(1, 1)
        steps = halves + function.concatenate([last, halves.part(1, 0, -1)], axis=1)
        total = function.add("CumSum", steps, np.array(1)) + phase
        period = np.array(EXCITATION_PERIOD, np.int32)
        resets = function.add(
            "Or", function.add("Equal", numbers % period, zero), function.add("Equal", halves, zero)
        )
        one = np.ones(1, np.float32)
        places = function.add("CumSum", function.add("Expand", one, halves.shape(0, 2)), np.array(1))
        marked = function.where(resets, places, 0.0).expand(1)  # from 1 on; 0 is the start of the call
        size = EXCITATION_PERIOD
        latest = function.add("MaxPool", marked, kernel_shape=[size], pads=[size - 1, 0]).cast("int32")
        totals = function.concatenate([phase * zero, total], axis=1)
        start = function.add("GatherElements", totals, function.add("Squeeze", latest, np.array([1])), axis=1)
        phases = (total - start) % np.array(PHASE_STEPS, np.int32)
        function.set_state(
            "excitation", function.concatenate([halves.part(1, -1), phases.part(1, -1)], axis=1)
        )
        return phases

    def _noise(self, numbers: Value) -> list[Value]:
        """Return the phasors of white noise: real parts below `phasor_limit` and above, imaginary parts likewise."""
        phasors = random_phasors(self.config)
        table = self.function.fraction("phasors", np.hstack([phasors.real, phasors.imag]))
        below, above = self.config.phasor_bins, self.config.synthesis_bins - self.config.phasor_bins
        return table.take(numbers % np.array(PHASOR_PERIOD, np.int32)).split(below, above, below, above)

    def _mixed(self, made: Complex, low_bins: Complex, noise: Complex) -> Complex:
        """Return the phasors below `phasor_limit`: made ones, with the phase path and noise near the limit."""
        after, share = self.config.phasor_bins - 1 - self.config.phase_bins, noise_share(self.config)
        real, imaginary = (
            part + (low * PHASE_GAIN).pad(1, after) for part, low in zip(made, low_bins, strict=True)
        )
        real, imaginary = (
            part * (1 - share) + other * share
            for part, other in zip(_unit(real, imaginary), noise, strict=True)
        )
        return _unit(real, imaginary)


def _turned(pulses: Complex, excitation: list[Value], phase_unknown: Value) -> tuple[Complex, Value]:
    """Return what the excitation adds to the phasors and to the log-magnitudes."""
    (real, imaginary), (gain_real, gain_imaginary, sharpness) = pulses, excitation
    power, add = real * real + imaginary * imaginary, real.graph.add
    scale, gain_real = phase_unknown / add("Sqrt", power + EXCITATION_FLOOR), gain_real + EXCITATION_GAIN
    turned = (
        (gain_real * real - gain_imaginary * imaginary) * scale,
        (gain_real * imaginary + gain_imaginary * real) * scale,
    )
    return turned, sharpness * 0.5 * add("Log", power * (1 / EXCITATION_FLOOR) + 1.0)


def _expanded(low: Complex, log_gain: Value) -> Complex:
    """Undo the compression of the low bins, times a gain."""
    (real, imaginary), add = low, log_gain.graph.add
    power = add("Min", real * real + imaginary * imaginary + POWER_FLOOR, POWER_LIMIT)
    exponent = -PHASE_POWER / (1 + PHASE_POWER) / 2
    gain = add("Exp", log_gain.clip(*LOW_GAIN_RANGE)) * add("Pow", power, exponent)
    return real * gain, imaginary * gain


def _unit(real: Value, imaginary: Value) -> Complex:
    """Bring complex numbers to length one."""
    length = real.graph.add("Sqrt", real * real + imaginary * imaginary + PHASOR_FLOOR)
    return real / length, imaginary / length


def _twice(x: Value) -> Value:
    """Return each frame of [batch, frame, 1] twice: [batch, 2 frame, 1]."""
    return x.graph.concatenate([x, x]).reshape(0, -1, 1)


def _filtered(function: Function, config: CodecConfig, spectrum: Complex, codes: Value) -> Complex:
    """Apply the postfilter, at the strength for the codes that each frame has (`codec.network.decoder.Postfilter`)."""
    add, weights = function.add, postfilter_weights(config)
    counts = add("GreaterOrEqual", codes, np.array(0, np.int32)).cast("int32").sum(2, keep=True)
    strengths = [postfilter_strength(count) for count in range(config.num_codebooks + 1)]
    strength = _twice(function.value(np.array(strengths, np.float32)).take(counts))
    count = len(weights)
    sizes = (count, config.synthesis_bins - count) if count < config.synthesis_bins else (count,)
    real, imaginary = (part.split(*sizes) for part in spectrum)
    power = real[0] * real[0] + imaginary[0] * imaginary[0]
    rise = add("Log", power + POSTFILTER_FLOOR) @ postfilter_contrast(config) * strength
    before, after = (part.sum(2, keep=True) + POSTFILTER_FLOOR for part in (power, power * add("Exp", rise)))
    gain = add("Exp", (rise + add("Log", before / after) * weights) * 0.5)
    filtered = [function.concatenate([part[0] * gain, *part[1:]]) for part in (real, imaginary)]
    return filtered[0], filtered[1]


def _overlapped(function: Function, config: CodecConfig, spectrum: Complex) -> Value:
    """Return the audio of spectra, [batch, time, 1]."""
    window = synthesis_window(config) * np.sqrt(config.short_window) / config.short_window
    pieces = Fourier(config.short_window).irfft(*spectrum) * window.astype(np.float32)
    heads, tails = pieces.split(config.spectral_hop, config.spectral_hop)
    extended = function.extend("synthesis", tails, 1, config.spectral_hop)
    return (heads + extended.part(1, 0, -1)).reshape(0, -1, 1)
