"""The last step of a training: the prior, fitted to the codes of the finished model and made of whole numbers.

The network of each codebook (see `codec.bitstream.prior`) learns, in floats, to tell each code from its context, first
its group, then its place in that: the loss is the bits that both will take. So a code needs a few dozen scores, not a
thousand, and plain numpy does, on any machine and whatever backend trained the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from codec.bitstream.prior import (
    ACTIVATION_BITS,
    EXACT,
    MAX_BIAS,
    MAX_SHIFT,
    PREDICTION_BITS,
    SCORE_BITS,
    STEPS_PER_UNIT,
    Context,
    Known,
)
from codec.presets import load, save_prior
from codec.runtime.codec import NumpyCodec
from codec.training.augmentation import PLAIN
from codec.training.data import BatchSpec, Corpus, build_cache, draw_batch
from codec.training.recipe import PriorRecipe

Arrays = dict[str, np.ndarray]
Say = Callable[[str], None]
Contexts = Callable[[np.ndarray], np.ndarray]  # numbers of rows -> their contexts [row, size]

SEGMENTS = 16  # coded at once
SEED = 0
LIMITS = (4.0, 1.0)  # of the hidden units of the two layers, from 0 on
AVERAGED, SQUARED = 0.9, 0.99  # decays of Adam
SCALED_BY = 20_000  # rows whose mean and spread stand for all


def fit_preset(directory: Path, folder: Path, cache: Path, say: Say) -> None:
    """Fit a prior for the finished preset in `directory` to a folder of audio, whose samples are kept in `cache`."""
    rate = load(directory).config.sample_rate
    add_prior(directory, build_cache(folder, cache, rate, say), say, PriorRecipe())


def add_prior(directory: Path, corpus: Corpus, say: Say, recipe: PriorRecipe) -> None:
    """Fit a prior for the preset in `directory` to the files of a corpus to learn from, and put it there."""
    say("prior: coding the audio, then fitting, a few minutes")
    codec = load(directory)
    save_prior(fit_prior(codec, code(codec, corpus, recipe), say, recipe), directory)


def code(codec: NumpyCodec, corpus: Corpus, recipe: PriorRecipe) -> np.ndarray:
    """Codes of segments drawn from the files to learn from, as they are: int32 [chunk, frame, codebook].

    No more of them than there is audio, so that few are drawn twice.
    """
    config = codec.config
    chunk = recipe.chunk_seconds * config.reset_interval
    frames = recipe.chunks_per_segment * chunk
    spec = BatchSpec(SEGMENTS, frames * config.hop_length, SEED, augmentation=PLAIN)
    there = sum(file.length for file in corpus.train) // config.hop_length
    batches = -(-min(recipe.frames, there) // (SEGMENTS * frames))
    coded = [_coded(codec, draw_batch(corpus, spec, number).audio) for number in range(batches)]
    return np.concatenate(coded).reshape(-1, chunk, config.num_codebooks)


def _coded(codec: NumpyCodec, audio: np.ndarray) -> np.ndarray:
    """Codes [batch, frame, codebook] of audio [batch, time, 1], the prediction begun anew each second as in a file."""
    size, state = codec.config.reset_interval * codec.config.hop_length, codec.encoder_state(len(audio))
    steps = []
    for start in range(0, audio.shape[1], size):
        block = audio[:, start : start + size]
        codes, state = codec.encode_step(block, codec.reset_prediction(state), codec.config.num_codebooks)
        steps.append(codes)
    return np.concatenate(steps, axis=1)


def fit_prior(codec: NumpyCodec, codes: np.ndarray, say: Say, recipe: PriorRecipe) -> Arrays:
    """A prior for a model, as arrays for `codec.bitstream.prior.Prior`, from codes int32 [chunk, frame, codebook]."""
    facts = _facts(codec)
    context = Context(
        facts["codewords"], facts["prediction"], int(facts["base_codebooks"]), int(facts["restart_frames"])
    )
    learned = Learned(context, codes, codec.config.shipped_codebooks)
    layers: dict[str, list[np.ndarray]] = {}
    spent = []
    for codebook, order in enumerate(facts["order"]):
        places = np.argsort(order)[learned.codes[:, codebook]]
        network = Network(facts["codewords"][codebook, order], places, learned.contexts, recipe)
        spent.append(network.fit(places, learned.contexts, recipe))
        learned.go_on()
        for name, array in network.quantized(context.limits()).items():
            layers.setdefault(name, []).append(array)
        if len(spent) in codec.config.shipped_codebooks:
            bits = f"{np.mean(spent):.2f} of {codec.config.bits_per_code} bits a code"
            say(f"prior: {bits} with {len(spent)} codebooks, while learning")
    return {**facts, **{name: np.stack(arrays) for name, arrays in layers.items()}}


def _facts(codec: NumpyCodec) -> Arrays:
    """What the context is made from, in whole numbers, and the order of the codes."""
    codewords = np.rint(np.float32(codec.weights["quantizer.codebooks"]) * STEPS_PER_UNIT)
    codewords = np.clip(codewords, -127, 127).astype(np.int8)
    prediction = np.rint(np.float32(codec.weights["quantizer.prediction"]) * 2**PREDICTION_BITS)
    return {
        "codewords": codewords,
        "order": np.stack([near_together(book.astype(np.float64)) for book in codewords]),
        "prediction": np.clip(prediction, -(2**15) + 1, 2**15 - 1).astype(np.int16),
        "base_codebooks": np.array(codec.config.base_codebooks, np.int32),
        "restart_frames": np.array(codec.config.reset_interval, np.int32),
    }


def near_together(codewords: np.ndarray) -> np.ndarray:
    """An order of codewords [codebook_size, dim], int16: halved along the longest axis, and so each half again."""
    parts = [np.arange(len(codewords))]
    while len(parts[0]) > 1:
        halves = []
        for part in parts:
            centred = codewords[part] - codewords[part].mean(axis=0)
            axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
            along = part[np.argsort(centred @ axis, kind="stable")]
            halves += [along[: len(along) // 2], along[len(along) // 2 :]]
        parts = halves
    return np.concatenate(parts).astype(np.int16)


class Learned:
    """The codes to learn from, and the contexts of one codebook after another, as int16 until they are asked for.

    Each context is that of a stream of one of the rates that have its codebook, each as often as the others.
    """

    def __init__(self, context: Context, codes: np.ndarray, rates: Sequence[int]) -> None:
        self._context, self._rates = context, np.array(rates)
        self.codes = codes.reshape(-1, codes.shape[-1])
        known = [_whole(context, codes[..., :rate]) for rate in rates]
        self._first, _, self._before, self._earlier, _, self._base = known[-1]
        self._pasts = np.stack([parts.past for parts in known])  # [rate, row, dim]
        self._rest = np.zeros_like(self._pasts[0])
        self._drawn = np.random.default_rng(SEED).random(len(self.codes))
        self._codebook = 0

    def contexts(self, rows: np.ndarray) -> np.ndarray:
        """Those of some rows, float32 [row, size]."""
        fewest = int(np.searchsorted(self._rates, self._codebook, side="right"))
        rate = fewest + (self._drawn[rows] * (len(self._rates) - fewest)).astype(int)
        parts = Known(
            self._first[rows],
            self._rates[rate][:, np.newaxis],
            self._before[rows],
            self._earlier[rows],
            self._pasts[rate, rows],
            self._base[rows],
        )
        return np.concatenate([*parts, self._rest[rows]], axis=1, dtype=np.float32)

    def go_on(self) -> None:
        """Take the codes of the present codebook for known."""
        codes = self.codes[:, self._codebook]
        for start in range(0, len(codes), SCALED_BY):
            rows = slice(start, start + SCALED_BY)
            sums = self._context.add(self._codebook, codes[rows], self._base[rows], self._rest[rows])
            self._base[rows], self._rest[rows] = sums
        self._codebook += 1


def _whole(context: Context, codes: np.ndarray) -> Known:
    """What is known before each of the frames, as int16 [chunk * frame, size of the part]."""
    groups = (context.of_codes(codes[start : start + 64]) for start in range(0, len(codes), 64))
    parts = zip(*([part.astype(np.int16) for part in group] for group in groups), strict=True)
    return Known(*(np.concatenate(part).reshape(-1, part[0].shape[-1]) for part in parts))


class Network:
    """The network of one codebook in floats: contexts [row, size] -> two hidden layers -> logits of groups and places.

    Hidden units are limited, so that 8 bits can stand for each. The last layers begin at the principal directions of
    the codewords, and at how often each code came. Codes are given as `group * members + place`.
    """

    def __init__(
        self, codewords: np.ndarray, codes: np.ndarray, contexts: Contexts, recipe: PriorRecipe
    ) -> None:
        generator = np.random.default_rng(SEED)
        some = contexts(generator.integers(len(codes), size=min(len(codes), SCALED_BY)))
        self.mean, self.scale = some.mean(axis=0), some.std(axis=0) + STEPS_PER_UNIT / 20
        self.groups = 1 << (len(codewords).bit_length() - 1) // 2
        self.members = len(codewords) // self.groups

        def drawn(before: int, after: int) -> np.ndarray:
            return generator.normal(0, 0.5 / np.sqrt(before), (before, after)).astype(np.float32)

        self.weights = [
            drawn(some.shape[1], recipe.wide),
            np.zeros(recipe.wide, np.float32),
            drawn(recipe.wide, recipe.narrow),
            np.full(recipe.narrow, 0.5, np.float32),
            *self._outputs(_directions(codewords.astype(np.float32), recipe.narrow, generator), codes),
        ]
        self._average = [np.zeros_like(weight) for weight in self.weights]
        self._square = [np.zeros_like(weight) for weight in self.weights]
        self._steps = 0

    def _outputs(self, directions: np.ndarray, codes: np.ndarray) -> list[np.ndarray]:
        """Kernels and biases of groups and places, at first, from directions [narrow, codebook_size]."""
        counts = np.bincount(codes, minlength=directions.shape[1]).reshape(self.groups, -1) + 4.0
        places = directions.reshape(-1, self.groups, self.members).transpose(1, 0, 2)
        middles = places.mean(axis=2, keepdims=True)
        of_groups, of_places = middles[..., 0].T, places - middles
        likely = np.log(counts / counts.sum(axis=1, keepdims=True))
        biases = np.log(counts.sum(axis=1) / counts.sum()), likely
        sums = (
            0.5 * weights.sum(axis=-2) for weights in (of_groups, of_places)
        )  # hidden units begin around 1/2
        shifted = [(bias - total).astype(np.float32) for bias, total in zip(biases, sums, strict=True)]
        return [of_groups.copy(), shifted[0], of_places.copy(), shifted[1]]

    def fit(self, codes: np.ndarray, contexts: Contexts, recipe: PriorRecipe) -> float:
        """Learn from codes [row] and their contexts; return the bits a code took in the last epoch."""
        generator, size = np.random.default_rng(SEED), min(recipe.batch_size, len(codes))
        steps = len(codes) // size
        bits = 0.0
        for epoch in range(recipe.epochs):
            order = generator.permutation(len(codes))
            bits = 0.0
            for step in range(steps):
                chosen = order[step * size : (step + 1) * size]
                chosen = chosen[np.argsort(codes[chosen] // self.members, kind="stable")]
                done = (epoch + step / steps) / recipe.epochs
                rate = recipe.learning_rate * (0.5 + 0.5 * np.cos(np.pi * done))
                bits += self._step(codes[chosen], contexts(chosen), rate, recipe.decay) / steps
        return bits

    def _step(self, codes: np.ndarray, known: np.ndarray, rate: float, decay: float) -> float:
        """One step of AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) on the mean bits, which are returned.

        The rows come in the order of their groups.
        """
        inputs, slopes = self._run(known)
        upstream, gradients, bits = self._outcome(inputs[2], codes)
        for layer in (1, 0):
            upstream *= slopes[layer]
            gradients[:0] = [inputs[layer].T @ upstream, upstream.sum(axis=0)]
            if layer:
                upstream = upstream @ self.weights[2].T
        self._steps += 1
        rate *= np.sqrt(1 - SQUARED**self._steps) / (1 - AVERAGED**self._steps)
        for weight, gradient, average, square in zip(
            self.weights, gradients, self._average, self._square, strict=True
        ):
            average += (1 - AVERAGED) * (gradient - average)
            square += (1 - SQUARED) * (gradient * gradient - square)
            if weight.ndim > 1:
                weight *= np.float32(1 - rate * decay)
            weight -= np.float32(rate) * average / (np.sqrt(square) + np.float32(1e-8))
        return bits

    def _run(self, known: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """What each layer is given, and where the hidden layers are not limited."""
        inputs, slopes = [((known - self.mean) / self.scale).astype(np.float32)], []
        for layer, limit in enumerate(LIMITS):
            values = inputs[-1] @ self.weights[2 * layer] + self.weights[2 * layer + 1]
            slopes.append((values > 0) & (values < limit))
            inputs.append(np.clip(values, 0, limit))
        return inputs, slopes

    def _outcome(self, hidden: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], float]:
        """The gradients of the mean bits by the hidden units and by the last four weights, and the bits."""
        of_groups, group_bias, of_places, place_bias = self.weights[4:]
        groups, places = np.divmod(codes, self.members)
        ends = np.searchsorted(groups, np.arange(self.groups + 1)).tolist()
        parts = [(group, slice(*ends[group : group + 2])) for group in range(self.groups)]
        logits = place_bias[groups]
        for group, rows in parts:
            logits[rows] += hidden[rows] @ of_places[group]
        place_shares, place_bits = _softmax(logits, places)
        group_shares, group_bits = _softmax(hidden @ of_groups + group_bias, groups)
        upstream = group_shares @ of_groups.T
        by_kernel, by_bias = np.zeros_like(of_places), np.zeros_like(place_bias)
        for group, rows in parts:
            by_kernel[group] = hidden[rows].T @ place_shares[rows]
            by_bias[group] = place_shares[rows].sum(axis=0)
            upstream[rows] += place_shares[rows] @ of_places[group].T
        gradients = [hidden.T @ group_shares, group_shares.sum(axis=0), by_kernel, by_bias]
        return upstream, gradients, group_bits + place_bits

    def quantized(self, limits: np.ndarray) -> Arrays:
        """The layers as whole numbers, by the names of a prior's arrays, for a context that stays within its limits."""
        kernel1, bias1, kernel2, bias2, *outputs = self.weights
        step = np.log(2) / 2**SCORE_BITS  # of a score, in logits
        most = 2**ACTIVATION_BITS - 1
        units = [2**ACTIVATION_BITS / limit for limit in LIMITS]  # of a hidden unit, in its whole numbers
        kernel1 = kernel1 / self.scale[:, None]
        bias1 = bias1 - self.mean @ kernel1
        kernel2 = kernel2 / units[0] * units[1]
        groups, group_bias, places, place_bias = (weight / step for weight in outputs)
        group_bias -= group_bias.max()
        place_bias -= place_bias.max(axis=-1, keepdims=True)
        return {
            **_layer("hidden1", kernel1 * units[0], bias1 * units[0], np.int16, limits),
            **_layer("hidden2", kernel2, bias2 * units[1], np.int16, np.full(len(kernel2), most)),
            **_layer("group", groups / units[1], group_bias, np.int8, np.full(len(groups), most)),
            **_layer("place", places / units[1], place_bias, np.int8, np.full(places.shape[1], most)),
        }


