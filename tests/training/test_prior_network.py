"""The networks of the prior: they learn from the context, and integers keep what was learned."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from codec.training.fit_prior import train_network
from codec.training.prior_network import PriorArrays, PriorNetwork
from codec.training.recipe import PriorRecipe

RECIPE = PriorRecipe(epochs=15, batch_size=100, learning_rate=2e-2, wide=16, narrow=8)
SIZE, ROWS, CONTEXT = 16, 4000, 6


class Batches:
    """All rows in every epoch, in the same order; has what `train_network` needs of `PriorBatches`."""

    def __init__(self, contexts: NDArray[np.float32], codes: NDArray[np.int32]) -> None:
        self.contexts, self.codes = contexts, codes

    def __len__(self) -> int:
        return ROWS // RECIPE.batch_size

    def epoch(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int32]]]:
        for start in range(0, len(self) * RECIPE.batch_size, RECIPE.batch_size):
            rows = slice(start, start + RECIPE.batch_size)
            yield self.contexts[rows], self.codes[rows]


def random_contexts() -> NDArray[np.float32]:
    return np.random.default_rng(0).integers(-100, 100, (ROWS, 2, CONTEXT)).astype(np.float32)


def trained(
    contexts: NDArray[np.float32], codes: NDArray[np.int32]
) -> tuple[NDArray[np.floating], PriorArrays]:
    """Return the bits of a code in each of two codebooks, and the trained networks as integers."""
    generator = np.random.default_rng(1)
    network = PriorNetwork(2, CONTEXT, SIZE, RECIPE)
    network.mean.assign(contexts.mean(axis=0))
    network.scale.assign(contexts.std(axis=0))
    counts = np.stack([np.bincount(column, minlength=SIZE) for column in codes.T])
    network.initialize(generator.integers(-60, 60, (2, SIZE, 5)), counts, generator)
    train_network(network, Batches(contexts, codes), lambda line: None, RECIPE)  # type: ignore[arg-type]
    bits = np.asarray(network.bits(network(contexts), codes)).mean(axis=1)
    return bits, network.to_integers(np.abs(contexts).max(axis=(0, 1)))


def integer_bits(
    arrays: PriorArrays, codebook: int, contexts: NDArray[np.float32], codes: NDArray[np.int32]
) -> float:
    """Return the mean bits of a code, computed with the integers of one codebook."""
    layers = {name: array[codebook] for name, array in arrays.items()}
    values = contexts.astype(np.float64)
    for name in ("hidden1", "hidden2"):
        values = values @ layers[f"{name}.kernel"] + layers[f"{name}.bias"]
        values = np.clip(np.floor(values / 2.0 ** layers[f"{name}.shift"]), 0, 255)
    groups, places = np.divmod(codes, layers["place.bias"].shape[1])
    group_scores = values @ layers["group.kernel"] + layers["group.bias"]
    place_scores = (values[:, None] @ layers["place.kernel"][groups])[:, 0] + layers["place.bias"][groups]
    bits = bits_of(group_scores, layers["group.shift"], groups) + bits_of(
        place_scores, layers["place.shift"], places
    )
    return float(bits.mean())


def bits_of(
    scores: NDArray[np.floating], shift: NDArray[np.int32], numbers: NDArray[np.int32]
) -> NDArray[np.floating]:
    likelihoods = np.exp2((scores - scores.max(axis=1, keepdims=True)) / 2.0**shift / 256)
    bits: NDArray[np.floating] = np.log2(
        likelihoods.sum(axis=1) / likelihoods[np.arange(len(numbers)), numbers]
    )
    return bits


def test_each_codebook_learns_from_its_context_and_integers_keep_it() -> None:
    generator, contexts = np.random.default_rng(0), random_contexts()
    from_context = (contexts[:, 0, 2] > 0) * 8 + (np.abs(contexts[:, 0, 3]) > 50) * 4
    predictable = from_context + generator.integers(0, 4, ROWS)
    shares = np.array([0.5, *[0.5 / (SIZE - 1)] * (SIZE - 1)])
    codes = np.stack([predictable, generator.choice(SIZE, ROWS, p=shares)], axis=1).astype(np.int32)
    bits, arrays = trained(contexts, codes)
    whole = [
        integer_bits(arrays, codebook, contexts[:, codebook], codes[:, codebook]) for codebook in range(2)
    ]
    assert bits[0] < 2.25  # two of the bits are random
    entropy = -np.sum(shares * np.log2(shares))
    assert entropy - 0.4 < bits[1] < entropy + 0.05  # nothing predicts the codes, only their frequencies help
    np.testing.assert_allclose(whole, bits, atol=0.05)


def test_before_training_a_code_costs_what_its_frequency_says() -> None:
    network = PriorNetwork(1, CONTEXT, SIZE, RECIPE)
    network.scale.assign(np.ones((1, CONTEXT)))
    counts = np.full((1, SIZE), 1000)
    counts[0, 3] = 15000
    network.initialize(np.zeros((1, SIZE, 5)), counts, np.random.default_rng(0))
    contexts, codes = np.zeros((4, 1, CONTEXT), np.float32), np.array([[3], [3], [0], [15]], np.int32)
    bits = np.asarray(network.bits(network(contexts), codes))[0]
    np.testing.assert_allclose(bits, [1, 1, np.log2(30), np.log2(30)], atol=0.3)
