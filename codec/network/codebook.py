"""What a codebook does, as pure functions on tensors: search, count, move, revive, start.

A codebook follows moving averages (van den Oord et al. 2017, arXiv 1711.00937, appendix A.1). For every codeword they
hold the number of vectors that chose it (`counts`, N there) and the sum of these vectors (`sums`, m there). The
codeword is their quotient. The averages are stored raw, and smoothed only where the quotient is taken.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from keras import ops

from codec.network.streaming import Tensor

SMOOTHING = 1e-5  # Laplace smoothing of the counts
GOLDEN_RATIO = 0.6180339887498949
DEAD_SHARE = 0.1  # a codeword used less than this share of the mean is dead
VECTORS_PER_CLUSTER = 24  # that k-means iterates on
ROWS_PER_SEARCH = 4096  # so that the table of distances stays small


class Averages(NamedTuple):
    """Moving averages of every codeword: counts [codebook, size], sums of vectors [codebook, size, dim]."""

    counts: Tensor
    sums: Tensor


def first_smallest(scores: Tensor) -> Tensor:
    """Return the index of the first of the smallest numbers in the last axis, int32 [...].

    LiteRT cannot run Keras' argmin, and on a CPU two reductions are faster than TensorFlow's.
    """
    numbers = np.arange(scores.shape[-1], dtype=np.float32)
    smallest = scores <= ops.min(scores, axis=-1, keepdims=True)
    return ops.cast(ops.min(ops.where(smallest, numbers, numbers[-1]), axis=-1), "int32")


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Return the index of the nearest codeword, Euclidean; the first of equally near ones.

    This is the only nearest-codeword search of the Keras model, in training and in what is exported.

    Shapes:
        vectors:  float32 [rows, dim]
        codebook: float32 [size, dim]
        returns:  int32 [rows]
    """
    squares = ops.sum(codebook * codebook, axis=-1)
    return first_smallest(squares - ops.matmul(vectors, 2 * ops.transpose(codebook)))


def count(vectors: Tensor, codes: Tensor, weights: Tensor, size: int) -> Averages:
    """Return counts and sums over a batch, for several codebooks together.

    Args:
        vectors: [codebook, rows, dim], the input of each codebook.
        codes: int32 [codebook, rows].
        weights: [codebook, rows]; 0 leaves a row out.
        size: codewords of a codebook.
    """
    books, dim = vectors.shape[0], vectors.shape[-1]
    numbered = codes + size * np.arange(books, dtype=np.int32)[:, None]
    rows = ops.concatenate([weights[..., None], vectors * weights[..., None]], axis=-1)
    totals = ops.segment_sum(
        ops.reshape(rows, (-1, dim + 1)), ops.reshape(numbered, (-1,)), num_segments=books * size
    )
    totals = ops.reshape(totals, (books, size, dim + 1))
    return Averages(totals[..., 0], totals[..., 1:])


def replacement_vectors(vectors: Tensor, weights: Tensor, size: int) -> Tensor:
    """Return, for each codeword, an input vector where it may be revived: [codebook, size, dim].

    Multiples of the golden ratio spread them over the rows with a weight; a shuffled batch needs no other chance. A
    codebook without such rows gets vectors of no meaning.

    Args:
        vectors: [codebook, rows, dim], as for `count`.
        weights: [codebook, rows], as for `count`.
        size: codewords of a codebook.
    """
    books, dim = vectors.shape[0], vectors.shape[-1]
    spread = (np.arange(1, size + 1) * GOLDEN_RATIO % 1).astype(np.float32)
    totals = ops.sum(weights, axis=1)
    places = (ops.cumsum(totals) - totals)[:, None] + totals[:, None] * spread
    chosen = ops.searchsorted(
        ops.cumsum(ops.reshape(weights, (-1,))), ops.reshape(places, (-1,)), side="right"
    )
    rows = ops.reshape(vectors, (-1, dim))
    rows = ops.take(rows, ops.minimum(ops.cast(chosen, "int32"), ops.shape(rows)[0] - 1), axis=0)
    return ops.reshape(rows, (books, size, dim))


