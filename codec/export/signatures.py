r"""The codec as four functions for runtimes with no FFT, no lists of tensors and no hidden state.

The prediction runs along the frames of one second, and all seconds of a signal go through it side by side. A Fourier
transform of length n = a * b is two products with small matrices (Cooley and Tukey 1965):

    x as [a, b] -> columns times waves of length a -> turned by W^(j k) -> rows times waves of length b -> [b, a] as X

1920 = 40 * 48 and 960 = 30 * 32 cost a tenth of what the product with one large matrix does.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from keras import ops, tree

from codec.dsp import postfilter_strength
from codec.network.codec import Codec, CodecState
from codec.network.layers import first_largest
from codec.network.predictive_quantizer import PredictiveQuantizer
from codec.network.spectral import Analysis, Synthesis
from codec.network.streaming import State, Tensor

Named = dict[str, Tensor]
ENCODER_PARTS = ("analysis", "fine", "coarse")
DECODER_PARTS = ("coarse", "noise", "fine", "pulses", "synthesis")


class Graphs:
    """The four functions of a codec; it keeps the model and no state.

    Args:
        codec: the model.
        analysis: in place of the model's own, `ProductAnalysis` where there is no FFT.
        synthesis: likewise, `ProductSynthesis`.

    Shapes:
        audio: float32 [batch, time, 1], any time; of a step [batch, hop_length, 1]
        codes: int32 [batch, frame, codebook], all codebooks; -1 where a lower bitrate has none. Of a step one frame
        state: by name, [batch, ...], as `encoder_state` and `decoder_state` begin it
    """

    def __init__(self, codec: Codec, analysis: Analysis, synthesis: Synthesis) -> None:
        self.codec, self.config = codec, codec.config
        self.analysis, self.synthesis = analysis, synthesis

    def encode(self, audio: Tensor) -> Named:
        """Code a whole signal as a file has it: the prediction begins anew with each second."""
        config = self.config
        silence = self.codec.latency + -(ops.shape(audio)[1] + self.codec.latency) % config.hop_length
        audio = _lengthened(audio, silence)
        latents, _ = self._latents(audio, self.codec.encoder.initial_state(ops.shape(audio)[0]))
        seconds = self._seconds(latents)
        codes, _ = _Quantizer(self.codec.quantizer).encode(seconds, self._mean(seconds))
        return {"codes": self._frames(codes, latents)}

    def decode(self, codes: Tensor) -> Named:
        """Decode a whole signal; the first sample is that of the source."""
        seconds = self._seconds(codes)
        quantized, _ = _Quantizer(self.codec.quantizer).decode(seconds, self._mean(seconds))
        quantized = self._frames(quantized, codes)
        audio, _ = self._audio(quantized, codes, self.codec.decoder_state(ops.shape(codes)[0]).network)
        return {"audio": audio[:, self.codec.latency :]}

    def encode_step(self, audio: Tensor, named: Named) -> Named:
        """Code the next frame."""
        state = _packed(self.codec.encoder_state(1), named, ENCODER_PARTS)
        latents, network = self._latents(audio, state.network)
        latents = ops.reshape(latents, (-1, 1, latents.shape[-1]))  # one frame, and the graph is to know it
        codes, base = _Quantizer(self.codec.quantizer).encode(latents, state.base)
        return {"codes": codes, **_unpacked(CodecState(network, base), ENCODER_PARTS)}

    def decode_step(self, codes: Tensor, named: Named) -> Named:
        """Decode the next frame."""
        state = _packed(self.codec.decoder_state(1), named, DECODER_PARTS)
        quantized, base = _Quantizer(self.codec.quantizer).decode(codes, state.base)
        audio, network = self._audio(quantized, codes, state.network)
        return {"audio": audio, **_unpacked(CodecState(network, base), DECODER_PARTS)}

    def encoder_state(self, batch_size: int) -> Named:
        """The encoder's state of silence."""
        return _unpacked(self.codec.encoder_state(batch_size), ENCODER_PARTS)

    def decoder_state(self, batch_size: int) -> Named:
        """The decoder's state of silence, with a noise of its own in each item."""
        return _unpacked(self.codec.decoder_state(batch_size), DECODER_PARTS)

    def _latents(self, audio: Tensor, state: State) -> tuple[Tensor, State]:
        features, analysis_state = self.analysis.step(audio, state[0])
        latents, others = self.codec.encoder.latents(features, state[1:])
        return latents, (analysis_state, *others)

    def _audio(self, quantized: Tensor, codes: Tensor, state: State) -> tuple[Tensor, State]:
        spectrum, others = self.codec.decoder.spectrum(quantized, state[:-1])
        strengths = np.array([postfilter_strength(n) for n in range(codes.shape[-1] + 1)], np.float32)
        known = ops.sum(ops.cast(codes >= 0, "int32"), axis=-1, keepdims=True)  # [batch, frame, 1]
        strength = ops.repeat(ops.take(strengths, known), 2, axis=1)
        spectrum = self.codec.decoder.postfilter(spectrum, strength)
        audio, synthesis_state = self.synthesis.step(spectrum, state[-1])
        return audio, (*others, synthesis_state)

    def _mean(self, rows: Tensor) -> Tensor:
        return self.codec.quantizer.initial_state(ops.shape(rows)[0])

    def _seconds(self, x: Tensor) -> Tensor:
        """[batch, frame, dim] -> [batch * seconds, frames of a second, dim], filled up with zeros."""
        second = self.config.reset_interval
        x = _lengthened(x, -ops.shape(x)[1] % second)
        return ops.reshape(x, (-1, second, x.shape[-1]))

    def _frames(self, seconds: Tensor, like: Tensor) -> Tensor:
        """Seconds -> [batch, frame, dim], as many frames as `like` has."""
        batch, frames = ops.shape(like)[0], ops.shape(like)[1]
        return ops.reshape(seconds, (batch, -1, seconds.shape[-1]))[:, :frames]