def _directions(codewords: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Of the codewords [codebook_size, dim] their principal coordinates, as far as there are, and their squared length:
    float32 [count, codebook_size], of a variance of one; what is left over is small and random."""
    found = generator.normal(0, 0.05, (count, len(codewords)))
    centred = codewords - codewords.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    kept = min(3 * count // 4, int((sizes > 1e-3 * sizes[0]).sum()))
    if kept:
        found[:kept] = (left * sizes)[:, :kept].T
        found[:kept] /= found[:kept].std()
    squares = np.square(centred).sum(axis=1)
    found[kept] = (squares - squares.mean()) / (squares.std() + 1e-9)
    return found.astype(np.float32)


def _softmax(logits: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, float]:
    """The gradient of the mean loss by the logits [rows, codebook_size], and the loss in bits."""
    rows = np.arange(len(codes))
    logits -= logits.max(axis=1, keepdims=True)
    chosen = logits[rows, codes]
    shares = np.exp(logits)
    sums = shares.sum(axis=1)
    shares /= sums[:, None]
    shares[rows, codes] -= 1
    shares /= len(codes)
    return shares, float((np.log(sums) - chosen).mean() / np.log(2))


def _layer(
    name: str, kernel: np.ndarray, bias: np.ndarray, kind: type[np.signedinteger], limits: np.ndarray
) -> Arrays:
    """A layer as whole numbers, as fine as the type of its kernel and the sums of inputs within limits allow."""
    largest = np.iinfo(kind).max
    sums = (limits @ np.abs(kernel) + np.abs(bias)).max()
    room = min(
        largest / np.abs(kernel).max(initial=1e-9),
        (EXACT - 1 - (limits.sum() + 1) / 2) / max(sums, 1e-9),  # each weight may be rounded up by a half
        MAX_BIAS / np.abs(bias).max(initial=1e-9),
    )
    shift = int(np.clip(np.floor(np.log2(room)), 0, MAX_SHIFT))
    return {
        f"{name}.kernel": np.clip(np.rint(kernel * 2.0**shift), -largest, largest).astype(kind),
        f"{name}.bias": np.clip(np.rint(bias * 2.0**shift), -MAX_BIAS, MAX_BIAS).astype(np.int32),
        f"{name}.shift": np.array(shift, np.int32),
    }
