"""What a streaming layer promises, and how layers are put one after another.

    y, state = layer.step(x, state)        x: [batch, time, channels]
    y        = layer(x)                    the same as one `step` from silence

State is passed in and handed back, never hidden, so one model serves any number of streams. The contract is that
of sequence-layers (Google, 2023); `tests/contract.py` holds every layer of this project to it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import keras

Tensor = Any  # a tensor of whichever backend Keras runs on
State = Any  # tensors, or tuples of states


class StreamingLayer(keras.layers.Layer):
    """A layer over time that never looks ahead.

    Attributes:
        stride: input steps per output step; below one where the layer makes more steps than it takes. The time of
            `x` must be a multiple of its numerator.
        latency: output steps by which the output lags behind the input.
    """

    stride: Fraction = Fraction(1)
    latency: Fraction | int = 0

    def initial_state(self, batch_size: int | Tensor) -> State:
        """The state of silence before the first step; empty where a layer looks at one step only."""
        return ()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the next block: [batch, time, channels] -> [batch, time / stride, channels], and the state after it."""
        raise NotImplementedError

    def call(self, x: Tensor) -> Tensor:
        y, _ = self.step(x, self.initial_state(keras.ops.shape(x)[0]))
        return y


class Pointwise(StreamingLayer):
    """Any Keras layer that works on each step alone, such as Dense or LayerNormalization."""

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.layer.build(input_shape)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return tuple(self.layer.compute_output_shape(input_shape))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.layer(x), state


class Serial(StreamingLayer):
    """Layers one after another; strides multiply, and a latency counts in the steps of the layers behind it."""

    def __init__(self, layers: list[StreamingLayer], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layers = layers
        stride, latency = Fraction(1), Fraction(0)
        for layer in layers:
            stride, latency = stride * layer.stride, latency / layer.stride + layer.latency
        self.stride, self.latency = stride, latency

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for layer in self.layers:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def initial_state(self, batch_size: int | Tensor) -> State:
        return tuple(layer.initial_state(batch_size) for layer in self.layers)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        after = []
        for layer, before in zip(self.layers, state, strict=True):
            x, new = layer.step(x, before)
            after.append(new)
        return x, tuple(after)
