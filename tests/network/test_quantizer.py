"""Vector quantization and its gradient: every form in use elsewhere, and what each one does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from support.contract import white

from codec.network import codebook
from codec.network.quantizer import ResidualVectorQuantizer, VectorQuantizer, straight_through

DIM = 4
TARGET = white(2, 5, DIM, seed=9)


def gradients(function, *tensors: np.ndarray) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """The value of a function of tensors, and the gradients of sum(TARGET * value)."""
    watched = [tf.convert_to_tensor(tensor) for tensor in tensors]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        value = function(*watched)
        total = tf.reduce_sum(TARGET * value)
    found = tape.gradient(total, watched)
    return value.numpy(), [None if gradient is None else gradient.numpy() for gradient in found]


def stack(num_codebooks: int = 3, size: int = 16) -> ResidualVectorQuantizer:
    layer = ResidualVectorQuantizer(num_codebooks, size)
    layer.build((None, None, DIM))
    sizes = 0.6 ** np.arange(num_codebooks, dtype=np.float32)[:, None, None]
    layer.start(sizes * white(num_codebooks, size, DIM, seed=21))
    return layer


@tf.custom_gradient
def plain_tensorflow(latents: tf.Tensor, quantized: tf.Tensor):
    """The form TensorFlow users know."""
    return quantized, lambda upstream: (upstream, tf.zeros_like(upstream))


class TestStraightThrough:
    latents, quantized = white(2, 5, DIM), white(2, 5, DIM, seed=4)

    def test_forward_is_quantized_exactly(self) -> None:
        np.testing.assert_array_equal(straight_through(self.latents, self.quantized), self.quantized)

    def test_backward_goes_to_the_latents_and_not_to_quantized(self) -> None:
        _, (to_latents, to_quantized) = gradients(straight_through, self.latents, self.quantized)
        np.testing.assert_array_equal(to_latents, TARGET)
        assert to_quantized is None or not np.any(to_quantized)

    def test_is_the_custom_gradient_of_tensorflow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        if keras.backend.backend() != "tensorflow":
            pytest.skip("Keras runs on another backend")
        seen = []
        monkeypatch.setattr(tf, "custom_gradient", lambda f: seen.append(f) or f)
        function = straight_through.__wrapped__
        assert ops.custom_gradient(function) is function and seen == [function]

    def test_the_plain_tensorflow_form_agrees(self) -> None:
        for form in (straight_through, tf.function(straight_through)):
            ours, plain = (gradients(f, self.latents, self.quantized) for f in (form, plain_tensorflow))
            np.testing.assert_array_equal(ours[0], plain[0])
            np.testing.assert_array_equal(ours[1][0], plain[1][0])

    def test_the_stop_gradient_form_is_equal(self) -> None:
        value, (to_latents, to_quantized) = gradients(
            lambda latents, quantized: latents + ops.stop_gradient(quantized - latents),
            self.latents,
            self.quantized,
        )
        np.testing.assert_allclose(value, self.quantized, atol=1e-6)
        np.testing.assert_array_equal(to_latents, TARGET)
        assert to_quantized is None

    def test_the_form_with_the_wrong_sign_trains_and_decodes_something_else(self) -> None:
        value, (to_latents, _) = gradients(
            lambda latents, quantized: latents - ops.stop_gradient(quantized - latents),
            self.latents,
            self.quantized,
        )
        np.testing.assert_array_equal(to_latents, TARGET)
        np.testing.assert_allclose(value, 2 * self.latents - self.quantized, atol=1e-6)
        assert np.abs(value - self.quantized).max() > 1


class Captured(keras.layers.Layer):
    """The form not to use: a custom gradient on a function that reads the codebook inside."""

    def __init__(self, with_variables: bool) -> None:
        super().__init__()
        self.codebook = self.add_weight(
            (16, DIM), keras.initializers.RandomNormal(0, 1, seed=1), name="codebook"
        )
        self.quantize = tf.custom_gradient(self._given if with_variables else self._bare)

    def _lookup(self, latents: tf.Tensor) -> tf.Tensor:
        distances = tf.reduce_sum((latents[..., None, :] - self.codebook.value) ** 2, axis=-1)
        return tf.gather(self.codebook.value, tf.argmin(distances, axis=-1))

    def _bare(self, latents: tf.Tensor):
        return self._lookup(latents), lambda upstream: upstream

    def _given(self, latents: tf.Tensor):
        def backward(upstream: tf.Tensor, variables: list | None = None):
            return upstream, [None] * len(variables)

        return self._lookup(latents), backward

    def call(self, latents: tf.Tensor) -> tf.Tensor:
        return self.quantize(latents)


class TestAVariableInsideACustomGradient:
    latents = white(2, 5, DIM)

    def test_asks_for_variables(self) -> None:
        layer = Captured(with_variables=False)
        with pytest.raises(TypeError, match="variables"), tf.GradientTape():
            layer(self.latents)

    def test_and_given_them_cuts_the_codebook_off(self) -> None:
        layer = Captured(with_variables=True)
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(TARGET * layer(self.latents)) + tf.reduce_sum(layer.codebook.value)
            cut = tf.reduce_sum(TARGET * layer(self.latents))
        assert layer.trainable_variables and total is not None
        assert tape.gradient(cut, layer.codebook.value) is None

    def test_where_plain_differentiation_would_reach_it(self) -> None:
        layer = Captured(with_variables=True)
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(TARGET * layer._lookup(self.latents))
        assert np.any(tf.convert_to_tensor(tape.gradient(total, layer.codebook.value)))


def numpy_descent(latents: np.ndarray, books: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Targets and chosen codewords of each stage: [stage, batch, frame, dim]."""
    targets, chosen = [], []
    for book in books:
        codes = np.argmin(np.sum((latents[..., None, :] - book) ** 2, axis=-1), axis=-1)
        targets.append(latents)
        chosen.append(book[codes])
        latents = latents - chosen[-1]
    return np.stack(targets), np.stack(chosen)


