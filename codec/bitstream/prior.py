r"""The prior: how likely each next code is, given those before it in the chunk; in whole numbers, so the same anywhere.

Each channel is taken by itself. Of the codes before, a *context* is made, of whole numbers, codewords and all sums of
them in steps of 1/16 of a latent:

    first      16 in the first frame of the chunk, 0 in all others
    depth      how many codebooks the stream has
    before, earlier   the whole bases one and two frames ago, 0 before the chunk            [base_dim] each
    past       sum of the codewords of all codebooks but the base's one frame ago, 0 before the chunk     [dim]
    base       sum of the codewords of the base codebooks so far in this frame, on top of what the frame before
               predicts: floor((its base @ prediction) / 2^12 + 1/2), limited to -2047 .. 2047; 0 in the frames
               0, reset_interval, 2 reset_interval, .. of the chunk                         [base_dim]
    rest       sum of the codewords of the other codebooks so far in this frame             [dim]

A codebook's codes stand in an order, near ones side by side, in groups of `members`. A code is written as two: the
group that it is in, then its place there. A network of each codebook's own gives for both the logarithms of the
likelihoods, in steps of 2^-shift:

    context = (first; depth; before; earlier; past; base; rest)
    hidden1 = limit(floor((context @ hidden1.kernel + hidden1.bias) / 2^hidden1.shift), 0, 255)
    hidden2 = limit(floor((hidden1 @ hidden2.kernel + hidden2.bias) / 2^hidden2.shift), 0, 255)
    scores of the groups  = hidden2 @ group.kernel + group.bias                             [groups]
    scores of the places  = hidden2 @ place.kernel[group] + place.bias[group]               [members]
    code                  = order[group * members + place]

and of these `size` scores each becomes an interval of 0 .. 2^16 for the range coder, none of them empty:

    gap     = floor((largest score - score) / 2^shift)                    in steps of 1/256 of a factor of two
    weight  = floor(2^(16 - gap / 256)), 0 where gap is 4096 or more
    start   = number + floor(sum of the weights of smaller numbers * (2^16 - size) / sum of all weights)

A chunk's codes come as [frame][codebook], there first the groups of all channels, then the places of all channels.

A network of floats would give other rounding on another machine, and then other codes. Here all sums are whole numbers
below 2^53 in float64, below 2^24 in float32, so that none is ever rounded, whatever the order of adding. The limits of
`_LAYOUT` and the shapes see to that; both hidden layers are in float32, which takes half the time, where the largest
sums that these weights can make allow it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.rangecoder import TOTAL, RangeDecoder, encoded

Array = NDArray[np.integer]
Floats = NDArray[np.floating]  # whole numbers all the same

STEPS_PER_UNIT = 16  # of the codewords and all that is made of them
PREDICTION_BITS = 12
ACTIVATION_BITS = 8
SCORE_BITS = 8  # of a factor of two
BASE_LIMIT = 2047
EXACT = 2**24  # below it every whole number is a float32

_LAYOUT = {  # type and shape by the names of the dimensions
    "codewords": (np.int8, ("codebooks", "size", "dim")),
    "order": (np.int16, ("codebooks", "size")),
    "prediction": (np.int16, ("base", "base")),
    "base_codebooks": (np.int32, ()),
    "restart_frames": (np.int32, ()),
    "hidden1.kernel": (np.int16, ("codebooks", "context", "wide")),
    "hidden1.bias": (np.int32, ("codebooks", "wide")),
    "hidden1.shift": (np.int32, ("codebooks",)),
    "hidden2.kernel": (np.int16, ("codebooks", "wide", "narrow")),
    "hidden2.bias": (np.int32, ("codebooks", "narrow")),
    "hidden2.shift": (np.int32, ("codebooks",)),
    "group.kernel": (np.int8, ("codebooks", "narrow", "groups")),
    "group.bias": (np.int32, ("codebooks", "groups")),
    "group.shift": (np.int32, ("codebooks",)),
    "place.kernel": (np.int8, ("codebooks", "groups", "narrow", "members")),
    "place.bias": (np.int32, ("codebooks", "groups", "members")),
    "place.shift": (np.int32, ("codebooks",)),
}
_MOST = {"codebooks": 2**8, "size": 2**14, "dim": 2**10, "wide": 2**10, "narrow": 2**7}
MAX_SHIFT, MAX_BIAS = 30, 2**22
_LIMITS = {  # smallest and largest value, where not all of a type are good
    "base_codebooks": (1, 2**8),
    "restart_frames": (1, 2**16),
    "hidden1.shift": (0, MAX_SHIFT),
    "hidden2.shift": (0, MAX_SHIFT),
    "group.shift": (0, MAX_SHIFT),
    "group.bias": (-MAX_BIAS, MAX_BIAS),
    "place.shift": (0, MAX_SHIFT),
    "place.bias": (-MAX_BIAS, MAX_BIAS),
}


class Known(NamedTuple):
    """What is known before a frame, in the parts of a context: [.., size of the part]; `base` as it is predicted."""

    first: Floats
    depth: Floats
    before: Floats
    earlier: Floats
    past: Floats
    base: Floats

    @property
    def ahead(self) -> Floats:
        """The part of the context that stays the same throughout the frame."""
        return np.concatenate(self[:-1], axis=-1)


class Unpacked(NamedTuple):
    """What rows of bytes hold, int32 [row, channel, frame, codebook]; why a row is none that `pack` writes, or ""."""

    codes: NDArray[np.int32]
    faults: list[str]


class Context:
    """What the codes so far tell about the next, for rows that go side by side: channels, or chunks, or both.

    Args:
        codewords: [codebook, codebook_size, dim], whole numbers, in steps of 1/16.
        prediction: [base_dim, base_dim], whole numbers, in steps of 2^-12.
        base_codebooks: codebooks that code the base.
        reset_interval: frames after which its prediction begins anew.
    """

    def __init__(self, codewords: Array, prediction: Array, base_codebooks: int, reset_interval: int) -> None:
        self.codewords, self.prediction = codewords, prediction.astype(np.float64)
        self.base_codebooks, self.reset_interval = base_codebooks, reset_interval
        self.base_dim, self.dim = len(prediction), codewords.shape[-1]
        self.ahead_size = 2 + 2 * self.base_dim + self.dim

    def limits(self) -> Floats:
        """How far from zero each number of a context can be, [context]."""
        ends = (self.codewords.min(axis=1), self.codewords.max(axis=1))
        furthest = np.abs(np.array(ends, np.float32)).max(axis=0)  # [codebook, dim]
        base = BASE_LIMIT + furthest[: self.base_codebooks, : self.base_dim].sum(axis=0)
        rest = furthest[self.base_codebooks :].sum(axis=0)
        ahead = np.array([STEPS_PER_UNIT, len(furthest)], np.float32)
        return np.concatenate([ahead, base, base, rest, base, rest])

    def begin(self, rows: int, depth: int) -> Known:
        """What is known before the first frame of a chunk."""
        base, rest = np.zeros((rows, self.base_dim), np.float32), np.zeros((rows, self.dim), np.float32)
        first, depths = (np.full((rows, 1), value, np.float32) for value in (STEPS_PER_UNIT, depth))
        return Known(first, depths, base, base, rest, base)

    def follow(self, known: Known, frame: int, base: Floats, rest: Floats) -> Known:
        """What is known before `frame`, by that before the last one and its base and rest in the end."""
        predicted = self.predict(base) if frame % self.reset_interval else np.zeros_like(base)
        return Known(np.zeros_like(known.first), known.depth, base, known.before, rest, predicted)

    def predict(self, base: Floats) -> Floats:
        """The base of the next frame, [row, base_dim]."""
        unit = 1 << PREDICTION_BITS
        whole = np.floor((base @ self.prediction + unit // 2) / unit)
        return np.clip(whole, -BASE_LIMIT, BASE_LIMIT).astype(np.float32)

    def add(self, codebook: int, codes: Array, base: Floats, rest: Floats) -> tuple[Floats, Floats]:
        """Base and rest [.., dim] behind the codes [..] of a codebook."""
        words = self.codewords[codebook, codes].astype(np.float32)
        if codebook < self.base_codebooks:
            return base + words[..., : self.base_dim], rest
        return base, rest + words

    def of_codes(self, codes: Array) -> Known:
        """What is known before each frame of codes [row, frame, codebook]: parts [row, frame, size]."""
        rows, frames, depth = codes.shape
        bases = np.zeros((rows, frames, self.base_dim), np.float32)
        rests = np.zeros((rows, frames, self.dim), np.float32)
        for codebook in range(depth):
            bases, rests = self.add(codebook, codes[..., codebook], bases, rests)
        parts = [known := self.begin(rows, depth)]
        for frame in range(1, frames):
            known = self.follow(known, frame, known.base + bases[:, frame - 1], rests[:, frame - 1])
            parts.append(known)
        return Known(*(np.stack(part, axis=1) for part in zip(*parts, strict=True)))


class Prior:
    """A prior ready to code. `arrays` by name as in a preset; raises ValueError where they do not fit each other."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        check(arrays)
        self.arrays = dict(arrays)
        self.num_codebooks, self.codebook_size, _ = arrays["codewords"].shape
        counts = int(arrays["base_codebooks"]), int(arrays["restart_frames"])
        self.context = Context(arrays["codewords"], arrays["prediction"], *counts)
        self._members = arrays["place.bias"].shape[-1]
        self._place_of = np.argsort(arrays["order"], axis=-1)
        wide, split = arrays["hidden1.bias"].shape[1], self.context.ahead_size
        fits = _fits_float32(arrays, self.context.limits())
        self.exact_type = kind = np.dtype(np.float32 if fits else np.float64)  # of the hidden layers
        kernel = arrays["hidden1.kernel"]
        self._ahead = kernel[:, :split].transpose(1, 0, 2).reshape(split, -1).astype(kind)
        self._bias = arrays["hidden1.bias"].reshape(-1).astype(kind)
        self._now = np.split(kernel[:, split:].astype(kind), [self.context.base_dim], axis=1)
        self._wide = wide
        self._second = [arrays[f"hidden2.{name}"].astype(kind) for name in ("kernel", "bias")]
        self._groups = [arrays[f"group.{name}"].astype(np.float32) for name in ("kernel", "bias")]
        self._units = {name: _unit(arrays, name) for name in ("hidden1", "hidden2", "group", "place")}

    def pack(self, chunks: Array) -> list[bytes]:
        """Write the codes of chunks, [row, channel, frame, codebook], each by a range coder of its own."""
        codes = chunks.reshape(-1, *chunks.shape[2:])
        halves = np.divmod(self._place_of[np.arange(codes.shape[2]), codes], self._members)
        found = np.empty(
            (*codes.shape, 2, 2), np.int64
        )  # row and channel, frame, codebook, half, (start, end)
        for codebook, hidden in enumerate(self.hidden(codes)):
            group, place = (half[..., codebook] for half in halves)
            found[:, :, codebook, 0] = interval(self.of_groups(codebook, hidden), group)
            found[:, :, codebook, 1] = interval(self.of_places(codebook, hidden, group), place)
        by_row = found.reshape(*chunks.shape[:2], -1, 2).transpose(0, 3, 2, 1).reshape(len(chunks), 2, -1)
        return [encoded(zip(*ends, strict=True)) for ends in by_row.tolist()]

    def unpack(self, rows: Sequence[bytes], channels: int, frames: int, codebooks: int) -> Unpacked:
        """Read chunks back, rows of bytes, each of so many channels, frames and codebooks; the inverse of `pack`."""
        decoder, context, count = RangeDecoder(rows), self.context, len(rows) * channels
        codes = np.empty((count, frames, codebooks), np.int32)
        known = context.begin(count, codebooks)
        for frame in range(frames):
            ahead = self._of_frame(known.ahead, 0, codebooks)
            base, rest = known.base, np.zeros_like(known.past)
            for codebook in range(codebooks):
                hidden = self._hidden(codebook, ahead[codebook], base, rest)
                group = _read(decoder, intervals(self.of_groups(codebook, hidden)))
                place = _read(decoder, intervals(self.of_places(codebook, hidden, group)))
                chosen = self.arrays["order"][codebook, group * self._members + place]
                codes[:, frame, codebook] = chosen
                base, rest = context.add(codebook, chosen, base, rest)
            known = context.follow(known, frame + 1, base, rest)
        return Unpacked(codes.reshape(len(rows), channels, frames, codebooks), decoder.faults())

    def hidden(self, codes: Array) -> Iterator[Floats]:
        """What the networks make of known codes [row, frame, codebook]: [row, frame, narrow] for each codebook."""
        known = self.context.of_codes(codes)
        ahead, base, rest = known.ahead, known.base, np.zeros_like(known.past)
        for codebook in range(codes.shape[-1]):
            (sums,) = self._of_frame(ahead, codebook, 1)
            yield self._hidden(codebook, sums, base, rest)
            base, rest = self.context.add(codebook, codes[..., codebook], base, rest)

    def of_groups(self, codebook: int, hidden: Floats) -> Floats:
        """The scores of the groups, in steps of 1/256: [.., narrow] -> [.., groups]."""
        kernel, bias = (weights[codebook] for weights in self._groups)
        scores: Floats = (hidden @ kernel + bias) * self._units["group"][codebook]
        return scores

    def of_places(self, codebook: int, hidden: Floats, group: Array) -> Floats:
        """The scores of the places in a group: [.., narrow] and [..] -> [.., members]."""
        kernel, bias = (
            self.arrays[f"place.{name}"][codebook, group].astype(np.float32) for name in ("kernel", "bias")
        )
        scores: Floats = (hidden[..., np.newaxis, :] @ kernel)[..., 0, :] + bias
        scores *= self._units["place"][codebook]
        return scores

    def _of_frame(self, ahead: Floats, first: int, count: int) -> Floats:
        """What the first layers of some codebooks make of the part of the context that stays: [codebook, .., wide]."""
        columns = slice(first * self._wide, (first + count) * self._wide)
        sums = ahead @ self._ahead[:, columns] + self._bias[columns]
        return np.moveaxis(sums.reshape(*sums.shape[:-1], count, self._wide), -2, 0)

    def _hidden(self, codebook: int, ahead: Floats, base: Floats, rest: Floats) -> Floats:
        of_base, of_rest = (kernel[codebook] for kernel in self._now)
        sums = ahead + base @ of_base
        if codebook > self.context.base_codebooks:
            sums += rest @ of_rest
        kernel, bias = (weights[codebook] for weights in self._second)
        sums = _limited(sums * self._units["hidden1"][codebook]) @ kernel + bias
        return _limited(sums * self._units["hidden2"][codebook]).astype(np.float32)


