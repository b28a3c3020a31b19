r"""The prior: how likely each next code is, given those before it in the chunk; in whole numbers, so the same anywhere.

A chunk's codes come as [frame][codebook][channel], channel fastest; each channel has a context of its own. From the
codes before it a *context* is made, of whole numbers in steps of 1/16 of a latent:

    base       sum of the codewords of the base codebooks so far in this frame, on top of what the frame before
               predicts: floor((its base @ prediction) / 2^12 + 1/2), limited to -2047 .. 2047; 0 in the frames
               0, restart_frames, 2 restart_frames, .. of the chunk                         [base_dim]
    before, earlier   the whole bases one and two frames ago, 0 before the chunk            [base_dim] each
    rest       sum of the codewords of the other codebooks so far in this frame             [dim]
    past       the same one frame ago, with the codebook that comes next, 0 before the chunk [dim]

A network of each codebook's own makes of it the logarithms of the likelihoods, in steps of 2^-shift:

    context = (16 in the first frame, else 0; base; before; earlier; rest; |rest|; past; |past|)
    hidden1 = limit(floor((context @ hidden1.kernel + hidden1.bias) / 2^hidden1.shift), 0, 255)
    hidden2 = limit(floor((hidden1 @ hidden2.kernel + hidden2.bias) / 2^hidden2.shift), 0, 255)
    scores  = hidden2 @ output.kernel + output.bias                                         [codebook_size]

and these become intervals of 0 .. 2^16 for the range coder, none of them empty:

    gap     = floor((largest score - score) / 2^output.shift)             in steps of 1/256 of a factor of two
    weight  = floor(2^(16 - gap / 256)), 0 where gap is 4096 or more
    start   = code + floor(sum of the weights of smaller codes * (2^16 - codebook_size) / sum of all weights)

A network of floats would give other rounding on another machine, and then other codes. Here all sums are whole numbers
below 2^53 in float64, below 2^24 in float32, so that none is ever rounded, whatever the order of adding. The limits of
`_LAYOUT` and the shapes see to that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.rangecoder import TOTAL, RangeDecoder, RangeEncoder

Array = NDArray[np.integer]
Floats = NDArray[np.floating]  # whole numbers all the same

STEPS_PER_UNIT = 16  # of the codewords and all that is made of them
PREDICTION_BITS = 12
ACTIVATION_BITS = 8
SCORE_BITS = 8  # of a factor of two
BASE_LIMIT = 2047

_LAYOUT = {  # type and shape by the names of the dimensions
    "codewords": (np.int8, ("codebooks", "size", "dim")),
    "prediction": (np.int16, ("base", "base")),
    "base_codebooks": (np.int32, ()),
    "restart_frames": (np.int32, ()),
    "hidden1.kernel": (np.int16, ("codebooks", "context", "wide")),
    "hidden1.bias": (np.int32, ("codebooks", "wide")),
    "hidden1.shift": (np.int32, ("codebooks",)),
    "hidden2.kernel": (np.int16, ("codebooks", "wide", "narrow")),
    "hidden2.bias": (np.int32, ("codebooks", "narrow")),
    "hidden2.shift": (np.int32, ("codebooks",)),
    "output.kernel": (np.int8, ("codebooks", "narrow", "size")),
    "output.bias": (np.int32, ("codebooks", "size")),
    "output.shift": (np.int32, ("codebooks",)),
}
_MOST = {"size": 2**14, "dim": 2**10, "wide": 2**10, "narrow": 2**7}
MAX_SHIFT, MAX_BIAS = 30, 2**22
_LIMITS = {  # smallest and largest value, where not all of a type are good
    "base_codebooks": (1, 2**8),
    "restart_frames": (1, 2**16),
    "hidden1.shift": (0, MAX_SHIFT),
    "hidden2.shift": (0, MAX_SHIFT),
    "output.shift": (0, MAX_SHIFT),
    "output.bias": (-MAX_BIAS, MAX_BIAS),
}


class Context:
    """What the codes so far tell about the next, for rows that go side by side: channels, or chunks, or both.

    Args:
        codewords: [codebook, codebook_size, dim], whole numbers, in steps of 1/16.
        prediction: [base_dim, base_dim], whole numbers, in steps of 2^-12.
        base_codebooks: codebooks that code the base.
        restart_frames: frames after which its prediction begins anew.
    """

    def __init__(self, codewords: Array, prediction: Array, base_codebooks: int, restart_frames: int) -> None:
        self.codewords, self.prediction = codewords.astype(np.float32), prediction.astype(np.float64)
        self.base_codebooks, self.restart_frames = base_codebooks, restart_frames
        self.base_dim, self.dim = len(prediction), codewords.shape[-1]
        self.size = 1 + 3 * self.base_dim + 4 * self.dim  # of a context

    def predict(self, base: Floats) -> Floats:
        """The base of the next frame as [row, base_dim], but for where it begins anew."""
        unit = 1 << PREDICTION_BITS
        whole = np.floor((base @ self.prediction + unit // 2) / unit)
        return np.clip(whole, -BASE_LIMIT, BASE_LIMIT).astype(np.float32)

    def of_codes(self, codes: Array) -> Iterator[Floats]:
        """The contexts of known codes [row, frame, codebook]: [row, frame, size], of one codebook after another."""
        rows, frames, codebooks = codes.shape
        predicted, bases = self._bases(codes)
        first = np.zeros((rows, frames, 1), np.float32)
        first[:, :1] = STEPS_PER_UNIT
        before, base = (first, _earlier(bases), _earlier(_earlier(bases))), predicted
        rest = np.zeros((rows, frames, self.dim), np.float32)
        for codebook in range(codebooks):
            words = self.codewords[codebook, codes[..., codebook]]
            if codebook < self.base_codebooks:
                yield assemble(before, base, rest, rest)
                base = base + words[..., : self.base_dim]
            else:
                yield assemble(before, base, rest, _earlier(rest + words))
                rest = rest + words

    def _bases(self, codes: Array) -> tuple[Floats, Floats]:
        """What is predicted of each frame's base, and the base: [row, frame, base_dim] each."""
        count = min(self.base_codebooks, codes.shape[-1])
        parts = [self.codewords[k, codes[..., k], : self.base_dim] for k in range(count)]
        bases = np.sum(parts, axis=0)
        predicted = np.zeros_like(bases)
        for frame in range(1, codes.shape[1]):
            if frame % self.restart_frames:
                predicted[:, frame] = self.predict(bases[:, frame - 1])
                bases[:, frame] += predicted[:, frame]
        return predicted, bases


