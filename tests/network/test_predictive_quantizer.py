"""The predictive quantizer against a loop in numpy: in blocks, under gradients, and at the start of training."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from support.contract import white

from codec.network.codebook import residual_kmeans
from codec.network.predictive_quantizer import PredictiveQuantizer
from codec.network.quantizer import ResidualVectorQuantizer
from codec.training.initialization import fit_quantizer, linear_prediction

STAGES, BASE, CORE, SIZE = 5, 2, 3, 16
DIM, BASE_DIM, CORE_DIM = 6, 4, 5
LATENTS = white(3, 20, DIM, seed=5)


def quantizer() -> PredictiveQuantizer:
    layer = PredictiveQuantizer(STAGES, SIZE, BASE, BASE_DIM, CORE, CORE_DIM)
    layer.build((None, None, DIM))
    layer.start(0.6 ** np.arange(STAGES, dtype=np.float32)[:, None, None] * white(STAGES, SIZE, DIM, seed=21))
    layer.prediction.assign(
        0.7 * np.eye(BASE_DIM, dtype=np.float32) + 0.1 * white(BASE_DIM, BASE_DIM, seed=8)
    )
    return layer


def reach(stage: int) -> int:
    """Return how many dimensions a stage codes."""
    return BASE_DIM if stage < BASE else CORE_DIM if stage < CORE else DIM


def numpy_codes(layer: PredictiveQuantizer, latents: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Code one item [frame, dim] frame by frame: codes [frame, count] and quantized [frame, dim]."""
    books, prediction = layer.codebooks.numpy(), layer.prediction.numpy()
    base, rows, sums = np.zeros(BASE_DIM, np.float32), [], []
    for frame in latents:
        predicted = np.pad(base @ prediction, (0, DIM - BASE_DIM))
        total, codes = predicted, []
        for stage in range(count):
            target = frame - total
            target = np.where(np.arange(DIM) < reach(stage), target, 0)
            codes.append(int(np.argmin(np.square(target - books[stage]).sum(axis=-1))))
            total = total + books[stage, codes[-1]]
            if stage == min(BASE, count) - 1:
                base = total[:BASE_DIM]
        rows.append(codes)
        sums.append(total)
    return np.array(rows), np.array(sums)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_codes_and_sums_are_those_of_a_loop(count: int) -> None:
    layer = quantizer()
    codes = layer.encode(LATENTS, count)
    decoded = layer.decode(codes)
    assert codes.shape == (3, 20, count) and codes.dtype == tf.int32
    for item in range(len(LATENTS)):
        expected, sums = numpy_codes(layer, LATENTS[item], count)
        np.testing.assert_array_equal(codes[item], expected)
        np.testing.assert_allclose(decoded[item], sums, atol=1e-5)


def test_rows_cut_to_the_base_or_longer_are_the_codes_of_that_rate() -> None:
    layer = quantizer()
    many = layer.encode(LATENTS, STAGES).numpy()
    for count in range(BASE, STAGES):
        np.testing.assert_array_equal(layer.encode(LATENTS, count), many[..., :count])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_blocks_are_the_whole(count: int) -> None:
    layer = quantizer()
    whole = layer.encode(LATENTS, count)
    before = after = layer.initial_state(len(LATENTS))
    codes, decoded = [], []
    for start, end in ((0, 1), (1, 3), (3, 9), (9, 20)):
        found, before = layer.encode_step(LATENTS[:, start:end], before, count)
        sound, after = layer.decode_step(found, after)
        codes.append(found)
        decoded.append(sound)
    np.testing.assert_array_equal(np.concatenate(codes, axis=1), whole)
    np.testing.assert_allclose(np.concatenate(decoded, axis=1), layer.decode(whole), atol=1e-6)
    np.testing.assert_allclose(before, after, atol=1e-5)


def test_codes_do_not_depend_on_later_frames() -> None:
    layer, changed = quantizer(), LATENTS.copy()
    changed[:, 12:] = 7
    np.testing.assert_array_equal(layer.encode(LATENTS, 5)[:, :12], layer.encode(changed, 5)[:, :12])


class TestInTraining:
    active = np.int32([5, 2, 3])

    def test_quantizes_each_item_as_its_codes_decode(self) -> None:
        layer = quantizer()
        found, codes = layer.quantize_latents(LATENTS, self.active), layer.encode(LATENTS, STAGES)
        for item, count in enumerate(self.active):
            expected = layer.decode(codes[item : item + 1, :, :count])[0]
            np.testing.assert_allclose(found.quantized[item], expected, atol=1e-5)

    def test_commitment_is_the_distance_of_each_stage_to_its_target(self) -> None:
        layer, total = quantizer(), 0.0
        latents = tf.convert_to_tensor(LATENTS)
        with tf.GradientTape() as tape:
            tape.watch(latents)
            found = layer.quantize_latents(latents, self.active)
        for item, active in enumerate(self.active):
            for count in range(1, active + 1):
                left = LATENTS[item] - numpy_codes(layer, LATENTS[item], max(count, BASE))[1]
                if count >= BASE:  # the loop has no sum after the first stage of the base
                    inside = np.arange(DIM) < reach(count - 1)
                    total += np.sum(np.square(left) * inside)
        first = found.errors[0].numpy() * 3 * 20 * DIM
        assert found.commitment.numpy() * 3 * 20 * DIM == pytest.approx(total + first, rel=1e-4)
        assert np.any(tape.gradient(found.commitment, latents).numpy()[..., BASE_DIM:])

    def test_the_gradient_is_the_identity(self) -> None:
        layer, latents, target = quantizer(), tf.convert_to_tensor(LATENTS), white(3, 20, DIM, seed=9)
        with tf.GradientTape() as tape:
            tape.watch(latents)
            total = ops.sum(target * layer.quantize_latents(latents, self.active).quantized)
        np.testing.assert_array_equal(tape.gradient(total, latents), target)

    def test_codewords_of_base_and_core_stay_within_them(self) -> None:
        layer = quantizer()
        before = layer.codebooks.numpy()
        for _ in range(3):
            layer.update(layer.quantize_latents(LATENTS, self.active).movement)
        for books in (before, layer.codebooks.numpy()):
            assert not books[:BASE, :, BASE_DIM:].any() and not books[:CORE, :, CORE_DIM:].any()
            assert books[BASE, :, BASE_DIM].any() and books[CORE, :, CORE_DIM].any()
        assert np.abs(layer.codebooks.numpy() - before).max() > 1e-3

    def test_base_codebooks_alone_are_a_stack_too(self) -> None:
        layer = PredictiveQuantizer(2, SIZE, 2, BASE_DIM, 2, DIM)
        layer.build((None, None, DIM))
        found = layer.quantize_latents(LATENTS, np.int32([2, 2, 2]))
        np.testing.assert_allclose(found.quantized, layer.decode(layer.encode(LATENTS, 2)), atol=1e-5)


