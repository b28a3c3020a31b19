"""Codebooks against numpy: search, counts, moving averages (after the tests of sonnet), revival, k-means."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from support.contract import white

from codec.network import codebook
from codec.network.codebook import Averages
from codec.network.quantizer import ResidualVectorQuantizer

SIZE, DIM = 5, 3


def numpy_nearest(vectors: np.ndarray, codewords: np.ndarray) -> np.ndarray:
    return np.argmin(np.sum((vectors[:, None] - codewords[None]) ** 2, axis=-1), axis=-1)


def numpy_count(vectors: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> Averages:
    """One row after another."""
    counts, sums = np.zeros((len(vectors), SIZE)), np.zeros((len(vectors), SIZE, vectors.shape[-1]))
    for book, rows in enumerate(codes):
        for row, code in enumerate(rows):
            counts[book, code] += weights[book, row]
            sums[book, code] += weights[book, row] * vectors[book, row]
    return Averages(counts, sums)


def averages(counts: object, sums: object = None) -> Averages:
    counts = np.asarray(counts, np.float32)
    sums = white(*counts.shape, DIM) if sums is None else np.asarray(sums, np.float32)
    return Averages(counts, sums)


def stack(decay: float = 0.9) -> ResidualVectorQuantizer:
    """Two codebooks of five codewords, the second smaller than the first."""
    layer = ResidualVectorQuantizer(2, SIZE, decay)
    layer.build((None, None, DIM))
    layer.start(white(2, SIZE, DIM, seed=8) * np.float32([1, 0.4])[:, None, None])
    return layer


class TestNearest:
    def test_in_numpy(self) -> None:
        vectors, codewords = white(200, DIM), white(SIZE, DIM, seed=4)
        found = codebook.nearest(vectors, codewords).numpy()
        np.testing.assert_array_equal(found, numpy_nearest(vectors, codewords))
        assert found.dtype == np.int32

    def test_a_codeword_is_nearest_to_itself_and_the_first_of_two_wins(self) -> None:
        codewords = white(SIZE, DIM)
        codewords[3] = codewords[1]
        assert codebook.nearest(codewords, codewords).numpy().tolist() == [0, 1, 2, 1, 4]


class TestCount:
    def test_in_numpy(self) -> None:
        vectors, weights = (
            white(2, 40, DIM),
            np.random.default_rng(0).uniform(size=(2, 40)).astype(np.float32),
        )
        codes = np.random.default_rng(1).integers(0, SIZE, (2, 40)).astype(np.int32)
        found = codebook.count(vectors, codes, weights, SIZE)
        for ours, expected in zip(found, numpy_count(vectors, codes, weights), strict=True):
            np.testing.assert_allclose(ours, expected, atol=1e-5)

    def test_rows_of_weight_zero_do_not_count(self) -> None:
        vectors, codes = white(1, 6, DIM), np.int32([[0, 1, 2, 0, 1, 2]])
        weights = np.float32([[1, 1, 1, 0, 0, 0]])
        found = codebook.count(vectors, codes, weights, SIZE)
        assert found.counts.numpy().tolist() == [[1, 1, 1, 0, 0]]
        np.testing.assert_allclose(found.sums[0, :3], vectors[0, :3])


class TestMovingAverages:
    """The averages of Sonnet's VectorQuantizerEMA, from its tests, for the residual stack."""

    def test_one_step_in_numpy(self) -> None:
        layer, latents = stack(), white(2, 30, DIM)
        books, rows = layer.codebooks.numpy(), latents.reshape(-1, DIM)
        layer.update(layer.quantize_latents(latents, np.int32([2, 2])).movement)
        for book in range(2):
            codes = numpy_nearest(rows, books[book])
            batch = numpy_count(rows[None], codes[None], np.ones((1, len(rows))))
            counts = 0.9 * 1 + 0.1 * batch.counts[0]
            sums = 0.9 * books[book] + 0.1 * batch.sums[0]
            assert counts.min() > 0.1 * counts.mean()  # nothing is dead here
            np.testing.assert_allclose(layer.counts[book], counts, rtol=1e-5)
            np.testing.assert_allclose(layer.sums[book], sums, atol=1e-5)
            np.testing.assert_allclose(layer.codebooks[book], sums / counts[:, None], atol=1e-4)
            rows = rows - books[book][codes]

    def test_moves_in_every_training_call(self) -> None:
        layer, latents = stack(), white(1, 30, DIM)
        for _ in range(3):
            before = layer.codebooks.numpy()
            layer.update(layer.quantize_latents(latents, np.int32([2])).movement)
            assert np.all(np.any(layer.codebooks.numpy() != before, axis=(1, 2)))

    def test_never_moves_in_inference(self) -> None:
        layer = stack()
        before = [weight.numpy() for weight in layer.weights]
        layer(white(1, 30, DIM))
        layer.decode(layer.encode(white(1, 30, DIM), 2))
        for weight, value in zip(layer.weights, before, strict=True):
            np.testing.assert_array_equal(weight.numpy(), value)

    def test_raw_sums_are_stored_and_smoothing_is_not_written_back(self) -> None:
        stored = averages([[4.0, 0.0, 1.0]])
        before = [value.copy() for value in stored]
        smoothed = np.asarray(codebook.codewords(stored))
        total, counts = 5.0, (stored.counts + 1e-5) * 5.0 / (5.0 + 3 * 1e-5)
        assert counts.sum() == pytest.approx(total)
        np.testing.assert_allclose(smoothed, stored.sums / counts[..., None], rtol=1e-5)
        for value, kept in zip(stored, before, strict=True):
            np.testing.assert_array_equal(value, kept)

    def test_a_codeword_never_chosen_stays_finite(self) -> None:
        assert np.all(np.isfinite(codebook.codewords(averages([[3.0, 0.0]], np.zeros((1, 2, DIM))))))

    def test_settles_at_the_mean_of_what_chose_it(self) -> None:
        layer, latents = stack(0.7), white(1, 30, DIM)
        for _ in range(60):
            layer.update(layer.quantize_latents(latents, np.int32([2])).movement)
        codes = numpy_nearest(latents[0], layer.codebooks.numpy()[0])
        means = [latents[0][codes == code].mean(axis=0) for code in range(SIZE)]
        np.testing.assert_allclose(layer.codebooks[0], means, atol=1e-3)

    def test_of_decay_zero_is_the_batch(self) -> None:
        old, batch = averages([[4.0, 2.0]]), averages([[1.0, 3.0]])
        for found, expected in zip(codebook.move(old, batch, 0.0), batch, strict=True):
            np.testing.assert_array_equal(found, expected)


