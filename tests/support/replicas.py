"""Two replicas on two logical CPUs: their codebooks stay equal, and are those of one device that averages both halves.

A program of its own, run by test_quantizer.py.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ["CUDA_VISIBLE_DEVICES"] = "3", ""
os.environ["KERAS_BACKEND"] = "tensorflow"
sys.path.insert(0, str(Path(__file__).parents[2]))

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from codec.network.codebook import Averages  # noqa: E402
from codec.network.quantizer import Movement, ResidualVectorQuantizer, VectorQuantizer  # noqa: E402

STEPS, ROWS, DIM, SIZE = 12, 24, 3, 4
FAR = 50.0


def batches() -> np.ndarray:
    """Return random latents [step, batch, frame, dim]; the two halves of a batch differ much."""
    x = np.random.default_rng(0).standard_normal((STEPS, 2, ROWS, DIM))
    return (x * np.array([1.0, 2.0])[:, None, None]).astype(np.float32)


def quantizer() -> ResidualVectorQuantizer:
    layer = ResidualVectorQuantizer(2, SIZE, decay=0.8)
    layer.build((None, None, DIM))
    codebooks = np.random.default_rng(1).standard_normal((2, SIZE, DIM)).astype(np.float32)
    codebooks[:, 1] += FAR
    layer.start(codebooks)
    return layer


def move(layer: ResidualVectorQuantizer, x: tf.Tensor) -> None:
    layer.update(layer.quantize_latents(x, tf.fill([tf.shape(x)[0]], 2)).movement)


def replicas(variable: keras.Variable, strategy: tf.distribute.Strategy) -> list[np.ndarray]:
    return [value.numpy() for value in strategy.experimental_local_results(variable.value)]


def check_stack(strategy: tf.distribute.Strategy) -> None:
    """Far codewords are dead, so some steps revive codewords."""
    with strategy.scope():
        both = quantizer()
    alone = quantizer()
    step = tf.function(lambda x: strategy.run(lambda part: move(both, part), args=(x,)))
    for batch in batches():
        parts = strategy.experimental_distribute_values_from_function(
            lambda context, batch=batch: tf.constant(batch[context.replica_id_in_sync_group][None])
        )
        step(parts)
        move_by_halves(alone, batch)
        for weight, expected in zip(both.weights, alone.weights, strict=True):
            first, second = replicas(weight, strategy)
            np.testing.assert_array_equal(first, second)
            np.testing.assert_allclose(first, expected.numpy(), atol=1e-4)
    assert np.abs(alone.codebooks.numpy()).max() < FAR / 2


def move_by_halves(layer: ResidualVectorQuantizer, batch: np.ndarray) -> None:
    """Do what two replicas must do together: average their counts, and take the candidates of the first."""
    first, second = (layer.quantize_latents(half[None], np.int32([2])).movement for half in batch)
    mean = Averages(*((a + b) / 2 for a, b in zip(first.batch, second.batch, strict=True)))
    layer.update(Movement(mean, first.fresh))


def check_fit(strategy: tf.distribute.Strategy) -> None:
    with strategy.scope():
        model = keras.Sequential([keras.layers.Dense(2), VectorQuantizer(8), keras.layers.Dense(3)])
        model.compile("adam", "mse")
    x = np.random.default_rng(2).standard_normal((64, 3)).astype(np.float32)
    model.fit(x, x, batch_size=32, epochs=2, verbose=0)
    for weight in model.weights:
        first, second = replicas(weight, strategy)
        np.testing.assert_array_equal(first, second)


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    check_stack(mirrored)
    check_fit(mirrored)