class _Stages:
    """Some codebooks of a residual stack, [codebook, size, dim], made ready for the search once for all frames."""

    def __init__(self, books: Tensor) -> None:
        self.books, self.squares = ops.unstack(books, axis=0), ops.sum(books * books, axis=-1)
        self.tables, self.dim = [2 * ops.transpose(book) for book in self.books], books.shape[-1]

    def search(self, left: Tensor) -> tuple[Tensor, Tensor]:
        """Codes int32 [rows, stage] for rows [rows, dim], and what they leave of these."""
        if not self.books:  # of a model whose codebooks all code the base
            return ops.zeros((ops.shape(left)[0], 0), "int32"), left
        codes = []
        for stage, (book, table) in enumerate(zip(self.books, self.tables, strict=True)):
            code = first_largest(ops.matmul(left, table) - self.squares[stage])
            left = left - ops.take(book, code, axis=0)
            codes.append(code)
        return ops.stack(codes, axis=-1), left

    def look_up(self, codes: Tensor) -> Tensor:
        """Sum of the codewords, [rows, frame, stage] -> [rows, frame, dim]; -1 adds nothing."""
        total = ops.zeros((*ops.shape(codes)[:-1], self.dim))
        for stage, book in enumerate(self.books):
            code = codes[..., stage]
            known = ops.cast(code >= 0, "float32")[..., None]
            total = total + known * ops.take(book, ops.maximum(code, 0), axis=0)
        return total