class TestRevive:
    def test_the_dead_start_again_where_vectors_are_with_the_mean_count(self) -> None:
        old, fresh = averages([[10.0, 0.01, 8.0], [1.0, 1.0, 1.0]]), white(2, 3, DIM, seed=6)
        now = codebook.revive(old, fresh, averages(np.ones((2, 3))))
        mean = old.counts[0].mean()
        np.testing.assert_allclose(now.counts, [[10.0, mean, 8.0], [1.0, 1.0, 1.0]], rtol=1e-6)
        np.testing.assert_allclose(np.asarray(codebook.codewords(now))[0, 1], fresh[0, 1], rtol=1e-4)
        np.testing.assert_array_equal(np.asarray(now.sums)[0, ::2], old.sums[0, ::2])
        np.testing.assert_array_equal(now.sums[1], old.sums[1])

    def test_a_codebook_for_which_nothing_counted_stays(self) -> None:
        old, batch = averages([[10.0, 0.01], [10.0, 0.01]]), averages([[0.0, 0.0], [0.0, 1.0]])
        now = codebook.revive(old, white(2, 2, DIM, seed=6), batch)
        np.testing.assert_array_equal(now.counts[0], old.counts[0])
        np.testing.assert_array_equal(now.sums[0], old.sums[0])
        assert now.counts[1][1] > 1

    def test_of_a_whole_stack(self) -> None:
        layer, latents = stack(0.5), white(1, 60, DIM)
        lost = layer.codebooks.numpy()
        lost[0, 2] = 1e3
        layer.start(lost)
        for _ in range(6):
            layer.update(layer.quantize_latents(latents, np.int32([2])).movement)
        assert np.abs(layer.codebooks.numpy()).max() < 10
        assert codebook.usage(layer.counts.numpy()).numpy().min() == 1


