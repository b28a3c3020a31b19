"""Fit the prior, the last step of a training: encode the corpus, train networks on the codes, quantize them.

The prior (`codec.bitstream.prior`) gives the likelihood of each code in its context. It is trained in floats with Keras
(`codec.training.prior_network`) and stored in integers, so that numpy computes the same on any machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
from keras import ops

from codec.bitstream.prior import PREDICTION_BITS, STEPS_PER_UNIT, Context, FrameContext
from codec.presets import load, save_prior
from codec.runtime import NumpyCodec
from codec.training.augmentation import SIGN_ONLY
from codec.training.corpus import Corpus
from codec.training.data import BatchSpec, draw_batch
from codec.training.prior_network import PriorArrays, PriorNetwork
from codec.training.recipe import PriorRecipe

SEGMENTS = 16  # encoded in one batch
SEED = 0
SAMPLED_FRAMES = 20_480  # frames for the statistics of the contexts, and for the figures at the end
CHUNKS_PER_BLOCK = 64  # chunks whose contexts are computed together


def add_prior(directory: Path, corpus: Corpus, say: Callable[[str], None], recipe: PriorRecipe) -> None:
    """Fit a prior to the training files of a corpus and add it to the preset in `directory`."""
    say("prior: encoding the audio, then training, a few minutes")
    codec = load(directory)
    save_prior(fit_prior(codec, encode_corpus(codec, corpus, recipe), say, recipe), directory)


def encode_corpus(codec: NumpyCodec, corpus: Corpus, recipe: PriorRecipe) -> np.ndarray:
    """Return codes of segments drawn from the training files, int32 [chunk, frame, codebook].

    There are at most as many frames as there is audio, so that few are drawn twice.
    """
    config = codec.config
    chunk = recipe.chunk_seconds * config.reset_interval
    frames = recipe.chunks_per_segment * chunk
    spec = BatchSpec(SEGMENTS, frames * config.hop_length, SEED, augmentation=SIGN_ONLY)
    available = sum(file.length for file in corpus.train) // config.hop_length
    batches = -(-min(recipe.frames, available) // (SEGMENTS * frames))
    codes = [_encode(codec, draw_batch(corpus, spec, number).audio) for number in range(batches)]
    return np.concatenate(codes).reshape(-1, chunk, config.num_codebooks)


def _encode(codec: NumpyCodec, audio: np.ndarray) -> np.ndarray:
    """Encode audio [batch, time, 1] with the prediction reset every second, as in a file."""
    size, state = codec.config.reset_interval * codec.config.hop_length, codec.encoder_state(len(audio))
    steps = []
    for start in range(0, audio.shape[1], size):
        block = audio[:, start : start + size]
        codes, state = codec.encode_step(block, codec.reset_prediction(state), codec.config.num_codebooks)
        steps.append(codes)
    return np.concatenate(steps, axis=1)


def fit_prior(
    codec: NumpyCodec, codes: np.ndarray, say: Callable[[str], None], recipe: PriorRecipe
) -> PriorArrays:
    """Train a prior for a model.

    Args:
        codec: the model.
        codes: int32 [chunk, frame, codebook], all codebooks of the model.
        say: receives lines about the progress.
        recipe: the settings.

    Returns:
        The arrays of a `codec.bitstream.prior.Prior`.
    """
    tables = context_tables(codec)
    batches = PriorBatches(tables, codes, codec.config.shipped_codebooks, recipe.batch_size)
    network = new_network(batches, recipe)
    train_network(network, batches, say, recipe)
    bits = bits_by_codebook(network, batches)
    for count in codec.config.shipped_codebooks:
        found = f"{bits[:count].mean():.2f} of {codec.config.bits_per_code} bits per code"
        say(f"prior: {found} with {count} codebooks, on the training files")
    return {**tables, **network.to_integers(batches.context.limits())}


def train_network(
    network: PriorNetwork, batches: PriorBatches, say: Callable[[str], None], recipe: PriorRecipe
) -> None:
    """Train the networks of all codebooks with AdamW, and say the mean bits after each epoch."""
    rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, recipe.epochs * len(batches))
    optimizer = keras.optimizers.AdamW(rate, recipe.weight_decay, beta_2=0.99, epsilon=1e-8)
    optimizer.exclude_from_weight_decay(network.undecayed)
    network.compile(optimizer)
    for epoch in range(recipe.epochs):
        for contexts, codes in batches.epoch():
            bits_per_frame = network.train_on_batch(contexts, codes)  # mean since the last reset
        network.reset_metrics()
        bits = float(bits_per_frame) / codes.shape[1]
        say(f"prior: epoch {epoch + 1} of {recipe.epochs}, {bits:.2f} bits per code")


def context_tables(codec: NumpyCodec) -> PriorArrays:
    """Return the integers that contexts are computed from, and the order of the codes."""
    quantizer = codec.parts["quantizer"]
    codewords = np.rint(np.float32(quantizer["codebooks"]) * STEPS_PER_UNIT)
    codewords = np.clip(codewords, -127, 127).astype(np.int8)
    prediction = np.rint(np.float32(quantizer["prediction"]) * 2**PREDICTION_BITS)
    return {
        "codewords": codewords,
        "order": np.stack([similarity_order(book.astype(np.float64)) for book in codewords]),
        "prediction": np.clip(prediction, -(2**15) + 1, 2**15 - 1).astype(np.int16),
        "base_codebooks": np.array(codec.config.base_codebooks, np.int32),
        "restart_frames": np.array(codec.config.reset_interval, np.int32),
    }


def similarity_order(codewords: np.ndarray) -> np.ndarray:
    """Return an order of codewords [codebook_size, dim], int16, with similar ones next to each other.

    They are halved along their longest axis, and so is each half in turn.
    """
    parts = [np.arange(len(codewords))]
    while len(parts[0]) > 1:
        halves = []
        for part in parts:
            centred = codewords[part] - codewords[part].mean(axis=0)
            coordinates = np.linalg.svd(centred, full_matrices=False)[0][:, 0]
            along = part[np.argsort(coordinates, kind="stable")]
            halves += [along[: len(along) // 2], along[len(along) // 2 :]]
        parts = halves
    return np.concatenate(parts).astype(np.int16)


class PriorBatches:
    """Batches of contexts float32 [row, codebook, context] and codes int32 [row, codebook], in random order.

    A row is a frame. Its context for each codebook is that of a stream of one of the rates that use this codebook; all
    of these rates are equally frequent. A code is its place in the order of its codebook.

    Args:
        tables: of `context_tables`.
        codes: int32 [chunk, frame, codebook].
        rates: numbers of codebooks that the model ships with, ascending.
        batch_size: frames.

    Attributes:
        context: computes the contexts.
        codewords: int8 [codebook, codebook_size, dim], in the order of the codes.
        codes: int32 [row, codebook].
    """

    def __init__(self, tables: PriorArrays, codes: np.ndarray, rates: Sequence[int], batch_size: int) -> None:
        scalars = int(tables["base_codebooks"]), int(tables["restart_frames"])
        self.context = Context(tables["codewords"], tables["prediction"], *scalars)
        self.codewords = np.take_along_axis(
            tables["codewords"], tables["order"][..., None].astype(int), axis=1
        )
        rows = codes.reshape(-1, codes.shape[-1])
        places = np.argsort(tables["order"], axis=1)
        self.codes = places[np.arange(rows.shape[1]), rows].astype(np.int32)
        self._rates = np.array(rates)
        by_rate = [frame_contexts(self.context, codes[..., :rate]) for rate in rates]
        self._frames = by_rate[-1]
        self._previous_rests = np.stack([frames.previous_rest for frames in by_rate])  # [rate, row, dim]
        self._generator = np.random.default_rng(SEED)
        self._draws = self._generator.random(len(rows))
        self._batch_size = min(batch_size, len(rows))

    def __len__(self) -> int:
        return len(self.codes) // self._batch_size

    def epoch(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield all batches in a new random order; the rows that do not fill a batch are left out."""
        order = self._generator.permutation(len(self.codes))
        for rows in order[: len(self) * self._batch_size].reshape(-1, self._batch_size):
            yield self.contexts(rows), self.codes[rows]

    def sample(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield random batches of about SAMPLED_FRAMES frames in all, at least one."""
        return itertools.islice(self.epoch(), -(-SAMPLED_FRAMES // self._batch_size))

    def contexts(self, rows: np.ndarray) -> np.ndarray:
        """Return the contexts of some rows for every codebook, float32 [row, codebook, context]."""
        codebooks = np.arange(self.codes.shape[1])
        rate = self._draw_rates(rows, codebooks)
        base, rest = self._sums_before(rows, codebooks)
        frames = self._frames
        constant = (frames.first, frames.previous_base, frames.earlier_base)
        first, previous_base, earlier_base = (
            np.broadcast_to(part[rows, None], (len(rows), len(codebooks), part.shape[1])) for part in constant
        )
        depth, previous_rest = self._rates[rate][..., None], self._previous_rests[rate, rows[:, None]]
        parts = (first, depth, previous_base, earlier_base, previous_rest, base, rest)
        return np.concatenate(parts, axis=2, dtype=np.float32)

    def _draw_rates(self, rows: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
        """Return an index into the rates that use each codebook, [row, codebook], always the same for a row."""
        lowest = np.searchsorted(self._rates, codebooks, side="right")
        return lowest + (self._draws[rows, None] * (len(self._rates) - lowest)).astype(int)

    def _sums_before(self, rows: np.ndarray, codebooks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return base and rest before each codebook, int16 [row, codebook, dim]."""
        words = self.codewords[codebooks, self.codes[rows]].astype(np.int16)
        count = self.context.base_codebooks
        base, rest = words[..., : self.context.base_dim].copy(), words
        base[:, count:] = 0
        rest[:, :count] = 0
        predicted = self._frames.predicted_base[rows, None]
        sums = [np.cumsum(part, axis=1, dtype=np.int16) - part for part in (base, rest)]
        return predicted + sums[0], sums[1]


def frame_contexts(context: Context, codes: np.ndarray) -> FrameContext:
    """Return the contexts of all frames of codes [chunk, frame, codebook], as int16 [row, size of the part]."""
    blocks = []
    for start in range(0, len(codes), CHUNKS_PER_BLOCK):
        parts = context.of_codes(codes[start : start + CHUNKS_PER_BLOCK])
        blocks.append([part.astype(np.int16).reshape(-1, part.shape[-1]) for part in parts])
    return FrameContext(*(np.concatenate(part) for part in zip(*blocks, strict=True)))


def new_network(batches: PriorBatches, recipe: PriorRecipe) -> PriorNetwork:
    """Return a network initialized for the codes and contexts of some batches."""
    num_codebooks, codebook_size, _ = batches.codewords.shape
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for contexts, _ in batches.sample():
        count, total = count + len(contexts), total + contexts.sum(axis=0, dtype=np.float64)
        squares = squares + np.square(contexts).sum(axis=0, dtype=np.float64)
    mean = total / count
    network = PriorNetwork(num_codebooks, mean.shape[1], codebook_size, recipe)
    network.mean.assign(mean)
    spread = np.sqrt(np.maximum(squares / count - mean**2, 0))
    network.scale.assign(spread + STEPS_PER_UNIT / 20)  # a constant input must not be enlarged
    counts = np.stack([np.bincount(column, minlength=codebook_size) for column in batches.codes.T])
    network.initialize(batches.codewords.astype(np.float32), counts, np.random.default_rng(SEED))
    return network


def bits_by_codebook(network: PriorNetwork, batches: PriorBatches) -> np.ndarray:
    """Return the mean bits of a code in each codebook, [codebook], on some of the training frames."""
    bits = [
        ops.convert_to_numpy(network.bits(network(contexts), codes)).mean(axis=1)
        for contexts, codes in batches.sample()
    ]
    return np.mean(bits, axis=0)
