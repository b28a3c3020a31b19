"""Serial and Pointwise keep the streaming contract, and its check catches layers that break it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from support.contract import check_streams, white

from codec.network.layers import CausalConv1D
from codec.network.streaming import Pointwise, Serial, State, StreamingLayer, Tensor


def dense(width: int) -> Pointwise:
    return Pointwise(keras.layers.Dense(width))


class Fold(StreamingLayer):
    """Join `factor` frames into one."""

    def __init__(self, factor: int, latency: int = 0) -> None:
        super().__init__()
        self.stride, self.latency = Fraction(factor), latency

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], input_shape[-1] * self.stride.numerator)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return ops.reshape(x, (ops.shape(x)[0], -1, x.shape[-1] * self.stride.numerator)), state


class Unfold(StreamingLayer):
    """Split a frame into `factor` frames."""

    def __init__(self, factor: int, latency: int = 0) -> None:
        super().__init__()
        self.stride, self.latency = Fraction(1, factor), latency

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], input_shape[-1] // self.stride.denominator)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return ops.reshape(x, (ops.shape(x)[0], -1, x.shape[-1] // self.stride.denominator)), state


class BrokenLayer(StreamingLayer):
    """A layer with any step function."""

    def __init__(self, step: Any) -> None:
        super().__init__()
        self.given = step

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.given(x), state


@pytest.mark.parametrize(
    "layer",
    [dense(5), Pointwise(keras.layers.LayerNormalization()), Fold(2), Unfold(3)],
    ids=["dense", "norm", "fold", "unfold"],
)
def test_layers_without_memory(layer: StreamingLayer) -> None:
    check_streams(layer, white(2, 12, 6))


def test_serial() -> None:
    layer = Serial([CausalConv1D(4, 3), Fold(2), Serial([dense(6), CausalConv1D(6, 4)]), Unfold(3)])
    assert layer.stride == Fraction(2, 3)
    check_streams(layer, white(2, 22, 3))


def test_serial_output_shape() -> None:
    layer = Serial([dense(8), Fold(2), Unfold(4)])
    assert layer.compute_output_shape((2, None, 3)) == (2, None, 4)


def test_latency_counts_in_the_frames_of_the_later_layers() -> None:
    assert Serial([Fold(2, latency=3)]).latency == 3
    assert Serial([Fold(1, latency=4), Fold(2, latency=3)]).latency == 4 / 2 + 3
    assert Serial([Fold(4, latency=1), Unfold(2, latency=5)]).latency == 1 * 2 + 5
    assert Serial([Fold(3, latency=1), Fold(2)]).latency == Fraction(1, 2)


def test_serial_without_layers_changes_nothing() -> None:
    layer, x = Serial([]), white(1, 4, 2)
    assert (layer.stride, layer.latency, layer.initial_state(1)) == (1, 0, ())
    np.testing.assert_array_equal(layer(x), x)


def test_serial_refuses_the_state_of_another() -> None:
    layer = Serial([CausalConv1D(2, 3), CausalConv1D(2, 3)])
    layer.build((None, None, 2))
    with pytest.raises(ValueError, match="zip"):
        layer.step(white(1, 4, 2), layer.initial_state(1)[:1])


def test_pointwise_builds_its_layer() -> None:
    layer = Pointwise(keras.layers.Dense(7))
    layer.build((None, None, 3))
    assert layer.compute_output_shape((2, 5, 3)) == (2, 5, 7)
    assert [tuple(weight.shape) for weight in layer.weights] == [(3, 7), (7,)]


def test_a_layer_without_a_step_says_so() -> None:
    with pytest.raises(NotImplementedError):
        StreamingLayer().step(None, ())


@pytest.mark.parametrize(
    "step",
    [
        lambda x: ops.flip(x, axis=1),
        lambda x: x - ops.mean(x, axis=1, keepdims=True),
        lambda x: x[:, :-1],
        lambda x: ops.concatenate([x, x], axis=-1),
    ],
    ids=["depends on the future", "depends on the block", "loses a frame", "breaks the promised shape"],
)
def test_the_check_catches(step: Any) -> None:
    with pytest.raises(AssertionError):
        check_streams(BrokenLayer(step), white(1, 12, 2))