class TestCandidates:
    def test_are_rows_that_count_and_differ(self) -> None:
        vectors, weights = white(2, 40, DIM), np.ones((2, 40), np.float32)
        weights[0, ::2], weights[1, :35] = 0, 0
        found = codebook.replacement_vectors(vectors, weights, SIZE).numpy()
        for book in range(2):
            allowed = vectors[book][weights[book] > 0]
            places = [np.flatnonzero(np.all(allowed == row, axis=-1)) for row in found[book]]
            assert all(len(place) == 1 for place in places)
            assert len(np.unique(np.concatenate(places))) >= min(SIZE, len(allowed)) - 1

    def test_of_no_rows_that_count_are_finite(self) -> None:
        found = codebook.replacement_vectors(white(2, 6, DIM), np.zeros((2, 6), np.float32), SIZE)
        assert found.shape == (2, SIZE, DIM) and np.all(np.isfinite(found))


class TestShares:
    def test_usage(self) -> None:
        counts = np.float32([[1, 1, 1, 1], [4, 0, 0, 0], [5, 5, 0.1, 5]])
        assert codebook.usage(counts).numpy().tolist() == [1.0, 0.25, 0.75]

    def test_perplexity(self) -> None:
        counts = np.float32([[3, 3, 3, 3], [4, 0, 0, 0], [1, 1, 0, 0]])
        np.testing.assert_allclose(codebook.perplexity(counts), [4, 1, 2], rtol=1e-4)
        assert np.all(np.isfinite(codebook.perplexity(np.zeros((1, 4), np.float32))))


class TestKMeans:
    CENTERS = np.float32([[0, 0], [10, 0], [0, 10], [10, 10]])

    def clusters(self, rows: int) -> np.ndarray:
        picks = np.arange(rows) % 4
        return self.CENTERS[picks] + 0.1 * white(rows, 2)

    def test_finds_separated_clusters(self) -> None:
        """Lloyd's algorithm may put two of as many centers in one cluster; of four times as many none is missed."""
        found = codebook.kmeans(self.clusters(400), 16, 10, np.random.default_rng(3))
        nearest = found[numpy_nearest(self.CENTERS, found)]
        np.testing.assert_allclose(nearest, self.CENTERS, atol=0.3)
        assert found.shape == (16, 2) and found.dtype == np.float32

    def test_begins_at_the_answer_and_stays(self) -> None:
        rows = self.clusters(4)
        found = codebook.kmeans(rows, 4, 3, np.random.default_rng(3))
        np.testing.assert_array_equal(found[np.lexsort(found.T)], rows[np.lexsort(rows.T)])

    def test_more_clusters_than_rows(self) -> None:
        rows = self.clusters(3)
        found = codebook.kmeans(rows, 8, 4, np.random.default_rng(0))
        assert found.shape == (8, 2)
        np.testing.assert_allclose(found[numpy_nearest(rows, found)], rows, atol=1e-6)

    def test_duplicates(self) -> None:
        rows = np.repeat(np.float32([[1, 2], [3, 4]]), 50, axis=0)
        found = codebook.kmeans(rows, 4, 4, np.random.default_rng(0))
        assert np.all(np.isin(found, rows)) and np.all(np.isfinite(found))
        np.testing.assert_array_equal(found[numpy_nearest(rows, found)], rows)

    def test_the_same_generator_gives_the_same(self) -> None:
        first, second = (codebook.kmeans(self.clusters(90), 6, 3, np.random.default_rng(5)) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_residual_stages_leave_less_and_less(self) -> None:
        rows = white(600, 4)
        books = codebook.residual_kmeans(rows, (5, 8), 6, np.random.default_rng(1))
        assert books.shape == (5, 8, 4)
        left = [np.mean(rows**2)]
        for book in books:
            rows = rows - book[numpy_nearest(rows, book)]
            left.append(np.mean(rows**2))
        assert left == sorted(left, reverse=True) and left[-1] < 0.2 * left[0]

    def test_blocks_of_rows_are_as_one(self) -> None:
        rows, centers = white(9001, 2), white(7, 2, seed=1)
        np.testing.assert_array_equal(codebook._nearest_rows(rows, centers), numpy_nearest(rows, centers))


def test_arrays_come_back_as_tensors_of_the_backend() -> None:
    assert keras.ops.is_tensor(codebook.nearest(white(2, DIM), white(SIZE, DIM)))
