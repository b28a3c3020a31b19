"""The few parts the encoder and the decoder are made of.

Keras has no causal padding for its depthwise convolution, and none that remembers. Here a layer keeps the last
`kernel_size - 1` input steps as its state and puts them in front of the next block:

    state        block             a kernel of 4 sees
    s s s        x x x x x         s s s x -> y0
                                     s s x x -> y1  ...
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from codec.dsp import NORM_EPSILON
from codec.network.streaming import Pointwise, State, StreamingLayer, Tensor


def dense(width: int, **kwargs: Any) -> Pointwise:
    """A linear map of each step alone."""
    return Pointwise(keras.layers.Dense(width, **kwargs), dtype=kwargs.get("dtype"))


def layer_norm(**kwargs: Any) -> Pointwise:
    """LayerNorm of each step alone: normalising over time could not be streamed."""
    return Pointwise(
        keras.layers.LayerNormalization(epsilon=NORM_EPSILON, **kwargs), dtype=kwargs.get("dtype")
    )


class _CausalWindow(StreamingLayer):
    """A layer whose every output step sees `context` input steps of the past besides its own."""

    context: int

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.channels = input_shape[-1]

    def initial_state(self, batch_size: int | Tensor) -> State:
        return ops.zeros((batch_size, self.context, self.channels), self.compute_dtype)

    def _extend(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Put the past in front: [batch, context + time, channels], and its last `context` steps."""
        x = ops.concatenate([state, ops.cast(x, self.compute_dtype)], axis=1)
        return x, x[:, ops.shape(x)[1] - self.context :]


class CausalConv1D(_CausalWindow):
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
        x, state = self._extend(x, state)
        return self.conv(x), state


class ConvNeXtBlock(_CausalWindow):
    """Mix over time, channel by channel; then over channels, step by step; and add (Liu et al. 2022, arXiv 2201.03545).

        x -> depthwise conv k7 -> LayerNorm -> Dense h -> GELU -> Dense d -> scale -> + x

    Shapes:
        x, y:  [batch, time, dim]
        state: [batch, kernel_size - 1, dim]

    Args:
        expansion: h in percent of d.
    """

    def __init__(self, dim: int, kernel_size: int = 7, expansion: int = 200, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.context = kernel_size - 1
        policy = self.dtype_policy
        self.mix = keras.layers.DepthwiseConv1D(kernel_size, dtype=policy)
        self.norm = keras.layers.LayerNormalization(epsilon=NORM_EPSILON, dtype=policy)
        self.expand = keras.layers.Dense(expansion * dim // 100, dtype=policy)
        self.project = keras.layers.Dense(dim, dtype=policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        for layer in (self.mix, self.norm, self.expand):
            layer.build((None, None, self.channels))  # a signal may be shorter than the kernel
        self.project.build((None, None, self.expand.units))
        self.scale = self.add_weight((self.channels,), keras.initializers.Constant(0.2), name="scale")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        extended, state = self._extend(x, state)
        y = self.expand(self.norm(self.mix(extended)))
        y = self.project(ops.gelu(y, approximate=True))
        return ops.cast(x, y.dtype) + ops.cast(self.scale, y.dtype) * y, state


def first_largest(scores: Tensor) -> Tensor:
    """Index of the first of the largest numbers, int32 [...]: Keras' argmax masks bits, which LiteRT cannot."""
    numbers = np.arange(scores.shape[-1], dtype=np.float32)
    largest = scores >= ops.max(scores, axis=-1, keepdims=True)
    return ops.cast(ops.min(ops.where(largest, numbers, numbers[-1]), axis=-1), "int32")
