"""What a codebook does, as pure functions on tensors: find, count, move, restart, begin.

A codebook moves by the moving averages of van den Oord et al. 2017 (arXiv 1711.00937, appendix A.1): of every codeword
the number of vectors that chose it (`counts`, N there) and their sum (`sums`, m there); the codeword is their quotient.
The averages are stored raw, and smoothed only where the quotient is taken.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from keras import ops

from codec.network.streaming import Tensor

SMOOTHING = 1e-5  # Laplace smoothing of the counts
GOLDEN_RATIO = 0.6180339887498949
DEAD_SHARE = 0.1  # a codeword used less than this share of the mean is restarted


class Averages(NamedTuple):
    """Of each codeword: counts [codebook, size], and sums of the vectors that chose it [codebook, size, dim]."""

    counts: Tensor
    sums: Tensor


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Index of the nearest codeword, Euclidean, in float32: [rows, dim], [size, dim] -> int32 [rows].

    The first of equally near ones. Two plain reductions find it sooner than TensorFlow's argmin does on a CPU.
    """
    distances = ops.sum(codebook * codebook, axis=-1) - 2 * ops.matmul(vectors, ops.transpose(codebook))
    least, last = ops.min(distances, axis=-1, keepdims=True), codebook.shape[0] - 1
    numbers = np.arange(last + 1, dtype=np.float32)
    return ops.cast(ops.min(ops.where(distances <= least, numbers, float(last)), axis=-1), "int32")


def count(vectors: Tensor, codes: Tensor, weights: Tensor, size: int) -> Averages:
    """Counts and sums over a batch, for several codebooks at once.

    Args:
        vectors: [codebook, rows, dim], what each codebook was given.
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


def candidates(vectors: Tensor, weights: Tensor, size: int) -> Tensor:
    """For each codeword a vector where it may start again, [codebook, size, dim], among the rows that count.

    They are spread over the rows by multiples of the golden ratio; a shuffled batch needs no other chance. `vectors`
    [codebook, rows, dim] and `weights` [codebook, rows] are those of `count`; a codebook for which no row counts gets
    vectors of no meaning.
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
    """One step of the moving averages."""
    return Averages(
        decay * averages.counts + (1 - decay) * batch.counts, decay * averages.sums + (1 - decay) * batch.sums
    )


def codewords(averages: Averages) -> Tensor:
    """The codebooks that the averages stand for, [codebook, size, dim]."""
    total, size = ops.sum(averages.counts, axis=-1, keepdims=True), averages.counts.shape[-1]
    smoothed = (averages.counts + SMOOTHING) * total / (total + size * SMOOTHING)
    return averages.sums / smoothed[..., None]


def restart(averages: Averages, fresh: Tensor, batch: Averages) -> Averages:
    """Put codewords that hardly anything chooses where vectors are: at `fresh`, see `candidates`.

    A restarted codeword begins with the mean count, so it has time to be found. Codebooks for which nothing counted
    in this batch stay as they are.
    """
    mean = ops.mean(averages.counts, axis=-1, keepdims=True)
    counted = ops.sum(batch.counts, axis=-1, keepdims=True) > 0
    dead = ops.logical_and(averages.counts < DEAD_SHARE * mean, counted)
    return Averages(
        ops.where(dead, mean, averages.counts),
        ops.where(dead[..., None], fresh * mean[..., None], averages.sums),
    )


def usage(counts: Tensor) -> Tensor:
    """Share of the codewords of each codebook that are in use: chosen at least a tenth as often as the mean."""
    return ops.mean(
        ops.cast(counts >= DEAD_SHARE * ops.mean(counts, axis=-1, keepdims=True), "float32"), axis=-1
    )


def perplexity(counts: Tensor) -> Tensor:
    """Exponential of the entropy of the counts of each codebook: how many codewords are in effect in use."""
    shares = counts / ops.maximum(ops.sum(counts, axis=-1, keepdims=True), 1e-10)
    return ops.exp(-ops.sum(shares * ops.log(shares + 1e-10), axis=-1))


def kmeans(vectors: np.ndarray, size: int, iterations: int, generator: np.random.Generator) -> np.ndarray:
    """Lloyd's algorithm from random vectors: float32 [rows, dim] -> [size, dim].

    Iterates on 24 vectors a cluster, then once on all. Empty clusters begin again at random vectors.
    """
    few = vectors[generator.permutation(len(vectors))[: 24 * size]]
    centres = few[generator.choice(len(few), size, replace=len(few) < size)]
    for rows in [few] * iterations + [vectors]:
        codes = _nearest_rows(rows, centres)
        counts, order = np.bincount(codes, minlength=size), np.argsort(codes, kind="stable")
        used = np.flatnonzero(counts)
        centres = rows[generator.integers(len(rows), size=size)]
        starts = np.cumsum(counts)[used] - counts[used]
        centres[used] = np.add.reduceat(rows[order], starts) / counts[used, None]
    return centres


def residual_kmeans(
    vectors: np.ndarray, shape: tuple[int, int], iterations: int, generator: np.random.Generator
) -> np.ndarray:
    """K-means of what the stages before left: float32 [rows, dim], (stages, size) -> [stages, size, dim]."""
    stages, size = shape
    codebooks = []
    for _ in range(stages):
        codebooks.append(kmeans(vectors, size, iterations, generator))
        vectors = vectors - codebooks[-1][_nearest_rows(vectors, codebooks[-1])]
    return np.stack(codebooks)


def _nearest_rows(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """`nearest` in numpy, block by block so that the table of distances stays small."""
    squares = np.sum(centres * centres, axis=-1)
    blocks = range(0, len(vectors), 4096)
    codes = [np.argmin(squares - 2 * vectors[start : start + 4096] @ centres.T, axis=-1) for start in blocks]
    return np.concatenate(codes)
