"""The contract of a streaming layer, and layers in series.

    y, state = layer.step(x, state)        x: [batch, time, channels]
    y        = layer(x)                    the same as one `step` from silence

State is an argument and a result, never hidden, so one model serves any number of streams. The contract is that of
sequence-layers (Google, 2023); `tests/support/contract.py` holds every layer of this project to it.
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
        stride: input frames per output frame, below one where the layer gives more frames than it takes. The
            number of input frames must be a multiple of its numerator.
        latency: output frames by which the output lags the input.
    """

    stride: Fraction = Fraction(1)
    latency: Fraction | int = 0

    def initial_state(self, batch_size: int | Tensor) -> State:
        """Return the state after silence; empty for a layer that sees one frame at a time."""
        return ()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the next block: [batch, time, channels] -> [batch, time / stride, channels], and the state after it."""
        raise NotImplementedError

    def call(self, x: Tensor) -> Tensor:
        y, _ = self.step(x, self.initial_state(keras.ops.shape(x)[0]))
        return y


class Pointwise(StreamingLayer):
    """A Keras layer that works on each frame alone, such as Dense or LayerNormalization."""

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if not self.layer.built:
            self.layer.build(input_shape)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return tuple(self.layer.compute_output_shape(input_shape))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.layer(x), state


class Serial(StreamingLayer):
    """Layers in series. Strides multiply; a latency counts in the frames of the layers after it."""

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
        states = []
        for layer, before in zip(self.layers, state, strict=True):
            x, after = layer.step(x, before)
            states.append(after)
        return x, tuple(states)
