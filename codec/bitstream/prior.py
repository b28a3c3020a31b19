r"""The prior: how likely each next code is, given the codes before it in the chunk, in integers only.

Integers give the same result on every machine. A network of floats would round differently somewhere, and a decoder
would then read other codes than were written.

Each channel is coded independently. The codes so far give a *context*, a vector of integers. Codewords and all their
sums are in steps of 1/16 of a latent:

    first           16 in the first frame of the chunk, 0 in all others
    depth           the number of codebooks in the stream
    previous_base   the complete base one frame ago, 0 before the chunk                             [base_dim]
    earlier_base    the complete base two frames ago, 0 before the chunk                            [base_dim]
    previous_rest   the complete rest one frame ago, 0 before the chunk                             [dim]
    base            the predicted base + the codewords of the base codebooks so far in this frame   [base_dim]
    rest            sum of the codewords of the other codebooks so far in this frame                [dim]

The base has the first base_dim dimensions of a latent, and base codebooks contribute only these. The predicted base is
floor((previous_base @ prediction) / 2^12 + 1/2), limited to -2047 .. 2047. It is 0 in the frames 0, reset_interval,
2 * reset_interval, .. of the chunk. The file of a prior stores reset_interval as "restart_frames".

Each codebook has its codes in an order with similar codes next to each other, in groups of `members`. A code is written
as two numbers: its group, then its place in the group. For both, a small network for each codebook gives scores, the
logarithms of the likelihoods:

    context = (first; depth; previous_base; earlier_base; previous_rest; base; rest)
    hidden1 = limit(floor((context @ hidden1.kernel + hidden1.bias) / 2^hidden1.shift), 0, 255)
    hidden2 = limit(floor((hidden1 @ hidden2.kernel + hidden2.bias) / 2^hidden2.shift), 0, 255)
    scores of the groups  = (hidden2 @ group.kernel + group.bias) / 2^group.shift                   [groups]
    scores of the places  = (hidden2 @ place.kernel[group] + place.bias[group]) / 2^place.shift     [members]
    code                  = order[group * members + place]

`intervals.py` turns these scores into intervals for the range coder. A chunk's codes come as [frame][codebook]: first
the groups of all channels, then the places of all channels.

No sum is ever rounded, whatever the order of adding: all are integers below 2^53 in float64, or below 2^24 in float32.
The limits in `prior_arrays.py` ensure this. The hidden layers compute in float32, which takes half
the time, if the largest sums that their weights can make are small enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.intervals import interval, intervals
from codec.bitstream.prior_arrays import check
from codec.bitstream.rangecoder import RangeDecoder, RangeEncoder

Array = NDArray[np.integer]
Floats = NDArray[np.floating]  # with integer values

STEPS_PER_UNIT = 16  # of a latent: the unit of codewords and their sums
PREDICTION_BITS = 12
ACTIVATION_BITS = 8
BASE_LIMIT = 2047
EXACT = 2**24  # float32 holds all smaller integers
# Bytes of arrays that one step of coding works on, whatever the sizes of the prior and of the chunks. With the shipped
# prior at 12 codebooks they hold 370 rows; the chunks that fill a second or more are decoded 218 rows at a time.
WORK_BYTES = 2**24
_BYTES_PER_SYMBOL = 60  # of the scores and intervals of one symbol


class FrameContext(NamedTuple):
    """The context at the beginning of a frame, without `rest`, which is 0 there: [.., size of the part]."""

    first: Floats
    depth: Floats
    previous_base: Floats
    earlier_base: Floats
    previous_rest: Floats
    predicted_base: Floats

    @property
    def constant(self) -> Floats:
        """The parts that stay the same throughout the frame, concatenated."""
        return np.concatenate(self[:-1], axis=-1)


class UnpackResult(NamedTuple):
    """The codes of several payloads.

    Attributes:
        codes: int32 [row, channel, frame, codebook].
        faults: for each row, why `Prior.pack` never writes its payload; empty if valid.
    """

    codes: NDArray[np.int32]
    faults: list[str]


class Context:
    """Computes the contexts of codes, for several rows at the same time: channels, chunks, or both.

    Args:
        codewords: integers [codebook, codebook_size, dim], in steps of 1/16.
        prediction: integers [base_dim, base_dim], in steps of 2^-12.
        base_codebooks: number of codebooks that code the base.
        reset_interval: frames after which the predicted base is 0 again.
    """

    def __init__(self, codewords: Array, prediction: Array, base_codebooks: int, reset_interval: int) -> None:
        self.codewords, self.prediction = codewords, prediction.astype(np.float64)
        self.base_codebooks, self.reset_interval = base_codebooks, reset_interval
        self.base_dim, self.dim = len(prediction), codewords.shape[-1]
        self.constant_size = 2 + 2 * self.base_dim + self.dim

    def limits(self) -> Floats:
        """Return the largest absolute value of each element of a context, [context]."""
        extremes = (self.codewords.min(axis=1), self.codewords.max(axis=1))
        largest = np.abs(np.array(extremes, np.float32)).max(axis=0)  # [codebook, dim]
        base = BASE_LIMIT + largest[: self.base_codebooks, : self.base_dim].sum(axis=0)
        rest = largest[self.base_codebooks :].sum(axis=0)
        first_and_depth = np.array([STEPS_PER_UNIT, len(largest)], np.float32)
        return np.concatenate([first_and_depth, base, base, rest, base, rest])

    def first_frame(self, rows: int, depth: int) -> FrameContext:
        """Return the context of the first frame of a chunk in a stream of `depth` codebooks."""
        base, rest = np.zeros((rows, self.base_dim), np.float32), np.zeros((rows, self.dim), np.float32)
        first, depths = (np.full((rows, 1), value, np.float32) for value in (STEPS_PER_UNIT, depth))
        return FrameContext(first, depths, base, base, rest, base)

    def next_frame(self, previous: FrameContext, frame: int, base: Floats, rest: Floats) -> FrameContext:
        """Return the context of a frame.

        Args:
            previous: the context of the frame before it.
            frame: number of this frame in the chunk.
            base: the complete base of the frame before it, [row, base_dim].
            rest: the complete rest of the frame before it, [row, dim].
        """
        predicted = self.predict(base) if frame % self.reset_interval else np.zeros_like(base)
        first = np.zeros_like(previous.first)
        return FrameContext(first, previous.depth, base, previous.previous_base, rest, predicted)

    def predict(self, base: Floats) -> Floats:
        """Predict the base of the next frame, [row, base_dim]."""
        unit = 1 << PREDICTION_BITS
        whole = np.floor((base @ self.prediction + unit // 2) / unit)
        return np.clip(whole, -BASE_LIMIT, BASE_LIMIT).astype(np.float32)

    def add(self, codebook: int, codes: Array, base: Floats, rest: Floats) -> tuple[Floats, Floats]:
        """Add the codewords of the codes [..] of a codebook; return the new base and rest [.., dim]."""
        words = self.codewords[codebook, codes].astype(np.float32)
        if codebook < self.base_codebooks:
            return base + words[..., : self.base_dim], rest
        return base, rest + words

    def of_codes(self, codes: Array) -> FrameContext:
        """Return the contexts of all frames of codes [row, frame, codebook]: parts [row, frame, size]."""
        ((_, context),) = self.in_parts(codes, codes.shape[1])
        return context

    def in_parts(self, codes: Array, size: int) -> Iterator[tuple[slice, FrameContext]]:
        """Yield the contexts of codes [row, frame, codebook], `size` frames at a time, each with its frames."""
        rows, frames, depth = codes.shape
        context = self.first_frame(rows, depth)
        for start in range(0, frames, size):
            part = slice(start, min(frames, start + size))
            bases, rests = self._sums(codes[:, part])
            contexts = []
            for frame in range(bases.shape[1]):
                contexts.append(context)
                base = context.predicted_base + bases[:, frame]
                context = self.next_frame(context, start + frame + 1, base, rests[:, frame])
            yield part, FrameContext(*(np.stack(field, axis=1) for field in zip(*contexts, strict=True)))

    def _sums(self, codes: Array) -> tuple[Floats, Floats]:
        """Return the sums of the codewords of each frame, without the predicted base: [row, frame, size]."""
        bases = np.zeros((*codes.shape[:2], self.base_dim), np.float32)
        rests = np.zeros((*codes.shape[:2], self.dim), np.float32)
        for codebook in range(codes.shape[2]):
            bases, rests = self.add(codebook, codes[..., codebook], bases, rests)
        return bases, rests


class Prior:
    """A prior that packs and unpacks codes.

    Args:
        arrays: the arrays of `prior_arrays.LAYOUT` by name, as in a preset. ValueError if they do not fit each other.

    Attributes:
        arrays: as given.
        num_codebooks: number of codebooks.
        codebook_size: codes in a codebook.
        context: computes contexts.
        exact_type: float32 or float64, in which the hidden layers compute.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        check(arrays)
        self.arrays = dict(arrays)
        self.num_codebooks, self.codebook_size, _ = arrays["codewords"].shape
        counts = int(arrays["base_codebooks"]), int(arrays["restart_frames"])
        self.context = Context(arrays["codewords"], arrays["prediction"], *counts)
        self._members = arrays["place.bias"].shape[-1]
        self._places = np.argsort(arrays["order"], axis=-1)  # of each code in the order
        fits = _fits_float32(arrays, self.context.limits())
        self.exact_type = kind = np.dtype(np.float32 if fits else np.float64)
        self._wide = arrays["hidden1.bias"].shape[1]
        kernel, split = arrays["hidden1.kernel"], self.context.constant_size
        # [constant part of a context, codebook * wide]: one product serves all codebooks
        self._constant_kernel = kernel[:, :split].transpose(1, 0, 2).reshape(split, -1).astype(kind)
        self._constant_bias = arrays["hidden1.bias"].reshape(-1).astype(kind)
        changing = kernel[:, split:].astype(kind)
        self._base_kernel, self._rest_kernel = np.split(changing, [self.context.base_dim], axis=1)
        self._hidden2 = [arrays[f"hidden2.{name}"].astype(kind) for name in ("kernel", "bias")]
        self._group = [arrays[f"group.{name}"].astype(np.float32) for name in ("kernel", "bias")]
        self._units = {name: _unit(arrays, name) for name in ("hidden1", "hidden2", "group", "place")}

    def pack(self, chunks: Array) -> list[bytes]:
        """Range code chunks of codes [row, channel, frame, codebook]; return a payload for each row."""
        size = self.rows_together(1)
        together = max(1, size // chunks.shape[1])
        return [
            payload
            for first in range(0, len(chunks), together)
            for payload in self._pack(chunks[first : first + together], size)
        ]

    def _pack(self, chunks: Array, size: int) -> list[bytes]:
        """Range code chunks, about `size` frames of one channel at a time."""
        encoders = [RangeEncoder() for _ in chunks]
        codes = chunks.reshape(-1, *chunks.shape[2:])
        for part, context in self.context.in_parts(codes, max(1, size // max(1, len(codes)))):
            bounds = self._bounds(codes[:, part], context)
            in_order = bounds.reshape(*chunks.shape[:2], -1, 2).transpose(0, 3, 2, 1)  # channel fastest
            rows = in_order.reshape(len(chunks), 2, -1).tolist()
            for encoder, (starts, ends) in zip(encoders, rows, strict=True):
                encoder.write(zip(starts, ends, strict=True))
        return [encoder.finish() for encoder in encoders]

    def _bounds(self, codes: Array, context: FrameContext) -> NDArray[np.int64]:
        """Return the intervals of codes: [row and channel, frame, codebook, group or place, start or end]."""
        groups, places = np.divmod(self._places[np.arange(codes.shape[2]), codes], self._members)
        bounds = np.empty((*codes.shape, 2, 2), np.int64)
        for codebook, hidden in enumerate(self._hidden_of(codes, context)):
            group, place = groups[..., codebook], places[..., codebook]
            bounds[:, :, codebook, 0] = interval(self.group_scores(codebook, hidden), group)
            bounds[:, :, codebook, 1] = interval(self.place_scores(codebook, hidden, group), place)
        return bounds

    def rows_together(self, codebooks: int) -> int:
        """Return how many rows, each a channel of a chunk, are decoded in one step with so many codebooks."""
        item, context = self.exact_type.itemsize, self.arrays["hidden1.kernel"].shape[1]
        narrow, groups = self.arrays["group.kernel"].shape[1:]
        hidden = 2 * item * (context + (codebooks + 1) * self._wide + 2 * narrow)
        place = (
            (1 + np.dtype(np.float32).itemsize) * narrow * self._members
        )  # the weights of a group's places
        symbols = _BYTES_PER_SYMBOL * (groups + self._members)
        return int(max(1, WORK_BYTES // (hidden + place + symbols)))

    def unpack(self, payloads: Sequence[bytes], channels: int, frames: int, codebooks: int) -> UnpackResult:
        """Decode the payloads of chunks of the same size; the inverse of `pack`."""
        together = max(1, self.rows_together(codebooks) // channels)
        codes, faults = np.empty((len(payloads), channels, frames, codebooks), np.int32), list[str]()
        for first in range(0, len(payloads), together):
            part = slice(first, first + together)
            codes[part], some_faults = self._unpack(payloads[part], channels, frames, codebooks)
            faults += some_faults
        return UnpackResult(codes, faults)

    def _unpack(self, payloads: Sequence[bytes], channels: int, frames: int, codebooks: int) -> UnpackResult:
        decoder, rows = RangeDecoder(payloads), len(payloads) * channels
        codes = np.empty((rows, frames, codebooks), np.int32)
        context = self.context.first_frame(rows, codebooks)
        for frame in range(frames):
            constant = self._constant_sums(context.constant, 0, codebooks)
            base, rest = context.predicted_base, np.zeros_like(context.previous_rest)
            for codebook in range(codebooks):
                hidden = self._hidden(codebook, constant[codebook], base, rest)
                group = _read(decoder, intervals(self.group_scores(codebook, hidden)))
                place = _read(decoder, intervals(self.place_scores(codebook, hidden, group)))
                chosen = self.arrays["order"][codebook, group * self._members + place]
                codes[:, frame, codebook] = chosen
                base, rest = self.context.add(codebook, chosen, base, rest)
            context = self.context.next_frame(context, frame + 1, base, rest)
        return UnpackResult(codes.reshape(len(payloads), channels, frames, codebooks), decoder.faults())

    def hidden(self, codes: Array) -> Iterator[Floats]:
        """Yield `hidden2` of known codes [row, frame, codebook] for each codebook: [row, frame, narrow]."""
        return self._hidden_of(codes, self.context.of_codes(codes))

    def _hidden_of(self, codes: Array, context: FrameContext) -> Iterator[Floats]:
        """Yield `hidden2` as `hidden` does, given the contexts of the frames."""
        constant, base = context.constant, context.predicted_base
        rest = np.zeros_like(context.previous_rest)
        for codebook in range(codes.shape[-1]):
            (sums,) = self._constant_sums(constant, codebook, 1)
            yield self._hidden(codebook, sums, base, rest)
            base, rest = self.context.add(codebook, codes[..., codebook], base, rest)

    def group_scores(self, codebook: int, hidden: Floats) -> Floats:
        """Return the scores of the groups: [.., narrow] -> [.., groups]."""
        kernel, bias = (weights[codebook] for weights in self._group)
        scores: Floats = (hidden @ kernel + bias) * self._units["group"][codebook]
        return scores

    def place_scores(self, codebook: int, hidden: Floats, group: Array) -> Floats:
        """Return the scores of the places in a group: [.., narrow] and [..] -> [.., members]."""
        kernel, bias = (
            self.arrays[f"place.{name}"][codebook, group].astype(np.float32) for name in ("kernel", "bias")
        )
        scores: Floats = (hidden[..., np.newaxis, :] @ kernel)[..., 0, :] + bias
        scores *= self._units["place"][codebook]
        return scores

    def _constant_sums(self, constant: Floats, first: int, count: int) -> Floats:
        """Return the part of hidden1 that stays the same throughout a frame: [codebook, .., wide].

        Args:
            constant: the constant part of a context.
            first: the first codebook.
            count: the number of codebooks.
        """
        columns = slice(first * self._wide, (first + count) * self._wide)
        sums = constant @ self._constant_kernel[:, columns] + self._constant_bias[columns]
        return np.moveaxis(sums.reshape(*sums.shape[:-1], count, self._wide), -2, 0)

    def _hidden(self, codebook: int, constant_sums: Floats, base: Floats, rest: Floats) -> Floats:
        sums = constant_sums + base @ self._base_kernel[codebook]
        if codebook > self.context.base_codebooks:  # else rest is 0
            sums += rest @ self._rest_kernel[codebook]
        kernel, bias = (weights[codebook] for weights in self._hidden2)
        sums = _activation(sums * self._units["hidden1"][codebook]) @ kernel + bias
        return _activation(sums * self._units["hidden2"][codebook]).astype(np.float32)


def _activation(values: Floats) -> Floats:
    whole = np.floor(values)  # np.clip would take several times as long on a few numbers
    return np.minimum(np.maximum(whole, 0, out=whole), (1 << ACTIVATION_BITS) - 1, out=whole)


def _read(decoder: RangeDecoder, bounds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Decode the next number of each channel of each row, channel fastest, by bounds [row * channel, size + 1]."""
    by_row = bounds.reshape(len(decoder), -1, bounds.shape[-1])
    return np.stack([decoder.read(by_row[:, channel]) for channel in range(by_row.shape[1])], axis=1).ravel()


def _unit(arrays: Mapping[str, Array], name: str) -> Floats:
    """Return 2^-shift for each codebook."""
    return np.ldexp(np.float32(1), -arrays[f"{name}.shift"])


def _fits_float32(arrays: Mapping[str, Array], limits: Floats) -> bool:
    """Return True if float32 holds every sum in the hidden layers exactly, for any codes and any order of adding.

    The sums of absolute values may be computed in float32 themselves: they are exact below 2^24, and rounding never
    brings a larger one below that.
    """
    activations = np.full(arrays["hidden2.kernel"].shape[1], (1 << ACTIVATION_BITS) - 1, np.float32)
    for name, inputs in (("hidden1", limits), ("hidden2", activations)):
        kernel, bias = (np.abs(arrays[f"{name}.{part}"], dtype=np.float32) for part in ("kernel", "bias"))
        if (inputs @ kernel + bias).max() >= EXACT:
            return False
    return True
