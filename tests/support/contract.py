"""The contract of streaming layers, checked in one place (as `verify_contract` does in Google's sequence-layers, 2023).

    check_streams(layer, x)

checks all of it:
- Blocks of 1, 2, 6 and random sizes give the same output as the whole signal.
- The output has the promised shape.
- The output does not depend on later input.
- Gradients agree between blocks and the whole signal.
- One graph serves any batch size and any number of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from codec.network.streaming import State, StreamingLayer, Tensor

TOLERANCE = 1e-5  # relative to the largest output
BLOCK_SIZES = (1, 2, 6, 0)  # in units of the smallest block that the layer takes; 0: random sizes

Step = Callable[[Tensor, State], tuple[Tensor, State]]


def white(*shape: int, seed: int = 3) -> np.ndarray:
    """Return Gaussian noise of variance 1, float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def check_streams(layer: StreamingLayer, x: np.ndarray, tolerance: float = TOLERANCE) -> None:
    """Check a layer against the contract.

    Args:
        layer: the layer; it is built if necessary.
        x: input, [batch, time, channels]; `time` is a multiple of the smallest block that the layer takes.
        tolerance: the largest difference, relative to the largest output.
    """
    if not layer.built:
        layer.build(x.shape)
    whole = keras.ops.convert_to_numpy(layer(x))
    check_shapes(layer, x, whole)
    for size in BLOCK_SIZES:
        assert_close(run_blocks(layer.step, layer, x, size), whole, tolerance)
    check_causal(layer, x, whole)
    check_gradients(layer, x, tolerance)
    check_graph(layer, x, whole, tolerance)


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    """Check equality up to rounding, relative to the largest expected number; integers must be equal."""
    assert found.shape == expected.shape and found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))


def blocks(layer: StreamingLayer, x: Tensor, size: int) -> Iterator[Tensor]:
    """Cut x into blocks of `size` times the smallest that the layer takes, or of random sizes if `size` is 0."""
    generator, start = np.random.default_rng(11), 0
    while start < x.shape[1]:
        length = layer.stride.numerator * (size or int(generator.integers(1, 6)))
        yield x[:, start : start + length]
        start += length


def run_blocks(step: Step, layer: StreamingLayer, x: Tensor, size: int) -> np.ndarray:
    """Return the output of one block after another, from the initial state on."""
    state, parts = layer.initial_state(len(x)), []
    for block in blocks(layer, x, size):
        y, state = step(block, state)
        parts.append(keras.ops.convert_to_numpy(y))
    return np.concatenate(parts, axis=1)


def check_shapes(layer: StreamingLayer, x: np.ndarray, whole: np.ndarray) -> None:
    """Check that output time is input time / stride, and that the number of channels is as promised."""
    assert whole.shape[:2] == (x.shape[0], x.shape[1] / layer.stride)
    assert layer.compute_output_shape((None, None, x.shape[2]))[-1] == whole.shape[2]
    assert layer.latency >= 0


def check_causal(layer: StreamingLayer, x: np.ndarray, whole: np.ndarray) -> None:
    """Check that NaN in later frames, or in an appended block, changes no earlier output."""
    unit = layer.stride.numerator
    for kept in (1, x.shape[1] // unit // 2, x.shape[1] // unit):
        future = np.concatenate([x, np.zeros_like(x[:, :unit])], axis=1)
        future[:, kept * unit :] = np.nan
        past = keras.ops.convert_to_numpy(layer(future))[:, : int(kept * unit / layer.stride)]
        assert np.all(np.isfinite(past))
        assert_close(past, whole[:, : past.shape[1]])


def check_gradients(layer: StreamingLayer, x: np.ndarray, tolerance: float = TOLERANCE) -> None:
    """Check that the gradients to the input and to every weight are the same in blocks and for the whole signal."""
    sizes = (x.shape[1] // layer.stride.numerator, 2)
    whole, stepwise = (_gradients(layer, tf.convert_to_tensor(x), size) for size in sizes)
    for expected, found in zip(whole, stepwise, strict=True):
        assert (expected is None) == (found is None)
        if expected is not None:
            assert_close(found.numpy(), expected.numpy(), 10 * tolerance)


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
    """Check that one graph, traced with unknown batch and time, serves blocks of any size and another batch."""
    state = tf.nest.map_structure(_any_batch, layer.initial_state(1))
    step = tf.function(
        layer.step, input_signature=[tf.TensorSpec((None, None, x.shape[2])), state], autograph=False
    )
    assert_close(run_blocks(step, layer, x, 2), whole, tolerance)
    assert_close(run_blocks(step, layer, x[:1], x.shape[1]), whole[:1], tolerance)
    assert step.experimental_get_tracing_count() == 1


def _any_batch(state: Tensor) -> tf.TensorSpec:
    return tf.TensorSpec((None, *state.shape[1:]), state.dtype)
