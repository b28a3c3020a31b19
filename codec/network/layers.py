"""The layers of `codec.architecture` in Keras.

Keras has no causal padding for its depthwise convolution, and no convolution with memory. Here a layer keeps the last
`kernel_size - 1` input frames as its state and puts them in front of the next block:

    state        block             a kernel of 4 sees
    s s s        x x x x x         s s s x -> y0
                                     s s x x -> y1  ...
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import keras
from keras import ops

from codec import architecture
from codec.dsp import NORM_EPSILON
from codec.network.streaming import Pointwise, Serial, State, StreamingLayer, Tensor

INITIALIZERS = {"glorot": "glorot_uniform", "zeros": "zeros"}
SMALL_DEVIATION = 0.02


class CausalWindow(StreamingLayer):
    """A layer whose every output frame sees `context` earlier input frames besides its own."""

    context: int

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.channels = input_shape[-1]

    def initial_state(self, batch_size: int | Tensor) -> State:
        return ops.zeros((batch_size, self.context, self.channels), self.compute_dtype)

    def extend(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Put the earlier frames in front: [batch, context + time, channels], and the last `context` of them."""
        x = ops.concatenate([state, ops.cast(x, self.compute_dtype)], axis=1)
        return x, x[:, ops.shape(x)[1] - self.context :]


class CausalConv1D(CausalWindow):
    """A convolution over time that never looks ahead.

    Shapes:
        x:     [batch, time, channels]
        y:     [batch, time, filters]
        state: [batch, kernel_size - 1, channels]
    """

    def __init__(self, filters: int, kernel_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.context = filters, kernel_size - 1
        self.conv = keras.layers.Conv1D(filters, kernel_size, dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        self.conv.build((None, None, self.channels))  # a signal may be shorter than the kernel

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.filters)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        x, state = self.extend(x, state)
        return self.conv(x), state


class ConvNeXtBlock(CausalWindow):
    """The block that `codec.architecture.Block` describes.

    Shapes:
        x, y:  [batch, time, width]
        state: [batch, kernel_size - 1, width]
    """

    def __init__(
        self, width: int, hidden: int, kernel_size: int = architecture.KERNEL_SIZE, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.context = kernel_size - 1
        policy = self.dtype_policy
        self.mix = keras.layers.DepthwiseConv1D(kernel_size, dtype=policy)
        self.norm = keras.layers.LayerNormalization(epsilon=NORM_EPSILON, dtype=policy)
        self.expand = keras.layers.Dense(hidden, dtype=policy)
        self.project = keras.layers.Dense(width, dtype=policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        for layer in (self.mix, self.norm, self.expand):
            layer.build((None, None, self.channels))  # a signal may be shorter than the kernel
        self.project.build((None, None, self.expand.units))
        self.scale = self.add_weight((self.channels,), keras.initializers.Constant(0.2), name="scale")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        extended, state = self.extend(x, state)
        y = self.expand(self.norm(self.mix(extended)))
        y = self.project(ops.gelu(y, approximate=True))
        return ops.cast(x, y.dtype) + ops.cast(self.scale, y.dtype) * y, state


class PairFrames(StreamingLayer):
    """Join two frames into one: [batch, 2 n, width] -> [batch, n, 2 width]."""

    stride = Fraction(2)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], None, 2 * (input_shape[-1] or 0))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return pair(x), state


class SplitFrames(StreamingLayer):
    """Split a frame into two: [batch, n, 2 width] -> [batch, 2 n, width]."""

    stride = Fraction(1, 2)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], None, (input_shape[-1] or 0) // 2)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return split(x), state


def pair(x: Tensor) -> Tensor:
    """Join two frames into one: [batch, 2 n, width] -> [batch, n, 2 width]."""
    return ops.reshape(x, (ops.shape(x)[0], -1, 2 * x.shape[-1]))


def split(x: Tensor) -> Tensor:
    """Split a frame into two: [batch, n, 2 width] -> [batch, 2 n, width]."""
    return ops.reshape(x, (ops.shape(x)[0], -1, x.shape[-1] // 2))


def dense(layer: architecture.Dense, dtype: Any) -> keras.layers.Dense:
    """Return the built Keras layer of a description."""
    initial = INITIALIZERS.get(layer.initial) or keras.initializers.RandomNormal(stddev=SMALL_DEVIATION)
    name = layer.name.rsplit(".", 1)[-1]
    made = keras.layers.Dense(
        layer.outputs, use_bias=layer.bias, kernel_initializer=initial, dtype=dtype, name=name
    )
    made.build((None, None, layer.inputs))
    return made


def streaming(layer: architecture.Layer, dtype: Any) -> StreamingLayer:
    """Return the Keras layer of a description, under its name."""
    name = layer.name
    match layer:
        case architecture.Dense():
            return Pointwise(dense(layer, dtype), name=name, dtype=dtype)
        case architecture.Norm():
            norm = keras.layers.LayerNormalization(epsilon=NORM_EPSILON, dtype=dtype)
            return Pointwise(norm, name=name, dtype=dtype)
        case architecture.Conv():
            return CausalConv1D(layer.outputs, layer.kernel_size, name=name, dtype=dtype)
        case architecture.Block():
            return ConvNeXtBlock(layer.width, layer.hidden, layer.kernel_size, name=name, dtype=dtype)
        case architecture.Pair():
            return PairFrames(name=name, dtype=dtype)
        case architecture.Split():
            return SplitFrames(name=name, dtype=dtype)


def serial(layers: Sequence[architecture.Layer], dtype: Any) -> Serial:
    """Return the Keras layers of a list of descriptions, in series."""
    return Serial([streaming(layer, dtype) for layer in layers], dtype=dtype)