def intervals(scores: Floats) -> NDArray[np.int64]:
    """Where each interval begins, and the last one ends, [.., size + 1], by scores [.., size] in steps of 1/256."""
    sums, size = _summed(scores), scores.shape[-1]
    return _ends(sums, sums[..., -1:], np.arange(size + 1), size)


def interval(scores: Floats, numbers: Array) -> NDArray[np.int64]:
    """Where one of the intervals begins and ends, [.., 2], by scores [.., size] and its number [..]."""
    sums, places = _summed(scores), numbers[..., np.newaxis] + np.arange(2)
    return _ends(np.take_along_axis(sums, places, axis=-1), sums[..., -1:], places, scores.shape[-1])


def _summed(scores: Floats) -> NDArray[np.int64]:
    """The weights of all smaller numbers [.., size + 1], at the end of all."""
    table, gaps = _weights(), scores.max(axis=-1, keepdims=True) - scores
    weights = table[np.minimum(gaps, len(table) - 1).astype(np.int64)]
    sums = np.zeros((*weights.shape[:-1], scores.shape[-1] + 1), np.int64)
    np.cumsum(weights, axis=-1, out=sums[..., 1:])
    return sums


def _ends(sums: Array, total: Array, numbers: Array, size: int) -> NDArray[np.int64]:
    ends: NDArray[np.int64] = sums * (TOTAL - size) // total + numbers
    return ends


