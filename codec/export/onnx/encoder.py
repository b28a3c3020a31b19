"""Audio to codes as a graph: the encoder and the search for codes, as `codec.runtime` with one candidate."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import NamedTuple

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
)
from codec.export.onnx.fourier import Fourier
from codec.export.onnx.function import Function
from codec.export.onnx.graph import Graph, Value
from codec.export.onnx.layers import Part, Weights
from codec.runtime.encoder import low_bin_matrix


def write_encoder(function: Function, config: CodecConfig, parts: Mapping[str, Weights]) -> None:
    """Write the graph that codes audio into a function."""
    audio = function.input("audio", "float32", "batch", "time", 1)
    resets = function.input("resets", "bool", "batch", "frame")
    num_codebooks = function.input("num_codebooks", "int32", 1)
    latents = _Latents(function, config, parts["encoder"]).of(audio)
    codes = _Search(function, config, parts["quantizer"]).codes(latents, resets, num_codebooks)
    function.output("codes", codes, "int32", "batch", "frame", config.num_codebooks)


class _Latents:
    """Audio to latents."""

    def __init__(self, function: Function, config: CodecConfig, weights: Weights) -> None:
        self.function, self.config, self.weights = function, config, weights
        self.part = Part(function, weights)

    def of(self, audio: Value) -> Value:
        """Return the latents of audio: [batch, time, 1] -> [batch, frame, latent_dim]."""
        config, layers = self.config, architecture.encoder_layers(self.config)
        frames = self._frames(audio)
        spectrum, energies = self._long_features(frames)
        low_bins = self._low_bins(frames.part(2, 2 * config.spectral_hop))
        features = self.function.concatenate([*spectrum, energies * np.float32(BAND_SCALE)])
        coded = self.part.run(layers.network, features, 2 * config.spectrum_bins + config.mel_bands)
        paths, sizes = layers.paths, (config.envelope_dim, config.detail_dim)
        pairs = energies.reshape(0, -1, 2 * config.mel_bands)
        envelope, detail = self.part.dense(pairs, paths.envelope, paths.detail).split(*sizes)
        phase = self.part.dense(low_bins.reshape(0, -1, 4 * config.phase_bins), paths.phase)
        return self._standardized(coded + self.function.concatenate([envelope, phase, detail]))

    def _frames(self, audio: Value) -> Value:
        """Return the long windows that end in each block, [batch, spectral frame, samples]."""
        config, hop = self.config, self.config.spectral_hop
        # A negative number modulo the frame gives what is missing of the last one.
        missing = (np.zeros(1, np.int64) - audio.shape(1, 2)) % np.array([config.hop_length])
        ends = self.function.concatenate([np.zeros(3, np.int64), missing], axis=0)
        full = self.function.add("Pad", audio.reshape(0, -1), ends)
        samples = self.function.concatenate([self.function.state("analysis", "float32", 3 * hop), full])
        self.function.set_state("analysis", samples.part(1, -3 * hop))
        blocks = samples.reshape(0, -1, hop)
        return self.function.concatenate([blocks.part(1, place, place - 3 or None) for place in range(4)])

    def _long_features(self, frames: Value) -> tuple[tuple[Value, Value], Value]:
        """Return the compressed bins below `spectrum_limit`, and the log energies of all bands."""
        real, imaginary = Fourier(self.config.long_window).rfft(frames * analysis_window(self.config))
        power = (real * real + imaginary * imaginary) @ band_weights(self.config)
        bins = self.config.spectrum_bins
        spectrum = _compressed(real.part(2, 0, bins), imaginary.part(2, 0, bins), SPECTRUM_POWER)
        return spectrum, self.function.add("Log", power + BAND_FLOOR) * 0.5

    def _low_bins(self, frames: Value) -> Value:
        """Return the compressed low bins of the short window, real parts then imaginary parts."""
        bins = self.config.phase_bins
        waves = low_bin_matrix(self.config).view(np.complex64)
        real, imaginary = (frames @ np.hstack([waves.real, waves.imag])).split(bins, bins)
        return self.function.concatenate(_compressed(real, imaginary, PHASE_POWER))

    def _standardized(self, latents: Value) -> Value:
        """Center and scale the latents."""
        dims, targets = zip(*latent_blocks(self.config), strict=True)
        variances = np.asarray(self.weights["standardize.variance"], np.float32)
        scale = np.repeat(np.sqrt(variances / np.array(targets, np.float32) + VARIANCE_FLOOR), dims)
        mean = np.asarray(self.weights["standardize.mean"], np.float32)
        return (latents - mean) / scale.astype(np.float32)


class _Search:
    """Latents to codes: each codebook takes the codeword nearest to what the ones before it leave."""

    def __init__(self, function: Function, config: CodecConfig, weights: Weights) -> None:
        self.function, self.config = function, config
        self.codebooks = np.asarray(weights["codebooks"])
        self.prediction = function.table("prediction", weights["prediction"])

    def codes(self, latents: Value, resets: Value, num_codebooks: Value) -> Value:
        """Return codes int32 [batch, frame, codebook], -1 from `num_codebooks` on."""
        config, dim = self.config, self.config.envelope_dim
        codes, bases = self._base(latents.part(2, 0, dim), resets)
        rest = self.function.concatenate([latents.part(2, 0, dim) - bases, latents.part(2, dim)])
        rows, groups = rest.reshape(-1, config.latent_dim), [codes.reshape(-1, config.base_codebooks)]
        for stages in self._groups():
            codes, rows = self._group(rows, num_codebooks, stages)
            groups.append(codes)
        wanted = self.function.add("Less", np.arange(config.num_codebooks, dtype=np.int32), num_codebooks)
        codes = self.function.where(wanted, self.function.concatenate(groups), np.array(-1, np.int32))
        shape = self.function.concatenate([latents.shape(0, 2), np.array([config.num_codebooks])], axis=0)
        return self.function.add("Reshape", codes, shape)

    def _base(self, latents: Value, resets: Value) -> tuple[Value, Value]:
        """Return the codes of the base, and the decoded base: [batch, frame, codebook] and [batch, frame, dim]."""
        dim = self.config.envelope_dim
        books = [self._codebook(stage, dim) for stage in range(self.config.base_codebooks)]

        def step(body: Graph, state: list[Value], frame: list[Value]) -> tuple[list[Value], list[Value]]:
            (base,), (target, reset) = state, frame
            before = body.where(reset, 0.0, base)
            difference = body.add("Gemm", before, self.prediction, target, alpha=-1.0)
            codes, rest = _nearest(body, difference, books)
            return [target - rest], [target - rest, *codes]

        before = self.function.state("base", "float32", dim)
        frames = [(latents, "float32"), (resets.expand(2), "bool")]
        outputs = ["float32", *["int64"] * len(books)]
        after, bases, *codes = self.function.scan(step, [(before, "float32")], frames, outputs)
        self.function.set_state("base", after)
        return _stacked(codes), bases

    def _groups(self) -> list[range]:
        """Return the other codebooks in groups: those that each higher bitrate adds."""
        config = self.config
        ends = {config.base_codebooks, config.core_codebooks, *config.shipped_codebooks, config.num_codebooks}
        rising = sorted(end for end in ends if config.base_codebooks <= end <= config.num_codebooks)
        return [range(start, stop) for start, stop in itertools.pairwise(rising)]

    def _group(self, rows: Value, num_codebooks: Value, stages: range) -> tuple[Value, Value]:
        """Return the codes of a group and what it leaves of the rows; it is not searched if no code is wanted."""
        core = stages.stop <= self.config.core_codebooks
        dim = self.config.core_dim if core else self.config.latent_dim
        books = [self._codebook(stage, dim) for stage in stages]

        def search(body: Graph) -> list[Value]:
            coded = body.value(rows)
            codes, left = _nearest(body, coded.part(1, 0, dim), books)
            return [_stacked(codes), body.concatenate([left, coded.part(1, dim)])]

        def leave(body: Graph) -> list[Value]:
            shape = body.concatenate([body.value(rows).shape(0, 1), np.array([len(stages)])], axis=0)
            return [body.add("Expand", np.full(1, -1, np.int32), shape), rows]

        wanted = self.function.add("Greater", num_codebooks, np.array([stages.start], np.int32))
        codes, rest = self.function.choose(wanted, search, leave, ["int32", "float32"])
        return codes, rest

    def _codebook(self, stage: int, dim: int) -> _Codebook:
        words = self.function.table(f"codebook_{stage + 1}", self.codebooks[stage, :, :dim])
        squares = self.function.add("ReduceSumSquare", words, np.array([1]), keepdims=0)
        return _Codebook(words, squares)


class _Codebook(NamedTuple):
    words: Value  # [codebook_size, dim]
    squares: Value  # [codebook_size], |c|^2


def _nearest(graph: Graph, rows: Value, books: list[_Codebook]) -> tuple[list[Value], Value]:
    """Return the codes of rows [rows, dim] in each codebook, int64 [rows], and what they leave."""
    codes = []
    for book in books:
        distances = graph.add("Gemm", rows, book.words, book.squares, alpha=-2.0, transB=1)
        codes.append(graph.add("ArgMin", distances, axis=1, keepdims=0))
        rows = rows - graph.add("Gather", book.words, codes[-1], axis=0)
    return codes, rows


def _stacked(codes: list[Value]) -> Value:
    """Return codes [...] of each codebook as int32 [..., codebook]."""
    return codes[0].graph.concatenate([code.expand(-1) for code in codes]).cast("int32")


def _compressed(real: Value, imaginary: Value, exponent: float) -> tuple[Value, Value]:
    """Return X |X|^exponent."""
    power = real * real + imaginary * imaginary + MAGNITUDE_FLOOR
    gain = real.graph.add("Pow", power, exponent / 2)
    return real * gain, imaginary * gain