class TestResidualStack:
    latents = white(2, 5, DIM)

    def test_codes_and_sum_in_numpy(self) -> None:
        layer = stack()
        _, chosen = numpy_descent(self.latents, layer.codebooks.numpy())
        codes = layer.encode(self.latents, 3)
        assert codes.shape == (2, 5, 3) and codes.dtype == tf.int32
        np.testing.assert_allclose(layer.decode(codes), chosen.sum(axis=0), atol=1e-5)
        np.testing.assert_allclose(layer(self.latents), chosen.sum(axis=0), atol=1e-5)

    def test_codes_of_few_stages_are_a_prefix_of_codes_of_more(self) -> None:
        layer = stack(5)
        many = layer.encode(self.latents, 5).numpy()
        for count in range(1, 5):
            np.testing.assert_array_equal(layer.encode(self.latents, count), many[..., :count])

    def test_more_stages_come_nearer(self) -> None:
        layer = stack(6, 64)
        layer.start(codebook.residual_kmeans(white(500, DIM), (6, 64), 3, np.random.default_rng(0)))
        errors = layer.quantize_latents(white(1, 500, DIM), np.int32([6])).errors.numpy()
        assert list(errors) == sorted(errors, reverse=True) and errors[-1] < 0.01

    @pytest.mark.parametrize("num_codebooks", [1, 2, 6])
    def test_the_gradient_is_the_identity_however_many_stages(self, num_codebooks: int) -> None:
        layer = stack(num_codebooks)
        active = np.full(2, num_codebooks, np.int32)
        value, (gradient,) = gradients(lambda x: layer.quantize_latents(x, active).quantized, self.latents)
        np.testing.assert_array_equal(gradient, TARGET)
        _, chosen = numpy_descent(self.latents, layer.codebooks.numpy())
        np.testing.assert_allclose(value, chosen.sum(axis=0), atol=1e-5)

    def test_commitment_and_its_gradient_in_numpy(self) -> None:
        layer, active = stack(), np.int32([3, 1])
        targets, chosen = numpy_descent(self.latents, layer.codebooks.numpy())
        weights = (active[None, :] > np.arange(3)[:, None]).astype(np.float32)[..., None, None]
        distances = weights * (targets - chosen)
        latents = tf.convert_to_tensor(self.latents)
        with tf.GradientTape() as tape:
            tape.watch(latents)
            found = layer.quantize_latents(latents, active)
        rows = 2 * 5
        assert found.commitment.numpy() == pytest.approx(np.sum(distances**2) / DIM / rows, rel=1e-4)
        expected = 2 * distances.sum(axis=0) / DIM / rows  # each stage's target moves as the latents do
        np.testing.assert_allclose(tape.gradient(found.commitment, latents), expected, atol=1e-6)

    @pytest.mark.parametrize("stage", [0, 1, 2])
    def test_commitment_reaches_the_latents_from_each_stage(self, stage: int) -> None:
        layer = stack()
        latents = tf.convert_to_tensor(self.latents)
        with tf.GradientTape() as tape:
            tape.watch(latents)
            error = layer.quantize_latents(latents, np.int32([3, 3])).errors[stage]
        targets, chosen = numpy_descent(self.latents, layer.codebooks.numpy())
        expected = 2 * (targets[stage] - chosen[stage]) / self.latents.size
        np.testing.assert_allclose(tape.gradient(error, latents), expected, atol=1e-6)

    def test_errors_are_means_over_the_items_a_stage_is_active_for(self) -> None:
        layer = stack()
        targets, chosen = numpy_descent(self.latents, layer.codebooks.numpy())
        found = layer.quantize_latents(self.latents, np.int32([3, 1])).errors.numpy()
        each = np.mean((targets - chosen) ** 2, axis=(2, 3))
        np.testing.assert_allclose(found, [each[0].mean(), each[1, 0], each[2, 0]], rtol=1e-4)

    def test_inactive_items_feed_no_statistics_and_decode_with_fewer_stages(self) -> None:
        layer = stack()
        _, chosen = numpy_descent(self.latents, layer.codebooks.numpy())
        found = layer.quantize_latents(self.latents, np.int32([3, 1]))
        assert found.movement.batch.counts.numpy().sum(axis=1).tolist() == [10, 5, 5]
        np.testing.assert_allclose(found.quantized[1], chosen[0, 1], atol=1e-5)
        alone = layer.quantize_latents(self.latents[:1], np.int32([3])).movement.batch
        for ours, theirs in zip(found.movement.batch, alone, strict=True):
            np.testing.assert_allclose(ours[1:], theirs[1:], atol=1e-6)
        fresh = found.movement.fresh.numpy()[1:].reshape(-1, DIM)
        rows = numpy_descent(self.latents[:1], layer.codebooks.numpy())[0][1:].reshape(-1, DIM)
        assert all(np.abs(rows - row).sum(axis=-1).min() < 1e-5 for row in fresh)

    def test_a_stage_active_for_nobody_stays(self) -> None:
        layer = stack()
        before = layer.codebooks.numpy()
        layer.update(layer.quantize_latents(self.latents, np.int32([1, 1])).movement)
        np.testing.assert_allclose(layer.codebooks.numpy()[1:], before[1:], atol=1e-4)
        assert np.abs(layer.codebooks.numpy()[0] - before[0]).max() > 1e-3

    def test_codebooks_are_no_trained_weights(self) -> None:
        assert not stack().trainable_variables and len(stack().non_trainable_variables) == 3

    def test_stays_in_float32(self) -> None:
        layer = ResidualVectorQuantizer(2, 4, dtype="mixed_bfloat16")
        layer.build((None, None, DIM))
        assert layer.compute_dtype == "float32"
        assert layer(tf.cast(self.latents, "bfloat16")).dtype == tf.float32

    @pytest.mark.parametrize("arguments", [(0, 4), (2, 0), (2, 4, 1.0), (2, 4, -0.1)])
    def test_arguments_are_checked(self, arguments: tuple) -> None:
        with pytest.raises(ValueError, match="num_codebooks >= 1"):
            ResidualVectorQuantizer(*arguments)

    def test_config_round_trip(self) -> None:
        layer = ResidualVectorQuantizer.from_config(
            ResidualVectorQuantizer(3, 8, 0.5, name="books").get_config()
        )
        assert (layer.num_codebooks, layer.codebook_size, layer.decay, layer.name) == (3, 8, 0.5, "books")