def _limited(values: Floats) -> Floats:
    whole = np.floor(values)  # and `np.clip` takes several times as long on a few numbers
    return np.minimum(np.maximum(whole, 0, out=whole), (1 << ACTIVATION_BITS) - 1, out=whole)


def _read(decoder: RangeDecoder, bounds: NDArray[np.int64]) -> NDArray[np.int64]:
    """The next number of each channel of each row, channel fastest, by bounds [row * channel, size + 1]."""
    by_row = bounds.reshape(len(decoder), -1, bounds.shape[-1])
    return np.stack([decoder.read(by_row[:, channel]) for channel in range(by_row.shape[1])], axis=1).ravel()


@functools.cache  # some 7 ms, which whoever neither reads nor writes range coded chunks need not wait for
def _weights() -> NDArray[np.int64]:
    """floor(2^(16 - gap / 256)) by gap: 256th roots, each eight square roots of whole numbers; 0 at the end.

    Each factor of two is a shift, which is exact: floor(floor(x) / 2^n) is floor(x / 2^n).
    """
    steps = 1 << SCORE_BITS
    first = []
    for gap in range(steps):
        root = 1 << 16 * steps - gap
        for _ in range(SCORE_BITS):
            root = math.isqrt(root)
        first.append(root)
    return np.append(np.array(first) >> np.arange(16)[:, np.newaxis], 0)


