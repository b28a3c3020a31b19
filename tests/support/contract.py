"""What every streaming layer owes, checked in one place (after the contract of sequence-layers, Google 2023).

    check_streams(layer, x)

runs all of it: blocks of 1, 2, 6 and random sizes give the whole, the shapes are those promised, the future cannot be
heard, gradients agree, and one graph serves any batch and time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from codec.network.streaming import State, StreamingLayer, Tensor

TOLERANCE = 1e-5  # of the largest number that comes out
BLOCK_SIZES = (1, 2, 6, 0)  # times what the layer takes at least; 0: at random

Step = Callable[[Tensor, State], tuple[Tensor, State]]


def white(*shape: int, seed: int = 3) -> np.ndarray:
    """Gaussian noise of variance one, float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def check_streams(layer: StreamingLayer, x: np.ndarray, tolerance: float = TOLERANCE) -> None:
    """Hold a layer to the contract; x: [batch, time, channels], built of whole blocks."""
    if not layer.built:
        layer.build(x.shape)
    whole = keras.ops.convert_to_numpy(layer(x))
    check_shapes(layer, x, whole)
    for size in BLOCK_SIZES:
        agree(run_blocks(layer.step, layer, x, size), whole, tolerance)
    check_causal(layer, x, whole)
    check_gradients(layer, x, tolerance)
    check_graph(layer, x, whole, tolerance)


def agree(found: np.ndarray, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    """Equal up to rounding, measured against the largest number expected; integers exactly."""
    assert found.shape == expected.shape and found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))


def blocks(layer: StreamingLayer, x: Tensor, size: int) -> Iterator[Tensor]:
    """Cut x in blocks of `size` times what the layer takes at least; of random sizes where that is 0."""
    generator, start = np.random.default_rng(11), 0
    while start < x.shape[1]:
        length = layer.stride.numerator * (size or int(generator.integers(1, 6)))
        yield x[:, start : start + length]
        start += length


def run_blocks(step: Step, layer: StreamingLayer, x: Tensor, size: int) -> np.ndarray:
    """The output of block after block, from silence, the state handed on."""
    state, parts = layer.initial_state(len(x)), []
    for block in blocks(layer, x, size):
        y, state = step(block, state)
        parts.append(keras.ops.convert_to_numpy(y))
    return np.concatenate(parts, axis=1)


def check_shapes(layer: StreamingLayer, x: np.ndarray, whole: np.ndarray) -> None:
    """Output time is input time / stride, channels are those promised, and a latency is not below zero."""
    assert whole.shape[:2] == (x.shape[0], x.shape[1] / layer.stride)
    assert layer.compute_output_shape((None, None, x.shape[2]))[-1] == whole.shape[2]
    assert layer.latency >= 0


def check_causal(layer: StreamingLayer, x: np.ndarray, whole: np.ndarray) -> None:
    """Not-a-number in the future, and as an appended block, leaves every earlier output as it was."""
    unit = layer.stride.numerator
    for kept in (1, x.shape[1] // unit // 2, x.shape[1] // unit):
        future = np.concatenate([x, np.zeros_like(x[:, :unit])], axis=1)
        future[:, kept * unit :] = np.nan
        past = keras.ops.convert_to_numpy(layer(future))[:, : int(kept * unit / layer.stride)]
        assert np.all(np.isfinite(past))
        agree(past, whole[:, : past.shape[1]])


def check_gradients(layer: StreamingLayer, x: np.ndarray, tolerance: float = TOLERANCE) -> None:
    """Gradients to the input and to every weight are the same, step by step and whole."""
    sizes = (x.shape[1] // layer.stride.numerator, 2)
    whole, stepwise = (_gradients(layer, tf.convert_to_tensor(x), size) for size in sizes)
    for expected, found in zip(whole, stepwise, strict=True):
        assert (expected is None) == (found is None)
        if expected is not None:
            agree(found.numpy(), expected.numpy(), 10 * tolerance)


def _gradients(layer: StreamingLayer, x: tf.Tensor, size: int) -> list[tf.Tensor | None]:
    variables = [variable.value for variable in layer.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(x)
        state, parts = layer.initial_state(len(x)), []
        for block in blocks(layer, x, size):
            y, state = layer.step(block, state)
            parts.append(y)
        y = tf.cast(tf.concat(parts, axis=1), "float32")
        loss = tf.reduce_mean(y * white(*y.shape))
    return tape.gradient(loss, [x, *variables])


def check_graph(
    layer: StreamingLayer, x: np.ndarray, whole: np.ndarray, tolerance: float = TOLERANCE
) -> None:
    """One graph, traced with unknown batch and time, serves blocks of any size and another batch."""
    state = tf.nest.map_structure(_any_batch, layer.initial_state(1))
    step = tf.function(
        layer.step, input_signature=[tf.TensorSpec((None, None, x.shape[2])), state], autograph=False
    )
    agree(run_blocks(step, layer, x, 2), whole, tolerance)
    agree(run_blocks(step, layer, x[:1], x.shape[1]), whole[:1], tolerance)
    assert step.experimental_get_tracing_count() == 1


def _any_batch(state: Tensor) -> tf.TensorSpec:
    return tf.TensorSpec((None, *state.shape[1:]), state.dtype)
