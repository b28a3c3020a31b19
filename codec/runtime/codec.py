r"""The codec in numpy: the network of `codec.network.codec` without a framework, for coding alone.

Importing TensorFlow takes longer than coding a minute of sound, so `lamella compress` and `decompress` do without. This
gives the samples of the Keras model within 1e-4 and, with one candidate, its codes, near ties apart. FFTs are in
float64: quicker in numpy.

    audio -> features -> network at 100 Hz -> at 50 Hz -> + linear paths -> latents -> quantizer -> codes
    codes -> quantizer -> network at 50 Hz -> at 100 Hz -> spectrum -> overlap-add -> audio

Why not on LiteRT, which gives the same codes: of the time this takes it took 1.6 to encode and 0.9 to decode a file,
in 226 MiB in place of 166, though 0.75 to start and, on a busy machine, 0.7 to 0.8 for a live step (`python
tests/benchmarks/speed.py --litert FOLDER`, with AVX-512 and a network two thirds larger). With shapes fixed at
conversion it took as long for a file as this, and half as long for a live step. Only TensorFlow converts to it, and
training on JAX does without; what is exported has no search (`codec.runtime.beam_search`); its
package is 60 MB, and not for every
platform.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from codec.config import CodecConfig
from codec.dsp import (
    BAND_FLOOR,
    EXCITATION_FLOOR,
    LOG_MAGNITUDE_RANGE,
    LOW_GAIN_RANGE,
    MAGNITUDE_FLOOR,
    NOISE_APART,
    NOISE_PERIOD,
    PHASE_GAIN,
    PHASE_POWER,
    PHASOR_FLOOR,
    PITCHES,
    POSTFILTER_FLOOR,
    POWER_FLOOR,
    POWER_LIMIT,
    SPECTRUM_POWER,
    analysis_window,
    band_interpolation,
    band_weights,
    noise_share,
    noise_table,
    postfilter_contrast,
    postfilter_strength,
    postfilter_weights,
    random_phasors,
    synthesis_window,
)
from codec.runtime.beam_search import CANDIDATES, BeamSearch
from codec.runtime.excitation import NumpyExcitation
from codec.runtime.folding import folded_decoder, folded_encoder
from codec.runtime.layers import Step, StreamState, Weights, normalized, windows


class NumpyCodec:
    """A trained codec that codes and decodes, with the methods of `Codec` that streams use.

    Shapes:
        audio: float32 [batch, time, 1] in -1 .. 1, time a multiple of `hop_length`
        codes: int32 [batch, frame, codebook]

    Args:
        weights: by the names in a preset, float16 as there or float32; `codec.architecture` says which.
        candidates: of the search for codes: more find closer codewords in more time, see `codec.runtime.beam_search`.
        prior: what its codes are written by, a `codec.bitstream.prior.Prior`, or None.
    """

    seconds_at_once = 8  # of all channels together: 400 rows are multiplied more quickly than 50, a row

    def __init__(
        self, config: CodecConfig, weights: Weights, candidates: int = CANDIDATES, prior: Any = None
    ) -> None:
        self.config, self.weights, self.prior, self.latency = config, weights, prior, config.spectral_hop
        self._quantizer = _Quantizer(config, _of(weights, "quantizer."), candidates)
        self.codebooks = self._quantizer.books

    @functools.cached_property  # whoever only decodes has no use for it, and the other way round
    def _encoder(self) -> _Encoder:
        return _Encoder(self.config, _of(self.weights, "encoder."))

    @functools.cached_property
    def _decoder(self) -> _Decoder:
        return _Decoder(self.config, _of(self.weights, "decoder."))

    def encoder_state(self, batch_size: int) -> StreamState:
        """The encoder's state of silence."""
        return {"base": np.zeros((batch_size, self.config.envelope_dim), np.float32)}

    def decoder_state(self, batch_size: int, first_frame: int = 0) -> StreamState:
        """The decoder's state of silence, with the noise of code frame `first_frame`, a different one in each item."""
        places = 2 * first_frame + NOISE_APART * np.arange(batch_size)
        return {**self.encoder_state(batch_size), "noise": places % NOISE_PERIOD}

    def reset_prediction(self, state: StreamState) -> StreamState:
        """The state with the prediction begun anew: the network goes on, but no code hangs on those before it."""
        return {**state, "base": np.zeros_like(state["base"])}

    def encode_step(
        self, audio: np.ndarray, state: StreamState, num_codebooks: int
    ) -> tuple[np.ndarray, StreamState]:
        """Code the next block: [batch, n * hop_length, 1] -> [batch, n, num_codebooks].

        The prediction goes on from the state, and in a longer step begins anew with each second of it but the first.
        """
        step = Step(self._encoder.weights, state)
        return self._quantizer.encode(self._encoder.latents(step, audio), step, num_codebooks), step.after

    def decode_step(self, codes: np.ndarray, state: StreamState) -> tuple[np.ndarray, StreamState]:
        """Decode [batch, n, codebook], of lost frames [batch, n, 0] -> [batch, n * hop_length, 1]; seconds as above."""
        step = Step(self._decoder.weights, state)
        strength = postfilter_strength(codes.shape[-1])
        return self._decoder.audio(step, self._quantizer.decode(codes, step), strength), step.after