def assemble(before: tuple[Floats, ...], base: Floats, rest: Floats, past: Floats) -> Floats:
    """Put a context together; `before` is what tells of the first frame, and the two bases."""
    first, *bases = before
    return np.concatenate([first, base, *bases, rest, np.abs(rest), past, np.abs(past)], axis=-1)


def _earlier(values: Floats) -> Floats:
    """Each frame's values a frame later, zeros in the first: [row, frame, dim]."""
    return np.concatenate([np.zeros_like(values[:, :1]), values[:, :-1]], axis=1)


class Prior:
    """A prior ready to code. `arrays` by name as in a preset; raises ValueError where they do not fit each other."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        check(arrays)
        self.arrays = dict(arrays)
        self.num_codebooks, self.codebook_size, _ = arrays["codewords"].shape
        counts = int(arrays["base_codebooks"]), int(arrays["restart_frames"])
        self.context = Context(arrays["codewords"], arrays["prediction"], *counts)
        self._hidden = [
            (arrays[f"{name}.kernel"].astype(np.float64), arrays[f"{name}.bias"], _unit(arrays, name))
            for name in ("hidden1", "hidden2")
        ]
        self._output = [arrays[f"output.{name}"].astype(np.float32) for name in ("kernel", "bias")]
        self._score_unit = _unit(arrays, "output")

    def pack(self, codes: Array) -> bytes:
        """Write the codes of a chunk, [channel, frame, codebook], by the range coder; the inverse is `unpack`."""
        starts, ends = (np.empty(codes.shape, np.int64) for _ in range(2))
        for codebook, context in enumerate(self.context.of_codes(codes)):
            bounds, chosen = self.bounds(codebook, context), codes[..., codebook, None]
            starts[..., codebook] = np.take_along_axis(bounds, chosen, -1)[..., 0]
            ends[..., codebook] = np.take_along_axis(bounds, chosen + 1, -1)[..., 0]
        encoder = RangeEncoder()
        order = (1, 2, 0)
        counts = (ends - starts).transpose(order).ravel().tolist()
        for start, count in zip(starts.transpose(order).ravel().tolist(), counts, strict=True):
            encoder.encode(start, count)
        return encoder.finish()

    def unpack(self, data: bytes, channels: int, frames: int, codebooks: int) -> NDArray[np.int32]:
        """Read codes back, int32 [channel, frame, codebook]. Raises ValueError for bytes that `pack` does not write."""
        decoder, context = RangeDecoder(data), self.context
        codes = np.empty((channels, frames, codebooks), np.int32)
        nothing = np.zeros((channels, context.dim), np.float32)
        first = np.full((channels, 1), STEPS_PER_UNIT, np.float32)
        before = earlier = nothing[:, : context.base_dim]
        past = [nothing] * codebooks
        for frame in range(frames):
            rest = nothing
            base = context.predict(before) if frame % context.restart_frames else np.zeros_like(before)
            for codebook in range(codebooks):
                known = assemble((first, before, earlier), base, rest, past[codebook])
                chosen = _read(decoder, self.bounds(codebook, known))
                codes[:, frame, codebook] = chosen
                words = context.codewords[codebook, chosen]
                if codebook < context.base_codebooks:
                    base = base + words[:, : context.base_dim]
                else:
                    past[codebook] = rest = rest + words
            first, before, earlier = np.zeros_like(first), base, before
        decoder.finish()
        return codes

    def bounds(self, codebook: int, context: Floats) -> NDArray[np.int64]:
        """Where each code's interval begins, and the last one ends: [..., size] -> int64 [..., codebook_size + 1]."""
        values: Floats = context
        for kernel, bias, units in self._hidden:
            values = np.floor((values @ kernel[codebook] + bias[codebook]) * units[codebook])
            values = np.clip(values, 0, (1 << ACTIVATION_BITS) - 1)
        output, offset = self._output
        scores = values.astype(np.float32) @ output[codebook] + offset[codebook]
        gaps = (scores.max(axis=-1, keepdims=True) - scores) * self._score_unit[codebook]
        weights = _WEIGHTS[np.minimum(gaps, len(_WEIGHTS) - 1).astype(np.int64)]
        sums = np.zeros((*weights.shape[:-1], self.codebook_size + 1), np.int64)
        np.cumsum(weights, axis=-1, out=sums[..., 1:])
        total = sums[..., -1:].copy()
        sums *= TOTAL - self.codebook_size
        sums //= total
        return sums + np.arange(self.codebook_size + 1)