def _unit(arrays: Mapping[str, Array], name: str) -> Floats:
    """2^-shift for each codebook."""
    return np.ldexp(np.float32(1), -arrays[f"{name}.shift"])


def _fits_float32(arrays: Mapping[str, Array], limits: Floats) -> bool:
    """Whether float32 holds any sum in the hidden layers, whatever the codes are and in whatever order it is added up.

    It can be asked in float32 itself: sums of sizes are exact below 2^24, and rounding takes none from above to below.
    """
    activations = np.full(arrays["hidden2.kernel"].shape[1], (1 << ACTIVATION_BITS) - 1, np.float32)
    for name, inputs in (("hidden1", limits), ("hidden2", activations)):
        kernel, bias = (np.abs(arrays[f"{name}.{part}"], dtype=np.float32) for part in ("kernel", "bias"))
        if (inputs @ kernel + bias).max() >= EXACT:
            return False
    return True


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
    context = 2 + 3 * sizes["base"] + 2 * sizes["dim"]
    if sizes["context"] != context or sizes["base"] > sizes["dim"]:
        raise ValueError(f"a context of {sizes['context']}, expected {context}")
    if sizes["groups"] * sizes["members"] != sizes["size"]:
        raise ValueError(f"{sizes['groups']} groups of {sizes['members']}, expected {sizes['size']} in all")
    if (np.sort(arrays["order"], axis=-1) != np.arange(sizes["size"])).any():
        raise ValueError("an order in which not every code stands once")