def _of(weights: Weights, part: str) -> Weights:
    """The weights of one part, as float32."""
    return {name: weight.astype(np.float32) for name, weight in weights.items() if name.startswith(part)}


class _Encoder:
    """Audio to latents."""

    def __init__(self, config: CodecConfig, weights: Weights) -> None:
        self.config, self.weights = config, folded_encoder(config, weights)
        self.window, self.bands = analysis_window(config).astype(np.float64), band_weights(config)
        self.low_bins = _low_bins(config)

    def latents(self, step: Step, audio: np.ndarray) -> np.ndarray:
        features = [self._features(frames) for (frames,) in _seconds(self.config, self._frames(step, audio))]
        spectrum, energies, low = (np.concatenate(parts, axis=1) for parts in zip(*features, strict=True))
        fine = step.dense("encoder.fine.layers.0.layer", np.concatenate([spectrum, energies], axis=-1))
        fine = step.block("encoder.fine.layers.2", step.norm("encoder.fine.layers.1.layer", fine))
        last = 1 + self.config.encoder_blocks
        coarse = step.dense("encoder.coarse.layers.0.layer", _pair(fine))
        coarse = step.blocks("encoder.coarse.layers", range(1, last), coarse)
        return step.dense(
            "encoder.latents", np.concatenate([normalized(coarse), _pair(energies), _pair(low)], axis=-1)
        )

    def _frames(self, step: Step, audio: np.ndarray) -> np.ndarray:
        """The long windows that end in each block, [batch, spectral frame, samples]."""
        hop = self.config.spectral_hop
        samples = step.extend("analysis", audio[..., 0].astype(np.float32), 3 * hop)
        blocks = samples.reshape(len(samples), -1, hop)
        return windows(blocks, 4).reshape(len(samples), -1, 4 * hop)

    def _features(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compressed bins, log energies of the bands, compressed low bins: each [batch, spectral frame, features]."""
        config = self.config
        long = np.fft.rfft(frames * self.window).astype(np.complex64)
        low = (frames[..., 2 * config.spectral_hop :] @ self.low_bins).view(np.complex64)
        energies = 0.5 * np.log(_power(long) @ self.bands + np.float32(BAND_FLOOR))
        spectrum = _compress(long[..., : config.spectrum_bins], SPECTRUM_POWER)
        return spectrum, energies, _compress(low, PHASE_POWER)


def _low_bins(config: CodecConfig) -> np.ndarray:
    """The few bins of the phase path, windowed, as a matrix: [short_window, real and imaginary part of each bin]."""
    times, bins = np.arange(config.short_window), np.arange(1, 1 + config.phase_bins)
    waves = np.exp(-2j * np.pi / config.short_window * np.outer(times, bins))
    waves *= synthesis_window(config)[:, None] / np.sqrt(config.short_window)
    return waves.astype(np.complex64).view(np.float32)


class _Quantizer:
    """Latents to codes and back, as PredictiveQuantizer does it."""

    def __init__(self, config: CodecConfig, weights: Weights, candidates: int) -> None:
        self._candidates = candidates
        self.base_codebooks, self.base_dim = config.base_codebooks, config.envelope_dim
        self.core_codebooks, self.core_dim = config.core_codebooks, config.core_dim
        self.second = config.reset_interval
        self.books, self.prediction = weights["quantizer.codebooks"], weights["quantizer.prediction"]

    @functools.cached_property
    def _beam(self) -> BeamSearch:
        return BeamSearch(self.books, self._candidates)

    def encode(self, latents: np.ndarray, step: Step, num_codebooks: int) -> np.ndarray:
        codes = np.empty((*latents.shape[:2], num_codebooks), np.int32)
        first, dim, left = min(num_codebooks, self.base_codebooks), self.base_dim, latents.copy()
        base, seconds = self._begun(step, latents), latents.shape[1] // self.second
        whole = slice(seconds * self.second)  # then what is left of a second
        for frames, begun in ((whole, base[:, :seconds]), (slice(whole.stop, None), base[:, seconds:])):
            if begun.shape[1]:
                targets = latents[:, frames, :dim]
                rows = targets.reshape(-1, targets.shape[1] // begun.shape[1], dim)
                found = self._beam.follow(rows, begun.reshape(-1, dim), self.prediction, range(first))
                codes[:, frames, :first] = found.codes.reshape(*targets.shape[:2], first)
                left[:, frames, :dim] -= found.bases.reshape(targets.shape)
        step.after["base"] = latents[:, -1, :dim] - left[:, -1, :dim]
        coded = self.core_dim if num_codebooks <= self.core_codebooks else left.shape[-1]
        others = self._beam.search(left[..., :coded].reshape(-1, coded), range(first, num_codebooks))
        codes[..., first:] = others.reshape(*codes.shape[:2], -1)
        return codes

    def decode(self, codes: np.ndarray, step: Step) -> np.ndarray:
        dim, first = self.base_dim, self.base_codebooks
        words = self.books[np.arange(codes.shape[-1]), codes]  # [batch, frame, codebook, latent_dim]
        total = np.add.reduce(words[:, :, first:], axis=2)
        bases = np.add.reduce(words[:, :, :first, :dim], axis=2)  # at first differences from those before
        base = self._begun(step, codes)
        for frames in self._lockstep(codes):
            bases[:, frames] += base[:, : bases[:, frames].shape[1]] @ self.prediction
            base = bases[:, frames]
        step.after["base"] = bases[:, -1].copy()
        total[..., :dim] += bases
        return total

    def _begun(self, step: Step, rows: np.ndarray) -> np.ndarray:
        """Where the prediction of each second of a step begins, [batch, second, base_dim]; the first goes on."""
        seconds = -(-rows.shape[1] // self.second)
        base = np.zeros((len(rows), seconds, self.base_dim), np.float32)
        base[:, 0] = step.before["base"]
        return base

    def _lockstep(self, rows: np.ndarray) -> Iterator[slice]:
        """The first frames of all seconds of a step, then the second ones ..: seconds know nothing of each other."""
        return (slice(frame, None, self.second) for frame in range(min(self.second, rows.shape[1])))


class _Decoder:
    """Quantized latents to audio."""

    def __init__(self, config: CodecConfig, weights: Weights) -> None:
        self.config, self.weights = config, folded_decoder(config, weights)
        directions = 2 * config.phasor_bins
        sizes = (config.synthesis_bins, directions, config.phase_bins, PITCHES + 1, directions)
        self.head_ends = tuple(itertools.accumulate(sizes))
        self.noise = noise_table(config.noise_channels) @ weights["decoder.noise_map.kernel"]
        self.directions, self.noise_share = random_phasors(config), noise_share(config)
        self.interpolation = band_interpolation(config)
        self.pulses = NumpyExcitation(config)
        self.contrast, self.emphasized = postfilter_contrast(config), postfilter_weights(config)
        self.window = (synthesis_window(config) * np.sqrt(config.short_window)).astype(np.float32)

    def audio(self, step: Step, latents: np.ndarray, strength: float) -> np.ndarray:
        config, last = self.config, 1 + self.config.decoder_blocks
        coarse = step.conv("decoder.coarse.layers.0.conv", latents)
        coarse = step.blocks("decoder.coarse.layers", range(1, last), coarse)
        fine = _split(step.dense(f"decoder.coarse.layers.{last}.layer", coarse))
        numbers = self._frame_numbers(step, fine.shape[1])
        fine += self.noise[numbers]
        fine = step.blocks("decoder.fine.layers", range(config.decoder_fine_blocks), fine)
        energies, low = _cut(_split(step.dense("decoder.maps", latents)), config.mel_bands)
        phase = latents[..., config.envelope_dim : config.core_dim]
        unknown = np.repeat(np.exp(-np.einsum("btd,btd->bt", phase, phase)), 2, axis=1)
        parts = _seconds(config, normalized(fine), energies, low.view(np.complex64), unknown, numbers)
        pieces = [self._pieces(self._postfilter(self._spectrum(step, *part), strength)) for part in parts]
        return self._overlapped(step, np.concatenate(pieces, axis=1))

    def _frame_numbers(self, step: Step, count: int) -> np.ndarray:
        """Numbers of the spectral frames, which tell the noise: [batch, spectral frame]."""
        first = step.before["noise"]
        step.after["noise"] = (first + count) % NOISE_PERIOD
        return (first[:, None] + np.arange(count)) % NOISE_PERIOD

    def _spectrum(
        self,
        step: Step,
        fine: np.ndarray,
        energies: np.ndarray,
        low: np.ndarray,
        unknown: np.ndarray,
        numbers: np.ndarray,
    ) -> np.ndarray:
        """The head: complex [batch, spectral frame, synthesis_bins]."""
        config, low_bins = self.config, slice(1, 1 + self.config.phase_bins)
        log_magnitude, directions, log_gain, logits, gain, sharpness = _cut(
            step.dense("decoder.head", fine), *self.head_ends
        )
        pulses = self.pulses.step(step, logits, numbers)
        power = _power(pulses)
        log_magnitude += energies @ self.interpolation
        log_magnitude[..., : config.phasor_bins] += sharpness * np.log1p(power / np.float32(EXCITATION_FLOOR))
        pulses *= gain.view(np.complex64)
        pulses *= unknown[..., None] / np.sqrt(power + np.float32(EXCITATION_FLOOR))
        made = directions.view(np.complex64) + pulses
        made[..., low_bins] += np.float32(PHASE_GAIN) * low
        spectrum = self.directions[numbers % len(self.directions)]
        below = spectrum[..., : made.shape[-1]]
        made = _unit(made)
        made += self.noise_share * (below - made)
        below[...] = _unit(made)
        spectrum *= _exp_within(log_magnitude, *LOG_MAGNITUDE_RANGE)
        gain = _exp_within(log_gain, *LOW_GAIN_RANGE)
        exponent = -PHASE_POWER / (1 + PHASE_POWER) / 2
        spectrum[..., low_bins] += low * gain * np.minimum(_power(low) + POWER_FLOOR, POWER_LIMIT) ** exponent
        return spectrum

    def _postfilter(self, spectrum: np.ndarray, strength: float) -> np.ndarray:
        """As `codec.network.decoder.Postfilter`, in place."""
        low = spectrum[..., : len(self.emphasized)]
        power = _power(low)
        rise = np.log(power + np.float32(POSTFILTER_FLOOR)) @ self.contrast
        rise *= np.float32(strength)
        before = power.sum(axis=-1, keepdims=True) + np.float32(POSTFILTER_FLOOR)
        after = (power * np.exp(rise)).sum(axis=-1, keepdims=True) + np.float32(POSTFILTER_FLOOR)
        rise += self.emphasized * np.log(before / after)
        low *= np.exp(np.float32(0.5) * rise)
        return spectrum

    def _pieces(self, spectrum: np.ndarray) -> np.ndarray:
        """Windowed sound of each spectrum, [batch, spectral frame, samples]."""
        spectrum = spectrum.astype(np.complex128)
        return np.fft.irfft(spectrum, n=self.config.short_window).astype(np.float32) * self.window

    def _overlapped(self, step: Step, pieces: np.ndarray) -> np.ndarray:
        hop = self.config.spectral_hop
        tails = step.extend("synthesis", pieces[..., hop:], 1)
        return (pieces[..., :hop] + tails[:, :-1]).reshape(len(pieces), -1, 1)


def _seconds(config: CodecConfig, *parts: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """[batch, spectral frame, ...] a second at a time, so that tables of spectra fit the processor's cache."""
    second = 2 * config.reset_interval
    for start in range(0, parts[0].shape[1], second):
        yield tuple(part[:, start : start + second] for part in parts)


def _unit(x: np.ndarray) -> np.ndarray:
    """Complex numbers brought to length one."""
    return x / np.sqrt(_power(x) + np.float32(PHASOR_FLOOR))


def _exp_within(x: np.ndarray, least: float, most: float) -> np.ndarray:
    """The exponential of what is limited; `np.clip` takes several times as long on a few numbers."""
    return np.exp(np.minimum(np.maximum(x, np.float32(least)), np.float32(most)))


def _power(x: np.ndarray) -> np.ndarray:
    return x.real * x.real + x.imag * x.imag


def _compress(x: np.ndarray, power: float) -> np.ndarray:
    """X |X|^power, real and imaginary parts side by side."""
    return (x * (_power(x) + np.float32(MAGNITUDE_FLOOR)) ** np.float32(power / 2)).view(np.float32)


def _cut(x: np.ndarray, *ends: int) -> list[np.ndarray]:
    """The parts of the last axis that end at `ends`, and the rest; `np.split` takes four times as long."""
    return [x[..., start:end] for start, end in itertools.pairwise((0, *ends, None))]


def _pair(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1, 2 * x.shape[-1])


def _split(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1, x.shape[-1] // 2)
