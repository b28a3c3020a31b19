"""The last step of a training: the prior, fitted to the codes of the finished model and made of whole numbers.

The network of each codebook (see `codec.bitstream.prior`) learns, in floats, to tell each code from its context: the
loss is the bits that the code will take. Plain numpy does, on any machine and whatever backend trained the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from codec.bitstream.prior import (
    ACTIVATION_BITS,
    MAX_BIAS,
    MAX_SHIFT,
    PREDICTION_BITS,
    SCORE_BITS,
    STEPS_PER_UNIT,
    Context,
)
from codec.light import LightCodec
from codec.presets import load_light, save_prior
from codec.training.augmentation import PLAIN
from codec.training.data import BatchSpec, Corpus, build_cache, draw_batch
from codec.training.recipe import PriorRecipe

Arrays = dict[str, np.ndarray]
Say = Callable[[str], None]

SEGMENTS = 16  # coded at once
SEED = 0
LIMITS = (4.0, 1.0)  # of the hidden units of the two layers, from 0 on
MAX_HIDDEN_BIAS = 2**31 - 1
AVERAGED, SQUARED = 0.9, 0.99  # decays of Adam


def fit_preset(directory: Path, folder: Path, cache: Path, say: Say) -> None:
    """Fit a prior for the finished preset in `directory` to a folder of audio, whose samples are kept in `cache`."""
    rate = load_light(directory).config.sample_rate
    add_prior(directory, build_cache(folder, cache, rate, say), say, PriorRecipe())


def add_prior(directory: Path, corpus: Corpus, say: Say, recipe: PriorRecipe) -> None:
    """Fit a prior for the preset in `directory` to the files of a corpus to learn from, and put it there."""
    say("prior: coding the audio, then fitting, a few minutes")
    codec = load_light(directory)
    save_prior(fit_prior(codec, code(codec, corpus, recipe), say, recipe), directory)


def code(codec: LightCodec, corpus: Corpus, recipe: PriorRecipe) -> np.ndarray:
    """Codes of segments drawn from the files to learn from, as they are: int32 [segment, frame, codebook].

    No more of them than there is audio, so that few are drawn twice.
    """
    config = codec.config
    frames = max(1, round(recipe.segment_seconds * config.frame_rate))
    spec = BatchSpec(SEGMENTS, frames * config.hop_length, SEED, augmentation=PLAIN)
    there = sum(file.length for file in corpus.train) // config.hop_length
    batches = -(-min(recipe.frames, there) // (SEGMENTS * frames))
    return np.concatenate(
        [_coded(codec, draw_batch(corpus, spec, number).audio) for number in range(batches)]
    )


def _coded(codec: LightCodec, audio: np.ndarray) -> np.ndarray:
    """Codes [batch, frame, codebook] of audio [batch, time, 1], the prediction begun anew each second as in a file."""
    size, state = codec.config.restart_frames * codec.config.hop_length, codec.encoder_state(len(audio))
    steps = []
    for start in range(0, audio.shape[1], size):
        block = audio[:, start : start + size]
        codes, state = codec.fast_encode_step(block, codec.restarted(state), codec.config.num_codebooks)
        steps.append(codes)
    return np.concatenate(steps, axis=1)


def fit_prior(codec: LightCodec, codes: np.ndarray, say: Say, recipe: PriorRecipe) -> Arrays:
    """A prior for a model, as arrays for `codec.bitstream.prior.Prior`, from codes int32 [segment, frame, codebook]."""
    facts = _facts(codec)
    context = Context(
        facts["codewords"], facts["prediction"], int(facts["base_codebooks"]), int(facts["restart_frames"])
    )
    layers: dict[str, list[np.ndarray]] = {}
    spent = []
    for codebook, known in enumerate(_contexts(context, codes)):
        network = Network(facts["codewords"][codebook], codes[..., codebook].ravel(), known, recipe)
        spent.append(network.fit(codes[..., codebook].ravel(), known, recipe))
        for name, array in network.quantized().items():
            layers.setdefault(name, []).append(array)
        if len(spent) in codec.config.shipped_codebooks:
            bits = f"{np.mean(spent):.2f} of {codec.config.bits_per_code} bits a code"
            say(f"prior: {bits} with {len(spent)} codebooks, while learning")
    return {**facts, **{name: np.stack(arrays) for name, arrays in layers.items()}}


def _facts(codec: LightCodec) -> Arrays:
    """What the context is made from, in whole numbers."""
    codewords = np.rint(np.float32(codec.weights["quantizer.codebooks"]) * STEPS_PER_UNIT)
    prediction = np.rint(np.float32(codec.weights["quantizer.prediction"]) * 2**PREDICTION_BITS)
    return {
        "codewords": np.clip(codewords, -127, 127).astype(np.int8),
        "prediction": np.clip(prediction, -(2**15) + 1, 2**15 - 1).astype(np.int16),
        "base_codebooks": np.array(codec.config.base_codebooks, np.int32),
        "restart_frames": np.array(codec.config.restart_frames, np.int32),
    }


def _contexts(context: Context, codes: np.ndarray) -> Iterator[np.ndarray]:
    """The contexts of all codes, int16 [rows, size], of one codebook after another."""
    groups = [context.of_codes(codes[start : start + 64]) for start in range(0, len(codes), 64)]
    for parts in zip(*groups, strict=True):
        yield np.concatenate([part.astype(np.int16).reshape(-1, context.size) for part in parts])


class Network:
    """The network of one codebook in floats: context [rows, size] -> two hidden layers -> logits [rows, codebook_size].

    Hidden units are limited, so that 8 bits can stand for each. The last layer begins at the principal directions of
    the codewords, and at how often each code came.
    """

    def __init__(
        self, codewords: np.ndarray, codes: np.ndarray, known: np.ndarray, recipe: PriorRecipe
    ) -> None:
        generator = np.random.default_rng(SEED)
        self.mean, self.scale = known.mean(axis=0), known.std(axis=0) + STEPS_PER_UNIT / 100

        def drawn(before: int, after: int) -> np.ndarray:
            return generator.normal(0, 0.5 / np.sqrt(before), (before, after)).astype(np.float32)

        self.weights = [
            drawn(known.shape[1], recipe.wide),
            np.zeros(recipe.wide, np.float32),
            drawn(recipe.wide, recipe.narrow),
            np.full(recipe.narrow, 0.5, np.float32),
        ]
        counts = np.bincount(codes, minlength=len(codewords)) + 0.5
        output = _directions(codewords.astype(np.float32), recipe.narrow, generator)
        self.weights += [output, np.log(counts / counts.sum()).astype(np.float32) - 0.5 * output.sum(axis=0)]
        self._average = [np.zeros_like(weight) for weight in self.weights]
        self._square = [np.zeros_like(weight) for weight in self.weights]
        self._steps = 0

    def fit(self, codes: np.ndarray, known: np.ndarray, recipe: PriorRecipe) -> float:
        """Learn from codes [rows] and contexts [rows, size]; return the bits a code took in the last epoch."""
        generator, size = np.random.default_rng(SEED), min(recipe.batch_size, len(codes))
        steps = len(codes) // size
        bits = 0.0
        for epoch in range(recipe.epochs):
            order = generator.permutation(len(codes))
            bits = 0.0
            for step in range(steps):
                chosen = order[step * size : (step + 1) * size]
                done = (epoch + step / steps) / recipe.epochs
                rate = recipe.learning_rate * (0.5 + 0.5 * np.cos(np.pi * done))
                bits += self._step(codes[chosen], known[chosen], rate) / steps
        return bits

    def _step(self, codes: np.ndarray, known: np.ndarray, rate: float) -> float:
        """One step of Adam (Kingma and Ba 2015, arXiv 1412.6980) on the mean bits, which are returned."""
        inputs, slopes, logits = self._run(known)
        shares, bits = _softmax(logits, codes)
        upstream, self._steps = shares, self._steps + 1
        gradients: list[np.ndarray] = []
        for layer in (2, 1, 0):
            gradients[:0] = [inputs[layer].T @ upstream, upstream.sum(axis=0)]
            if layer:
                upstream = (upstream @ self.weights[2 * layer].T) * slopes[layer - 1]
        rate *= np.sqrt(1 - SQUARED**self._steps) / (1 - AVERAGED**self._steps)
        for weight, gradient, average, square in zip(
            self.weights, gradients, self._average, self._square, strict=True
        ):
            average += (1 - AVERAGED) * (gradient - average)
            square += (1 - SQUARED) * (gradient * gradient - square)
            weight -= np.float32(rate) * average / (np.sqrt(square) + np.float32(1e-8))
        return bits

    def _run(self, known: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """What each layer is given, where the hidden layers are not limited, and the logits."""
        inputs, slopes = [((known - self.mean) / self.scale).astype(np.float32)], []
        for layer, limit in enumerate(LIMITS):
            values = inputs[-1] @ self.weights[2 * layer] + self.weights[2 * layer + 1]
            slopes.append((values > 0) & (values < limit))
            inputs.append(np.clip(values, 0, limit))
        return inputs, slopes, inputs[-1] @ self.weights[4] + self.weights[5]

    def quantized(self) -> Arrays:
        """The layers as whole numbers, by the names of a prior's arrays."""
        kernel1, bias1, kernel2, bias2, kernel3, bias3 = self.weights
        step = np.log(2) / 2**SCORE_BITS  # of a score, in logits
        units = [2**ACTIVATION_BITS / limit for limit in LIMITS]  # of a hidden unit, in its whole numbers
        kernel1 = kernel1 / self.scale[:, None]
        bias1 = bias1 - self.mean @ kernel1
        kernel2 = kernel2 / units[0] * units[1]
        return {
            **_layer("hidden1", kernel1 * units[0], bias1 * units[0], np.int16, MAX_HIDDEN_BIAS),
            **_layer("hidden2", kernel2, bias2 * units[1], np.int16, MAX_HIDDEN_BIAS),
            **_layer("output", kernel3 / units[1] / step, (bias3 - bias3.max()) / step, np.int8, MAX_BIAS),
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
    name: str, kernel: np.ndarray, bias: np.ndarray, kind: type[np.signedinteger], limit: int
) -> Arrays:
    """A layer as whole numbers: the kernel as fine as its type holds, the bias, up to `limit`, in the same steps."""
    largest = np.iinfo(kind).max
    room = min(largest / np.abs(kernel).max(initial=1e-9), limit / np.abs(bias).max(initial=1e-9))
    shift = int(np.clip(np.floor(np.log2(room)), 0, MAX_SHIFT))
    return {
        f"{name}.kernel": np.clip(np.rint(kernel * 2.0**shift), -largest, largest).astype(kind),
        f"{name}.bias": np.clip(np.rint(bias * 2.0**shift), -limit, limit).astype(np.int32),
        f"{name}.shift": np.array(shift, np.int32),
    }