def autoencoder(**arguments) -> keras.Sequential:
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [keras.layers.Dense(2), VectorQuantizer(8, name="codes", **arguments), keras.layers.Dense(3)]
    )


class TestVectorQuantizerAlone:
    def points(self) -> np.ndarray:
        """Eight clusters in three dimensions."""
        return (np.repeat(2 * white(8, 3, seed=5), 32, axis=0) + 0.05 * white(256, 3)).astype(np.float32)

    def test_in_a_sequential_with_fit(self) -> None:
        model, points = autoencoder(decay=0.9), self.points()
        model.compile(keras.optimizers.Adam(0.02), "mse")
        first = model.evaluate(points, points, verbose=0)
        layer = model.get_layer("codes")
        before, used = ops.convert_to_numpy(layer.codebook), len(np.unique(self.codes(model, points)))
        history = model.fit(points, points, batch_size=64, epochs=25, verbose=0).history["loss"]
        assert history[-1] < 0.4 * first and history[-1] < history[0]
        assert np.all(np.any(ops.convert_to_numpy(layer.codebook) != before, axis=-1))
        assert len(np.unique(self.codes(model, points))) > used or used == 8
        assert codebook.usage(layer.stack.counts)[0] > 0.8

    def codes(self, model: keras.Sequential, points: np.ndarray) -> np.ndarray:
        dense, quantizer, _ = model.layers
        return ops.convert_to_numpy(quantizer.encode(dense(points)))

    def test_usage_rises_where_all_codewords_begin_far_off(self) -> None:
        layer = VectorQuantizer(8, decay=0.8, codebook=100 + white(8, DIM))
        layer(white(64, DIM))
        shares = [len(np.unique(layer.encode(white(64, DIM)))) / 8]
        for _ in range(12):
            layer(white(64, DIM), training=True)
        shares.append(len(np.unique(layer.encode(white(64, DIM)))) / 8)
        assert shares[0] <= 0.25 and shares[1] == 1

    def test_prediction_and_evaluation_move_nothing(self) -> None:
        model, points = autoencoder(), self.points()
        model.compile("sgd", "mse")
        model.evaluate(points, points, verbose=0)
        before = [weight.numpy() for weight in model.get_layer("codes").weights]
        model.evaluate(points, points, verbose=0)
        model.predict(points, verbose=0)
        for weight, value in zip(model.get_layer("codes").weights, before, strict=True):
            np.testing.assert_array_equal(weight.numpy(), value)

    def test_initial_codebook(self) -> None:
        given = white(8, DIM)
        layer = VectorQuantizer(8, codebook=given.tolist())
        np.testing.assert_array_equal(layer(given[None]), given[None])
        np.testing.assert_array_equal(layer.codebook, given)

    def test_a_model_that_evaluate_builds_keeps_its_initial_codebook(self) -> None:
        """Keras then builds in a scope where assignments are lost."""
        given, points = white(8, 2), self.points()
        for arguments in ({"codebook": given}, {}):
            model = autoencoder(**arguments)
            model.compile("sgd", "mse")
            model.evaluate(points, points, verbose=0)
            books, counts, sums = (weight.numpy() for weight in model.get_layer("codes").stack.weights)
            np.testing.assert_array_equal(sums, books)
            np.testing.assert_array_equal(counts, 1)
            assert np.std(books) > 0.3
            np.testing.assert_array_equal(books[0], arguments.get("codebook", books[0]))

    def test_initial_codebook_of_another_shape(self) -> None:
        with pytest.raises(ValueError, match=r"must have shape \(8, 4\), found \(7, 4\)"):
            VectorQuantizer(8, codebook=white(7, DIM)).build((None, DIM))

    def test_encode_and_decode(self) -> None:
        layer, latents = VectorQuantizer(8, codebook=white(8, DIM, seed=2)), white(3, 2, 5, DIM)
        output = layer(latents)
        codes = layer.encode(latents)
        assert codes.shape == (3, 2, 5) and codes.dtype == tf.int32
        np.testing.assert_array_equal(layer.decode(codes), output)
        assert layer.compute_output_shape((None, 2, 5, DIM)) == (None, 2, 5, DIM)

    def test_commitment_is_a_loss_of_its_own(self) -> None:
        layer, latents = VectorQuantizer(8, commitment=0.5, codebook=white(8, DIM, seed=2)), white(6, DIM)
        error = np.mean((latents - layer(latents).numpy()) ** 2)
        assert [loss.numpy() for loss in layer.losses] == [pytest.approx(0.5 * error, rel=1e-4)]

    def test_config_round_trip(self) -> None:
        layer = VectorQuantizer(8, decay=0.7, commitment=0.5, codebook=white(8, DIM), name="codes")
        again = VectorQuantizer.from_config(layer.get_config())
        assert (again.codebook_size, again.decay, again.commitment, again.name) == (8, 0.7, 0.5, "codes")

    def test_saved_and_loaded(self, tmp_path: Path) -> None:
        model, points = autoencoder(decay=0.9, codebook=white(8, 2)), self.points()
        model.compile("adam", "mse")
        model.fit(points, points, batch_size=64, verbose=0)
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(again.predict(points, verbose=0), model.predict(points, verbose=0))
        for weight, loaded in zip(model.weights, again.weights, strict=True):
            np.testing.assert_array_equal(weight.numpy(), loaded.numpy())


def test_replicas_stay_equal() -> None:
    """Devices are set up before TensorFlow starts, so this runs on its own: see replicas.py."""
    script = Path(__file__).parents[1] / "support" / "replicas.py"
    result = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, cwd=script.parent.parent
    )
    assert result.returncode == 0, result.stderr[-2000:]