def move(averages: Averages, batch: Averages, decay: float) -> Averages:
    """Return the moving averages after one batch."""
    return Averages(
        decay * averages.counts + (1 - decay) * batch.counts, decay * averages.sums + (1 - decay) * batch.sums
    )


def codewords(averages: Averages) -> Tensor:
    """Return the codebooks that the averages stand for, [codebook, size, dim]."""
    total, size = ops.sum(averages.counts, axis=-1, keepdims=True), averages.counts.shape[-1]
    smoothed = (averages.counts + SMOOTHING) * total / (total + size * SMOOTHING)
    return averages.sums / smoothed[..., None]


def revive(averages: Averages, replacements: Tensor, batch: Averages) -> Averages:
    """Move dead codewords to input vectors.

    A revived codeword starts with the mean count, so it has time to be used. Codebooks that counted nothing in this
    batch stay as they are.

    Args:
        averages: the moving averages.
        replacements: [codebook, size, dim], from `replacement_vectors`.
        batch: what this batch counted.
    """
    mean = ops.mean(averages.counts, axis=-1, keepdims=True)
    counted = ops.sum(batch.counts, axis=-1, keepdims=True) > 0
    dead = ops.logical_and(averages.counts < DEAD_SHARE * mean, counted)
    return Averages(
        ops.where(dead, mean, averages.counts),
        ops.where(dead[..., None], replacements * mean[..., None], averages.sums),
    )


def usage(counts: Tensor) -> Tensor:
    """Return the share of the codewords of each codebook that are in use: a tenth of the mean count or more."""
    return ops.mean(
        ops.cast(counts >= DEAD_SHARE * ops.mean(counts, axis=-1, keepdims=True), "float32"), axis=-1
    )


def perplexity(counts: Tensor) -> Tensor:
    """Return exp(entropy) of the counts of each codebook: how many codewords are in effective use."""
    shares = counts / ops.maximum(ops.sum(counts, axis=-1, keepdims=True), 1e-10)
    return ops.exp(-ops.sum(shares * ops.log(shares + 1e-10), axis=-1))


def kmeans(vectors: np.ndarray, size: int, iterations: int, generator: np.random.Generator) -> np.ndarray:
    """Cluster vectors by Lloyd's algorithm from random centers: float32 [rows, dim] -> [size, dim].

    It iterates on 24 vectors a cluster, then once on all. Empty clusters restart at random vectors.
    """
    few = vectors[generator.permutation(len(vectors))[: VECTORS_PER_CLUSTER * size]]
    centers = few[generator.choice(len(few), size, replace=len(few) < size)]
    for rows in [few] * iterations + [vectors]:
        codes = _nearest_rows(rows, centers)
        counts, order = np.bincount(codes, minlength=size), np.argsort(codes, kind="stable")
        used = np.flatnonzero(counts)
        centers = rows[generator.integers(len(rows), size=size)]
        starts = np.cumsum(counts)[used] - counts[used]
        centers[used] = np.add.reduceat(rows[order], starts) / counts[used, None]
    return centers


def residual_kmeans(
    vectors: np.ndarray, shape: tuple[int, int], iterations: int, generator: np.random.Generator
) -> np.ndarray:
    """Cluster the residuals of each stage: float32 [rows, dim], shape (stages, size) -> [stages, size, dim]."""
    stages, size = shape
    codebooks = []
    for _ in range(stages):
        codebooks.append(kmeans(vectors, size, iterations, generator))
        vectors = vectors - codebooks[-1][_nearest_rows(vectors, codebooks[-1])]
    return np.stack(codebooks)


def _nearest_rows(vectors: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Run `nearest` block by block, so that the table of distances stays small."""
    blocks = (vectors[start : start + ROWS_PER_SEARCH] for start in range(0, len(vectors), ROWS_PER_SEARCH))
    return np.concatenate([ops.convert_to_numpy(nearest(block, centers)) for block in blocks])