def _read(decoder: RangeDecoder, bounds: NDArray[np.int64]) -> list[int]:
    """The next code of each channel, by its intervals [channel, codebook_size + 1]."""
    found = []
    for row in bounds:
        code = int(row.searchsorted(decoder.peek(), side="right")) - 1
        decoder.take(int(row[code]), int(row[code + 1] - row[code]))
        found.append(code)
    return found


def _weights() -> NDArray[np.int64]:
    """floor(2^(16 - gap / 256)) by gap: 256th roots, each eight square roots of whole numbers; 0 at the end."""
    steps = 1 << SCORE_BITS
    weights = []
    for gap in range(16 * steps):
        root = 1 << 16 * steps - gap
        for _ in range(SCORE_BITS):
            root = math.isqrt(root)
        weights.append(root)
    return np.array([*weights, 0])


_WEIGHTS = _weights()


def _unit(arrays: Mapping[str, Array], name: str) -> Floats:
    """2^-shift for each codebook."""
    return np.ldexp(np.float32(1), -arrays[f"{name}.shift"])


def check(arrays: Mapping[str, Array]) -> None:
    """Raise ValueError unless these are the arrays of a prior, such that no sum is ever rounded."""
    if arrays.keys() != _LAYOUT.keys():
        raise ValueError(f"arrays {sorted(arrays.keys() ^ _LAYOUT.keys())} are missing or unknown")
    sizes: dict[str, int] = {}
    for name, (kind, dimensions) in _LAYOUT.items():
        array = arrays[name]
        if array.dtype != kind or array.ndim != len(dimensions):
            expected = f"{np.dtype(kind)} of {len(dimensions)} dimensions"
            raise ValueError(f"{name} is {array.dtype} of {array.ndim} dimensions, expected {expected}")
        for dimension, size in zip(dimensions, array.shape, strict=True):
            if sizes.setdefault(dimension, size) != size or not 1 <= size <= _MOST.get(dimension, size):
                raise ValueError(f"{name} has shape {array.shape}, which does not fit: {dimension} {size}")
        low, high = _LIMITS.get(name, (array.min(), array.max()))
        if array.min() < low or array.max() > high:
            raise ValueError(f"{name} is {array.min()} to {array.max()}, expected {low} to {high}")
    context = 1 + 3 * sizes["base"] + 4 * sizes["dim"]
    if sizes["context"] != context or sizes["base"] > sizes["dim"]:
        raise ValueError(f"a context of {sizes['context']}, expected {context}")