def slow_latents(segments: int) -> np.ndarray:
    """A base that moves slowly, each dimension at its own pace, and four times weaker noise beside it."""
    paces = np.array([0.97, 0.9, 0.9, 0.8])
    generator = np.random.default_rng(1)
    latents = 0.25 * generator.standard_normal((segments, 60, DIM))
    latents[:, 0, :BASE_DIM] = generator.standard_normal((segments, BASE_DIM))
    for frame in range(1, 60):
        step = np.sqrt(1 - paces**2) * generator.standard_normal((segments, BASE_DIM))
        latents[:, frame, :BASE_DIM] = paces * latents[:, frame - 1, :BASE_DIM] + step
    return latents.astype(np.float32)


@pytest.fixture(scope="module")
def started() -> PredictiveQuantizer:
    layer = PredictiveQuantizer(STAGES, SIZE, BASE, BASE_DIM, CORE, CORE_DIM)
    layer.build((None, None, DIM))
    fit_quantizer(layer, slow_latents(80), iterations=4, seed=0)
    return layer


class TestStart:
    def test_leaves_less_than_a_stack_without_prediction(self, started: PredictiveQuantizer) -> None:
        plain, unseen = ResidualVectorQuantizer(STAGES, SIZE), slow_latents(100)[80:]
        plain.build((None, None, DIM))
        plain.start(
            residual_kmeans(slow_latents(80).reshape(-1, DIM), (STAGES, SIZE), 4, np.random.default_rng(0))
        )
        errors = [
            np.mean(np.square(unseen - layer.decode(layer.encode(unseen, 3)))) for layer in (started, plain)
        ]
        assert errors[0] < 0.8 * errors[1]

    def test_finds_how_fast_each_dimension_changes(self, started: PredictiveQuantizer) -> None:
        paces = np.diag(started.prediction.numpy())
        assert np.all(paces > 0.5) and np.all(paces < 1) and paces[0] == max(paces)

    def test_starts_no_stage_outside_its_dimensions(self, started: PredictiveQuantizer) -> None:
        books = started.codebooks.numpy()
        assert not books[:BASE, :, BASE_DIM:].any() and books[BASE:, :, BASE_DIM:].any()
        assert not books[:CORE, :, CORE_DIM:].any() and books[CORE:, :, CORE_DIM:].any()

    def test_linear_prediction_is_least_squares(self) -> None:
        before, matrix = white(5, 40, 3), white(3, 3, seed=2)
        np.testing.assert_allclose(linear_prediction(before, before @ matrix), matrix, atol=0.01)


def test_saves_with_a_model_and_round_trips_its_config() -> None:
    made = PredictiveQuantizer(5, 8, 2, 3, 4, 6, 0.5, name="books")
    layer = PredictiveQuantizer.from_config(made.get_config())
    assert (layer.num_codebooks, layer.codebook_size, layer.base_codebooks, layer.base_dim) == (5, 8, 2, 3)
    assert (layer.core_codebooks, layer.core_dim) == (4, 6)
    assert (layer.decay, layer.name) == (0.5, "books")


@pytest.mark.parametrize(
    "arguments",
    [(4, 8, 0, 3, 4, 6), (4, 8, 5, 3, 5, 6), (4, 8, 2, 0, 4, 6), (4, 8, 2, 3, 1, 6), (4, 8, 2, 3, 4, 2)],
)
def test_arguments_are_checked(arguments: tuple) -> None:
    with pytest.raises(
        ValueError, match="1 <= base_codebooks <= core_codebooks, num_codebooks and 1 <= base_dim"
    ):
        PredictiveQuantizer(*arguments)


def test_a_core_wider_than_the_latents_is_refused() -> None:
    with pytest.raises(ValueError, match="core_dim 4 is more than the latents' 3"):
        PredictiveQuantizer(2, 8, 1, 2, 1, 4).build((None, None, 3))


def test_prediction_is_no_trained_weight() -> None:
    layer = quantizer()
    assert not layer.trainable_variables
    assert isinstance(layer.prediction, keras.Variable) and layer.prediction.shape == (BASE_DIM, BASE_DIM)