class _Quantizer:
    """A PredictiveQuantizer that codes frame after frame without a list of tensors; it knows how many frames come."""

    def __init__(self, quantizer: PredictiveQuantizer) -> None:
        self.dim, self.count = quantizer.base_dim, quantizer.base_codebooks
        books = ops.convert_to_tensor(quantizer.codebooks)
        self.base, self.others = _Stages(books[: self.count, :, : self.dim]), _Stages(books[self.count :])
        self.prediction = ops.convert_to_tensor(quantizer.prediction)

    def encode(self, latents: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [rows, frame, codebook] of latents [rows, frame, dim], and the base [rows, base_dim] after them."""

        def follow(base: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
            codes, left = self.base.search(frame - ops.matmul(base, self.prediction))
            return frame - left, ops.concatenate([left, ops.cast(codes, "float32")], axis=-1)

        base, found = _follow(follow, base, latents[..., : self.dim], self.dim + self.count)
        left = ops.concatenate([found[..., : self.dim], latents[..., self.dim :]], axis=-1)
        others, _ = self.others.search(ops.reshape(left, (-1, latents.shape[-1])))
        others = ops.reshape(others, (-1, latents.shape[1], others.shape[-1]))
        return ops.concatenate([ops.cast(found[..., self.dim :], "int32"), others], axis=-1), base

    def decode(self, codes: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:
        """What codes [rows, frame, codebook] stand for, [rows, frame, dim], and the base after them."""

        def follow(base: Tensor, difference: Tensor) -> tuple[Tensor, Tensor]:
            base = ops.matmul(base, self.prediction) + difference
            return base, base

        differences = self.base.look_up(codes[..., : self.count])
        base, bases = _follow(follow, base, differences, self.dim)
        others = self.others.look_up(codes[..., self.count :])
        return ops.concatenate([bases + others[..., : self.dim], others[..., self.dim :]], axis=-1), base


def _follow(
    step: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], base: Tensor, frames: Tensor, width: int
) -> tuple[Tensor, Tensor]:
    """Run along frames [rows, frame, dim]: the last base, and what the steps gave, [rows, frame, width].

    LiteRT has loops, but no lists of tensors to fill in them; so each turn adds to its place in one of full size.
    """
    count = frames.shape[1]
    if count == 1:
        base, found = step(base, frames[:, 0])
        return base, found[:, None]
    places = np.eye(count, dtype=np.float32)[..., None]  # [turn, frame, 1]

    def turn(number: Tensor, base: Tensor, found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        base, new = step(base, ops.take(frames, number, axis=1))
        place = ops.take(ops.convert_to_tensor(places), number, axis=0)
        return number + 1, base, found + place * new[:, None]

    start = ops.zeros((ops.shape(frames)[0], count, width))
    _, base, found = ops.while_loop(lambda number, *_: number < count, turn, (0, base, start))
    return base, found


class Fourier:
    """The Fourier transform of real signals of one length, by matrix products."""

    def __init__(self, length: int) -> None:
        small = max(number for number in range(1, math.isqrt(length) + 1) if length % number == 0)
        large, self.bins = length // small, length // 2 + 1
        self.length, self.sizes = length, (small, large)
        rows = self.bins // small + 1  # of the result [large, small], as far as the bins go
        first = _waves(np.outer(np.arange(small), np.arange(small)), small)
        second = _waves(np.outer(np.arange(large), np.arange(rows)), large)
        turn = _waves(np.outer(np.arange(large), np.arange(small)), length)
        self.first = np.concatenate([first.real, first.imag], axis=1).astype(np.float32)
        self.second = np.block([[second.real, second.imag], [-second.imag, second.real]]).astype(np.float32)
        self.turn = turn.real.astype(np.float32), turn.imag.astype(np.float32)

    def rfft(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary part of the bins from zero to half the sample rate: [..., length] -> [..., bins]."""
        (small, large), (cosine, sine) = self.sizes, self.turn
        shape = (*ops.shape(x)[:-1], self.second.shape[1] // 2 * small)
        columns = ops.transpose(ops.reshape(x, (-1, small, large)), (0, 2, 1))
        real, imaginary = ops.split(ops.matmul(columns, self.first), 2, axis=-1)  # [n, large, small]
        turned = [real * cosine - imaginary * sine, real * sine + imaginary * cosine]
        rows = ops.concatenate([ops.transpose(part, (0, 2, 1)) for part in turned], axis=-1)
        parts = ops.split(ops.matmul(rows, self.second), 2, axis=-1)  # [n, small, rows]
        flat = (ops.reshape(ops.transpose(part, (0, 2, 1)), shape) for part in parts)
        real, imaginary = (part[..., : self.bins] for part in flat)
        return real, imaginary

    def irfft(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """The inverse, [..., bins] -> [..., length]: the transform of re + im tells it (Hartley 1942)."""
        ends = np.ones(self.bins, np.float32)
        ends[0] = ends[-1] = 0.0
        imaginary = imaginary * ends
        inner = slice(1, self.bins - 1)
        mirrored = ops.flip((real - imaginary)[..., inner], axis=-1)
        real, imaginary = self.rfft(ops.concatenate([real + imaginary, mirrored], axis=-1))
        back = ops.flip((real - imaginary)[..., inner], axis=-1)
        return ops.concatenate([real + imaginary, back], axis=-1) / self.length


def _waves(turns: np.ndarray, length: int) -> np.ndarray:
    return np.exp(-2j * np.pi * (turns % length) / length)


class ProductAnalysis(Analysis):
    """Analysis without an FFT."""

    def rfft(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        return Fourier(frames.shape[-1]).rfft(frames)


class ProductSynthesis(Synthesis):
    """Synthesis without an FFT."""

    def irfft(self, real: Tensor, imaginary: Tensor) -> Tensor:
        return Fourier(self.config.short_window).irfft(real, imaginary)


def _lengthened(x: Tensor, count: Tensor) -> Tensor:
    """[batch, time, any] with `count` steps of zeros, which may depend on a shape, put behind."""
    silence = ops.zeros((ops.shape(x)[0], count, x.shape[-1]), x.dtype)
    return ops.concatenate([x, silence], axis=1)


def _names(parts: tuple[str, ...], state: CodecState) -> list[str]:
    """A name for each tensor of a state, in their order: that of its part, with a number where it has several."""
    names = []
    for part, tensors in zip((*parts, "base"), (*state.network, state.base), strict=True):
        count = len(tree.flatten(tensors))
        names += [part] if count == 1 else [f"{part}_{number}" for number in range(count)]
    return names


def _unpacked(state: CodecState, parts: tuple[str, ...]) -> Named:
    return dict(zip(_names(parts, state), tree.flatten(state), strict=True))


def _packed(like: CodecState, named: Named, parts: tuple[str, ...]) -> CodecState:
    return tree.pack_sequence_as(like, [named[name] for name in _names(parts, like)])
