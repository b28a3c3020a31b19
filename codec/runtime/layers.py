"""The layers of `codec.architecture` in numpy, with the state of a stream.

In a live step of one frame, reading the weights takes half of the time and calls of numpy the rest. So there are few
calls, and arrays are changed in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np

from codec.dsp import NORM_EPSILON

StreamState: TypeAlias = dict[str, np.ndarray]  # by the name of the layer; a missing entry is silence

GELU_SLOPE = np.float32(np.sqrt(2 / np.pi))
GELU_CUBE = np.float32(0.044715) * GELU_SLOPE
FEW_ROWS = 4  # fewer rows are multiplied one by one


class Step:
    """One step of a stream: the state before it, and the state after it.

    Attributes:
        before: the state that came in; not changed.
        after: the state that goes out; layers replace their entries.
    """

    def __init__(self, before: StreamState) -> None:
        self.before, self.after = before, dict(before)

    def extend(self, name: str, x: np.ndarray, context: int) -> np.ndarray:
        """Put the last `context` frames of the previous block in front: [batch, context + time, ...]."""
        past = self.before.get(name)
        if past is None:
            past = np.zeros((len(x), context, *x.shape[2:]), x.dtype)
        x = np.concatenate([past, x], axis=1)
        self.after[name] = x[:, x.shape[1] - context :]
        return x


class RuntimeLayer(Protocol):
    """A layer with its weights."""

    def __call__(self, step: Step, x: np.ndarray) -> np.ndarray:
        """Return the output for the next block, [batch, time, channels]."""


class Dense(NamedTuple):
    """A linear map of each frame; without bias where that is None."""

    kernel: np.ndarray
    bias: np.ndarray | None

    @property
    def biases(self) -> np.ndarray:
        """Return the bias, or zeros in its place."""
        return np.zeros(self.kernel.shape[1], np.float32) if self.bias is None else self.bias

    def __call__(self, step: Step, x: np.ndarray) -> np.ndarray:
        y = product(x, self.kernel)
        if self.bias is not None:
            y += self.bias
        return y


class Normalize(NamedTuple):
    """A LayerNorm without gamma and beta, to length one instead of variance one."""

    def __call__(self, step: Step, x: np.ndarray) -> np.ndarray:
        return normalized(x)


class Norm(NamedTuple):
    """A LayerNorm. Its gamma is times the root of its size, since `normalized` gives vectors of length one."""

    gamma: np.ndarray
    beta: np.ndarray

    def __call__(self, step: Step, x: np.ndarray) -> np.ndarray:
        x = normalized(x)
        x *= self.gamma
        x += self.beta
        return x


class Conv(NamedTuple):
    """A causal convolution; `name` is that of its state."""

    name: str
    kernel: np.ndarray  # [kernel_size, inputs, outputs]
    bias: np.ndarray

    def __call__(self, step: Step, x: np.ndarray) -> np.ndarray:
        size = len(self.kernel)
        seen = windows(step.extend(self.name, x, size - 1), size).reshape(*x.shape[:2], -1)
        return product(seen, self.kernel.reshape(-1, self.kernel.shape[-1])) + self.bias


class Block(NamedTuple):
    """A ConvNeXt block that `codec.runtime.folding` has folded; `name` is that of its state."""

    name: str
    kernel: np.ndarray  # [kernel_size, width]
    bias: np.ndarray
    expand: Dense
    project: Dense

    def __call__(self, step: Step, x: np.ndarray) -> np.ndarray:
        size = len(self.kernel)
        y = np.einsum("btkd,kd->btd", windows(step.extend(self.name, x, size - 1), size), self.kernel)
        y += self.bias
        y = self.project(step, twice_gelu(self.expand(step, normalized(y))))
        y += x
        return y


class Pair(NamedTuple):
    """Join two frames into one."""

    def __call__(self, step: Step, x: np.ndarray) -> np.ndarray:
        return pair(x)


class Split(NamedTuple):
    """Split a frame into two."""

    def __call__(self, step: Step, x: np.ndarray) -> np.ndarray:
        return split(x)


def run(layers: Sequence[RuntimeLayer], step: Step, x: np.ndarray) -> np.ndarray:
    """Run layers in series."""
    for layer in layers:
        x = layer(step, x)
    return x


def product(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return [batch, time, n] @ [n, m].

    Two or three rows are multiplied one by one, since BLAS would copy the matrix to multiply them together.
    """
    batch, time, n = x.shape
    if batch * time >= FEW_ROWS:
        return (x.reshape(-1, n) @ matrix).reshape(batch, time, -1)
    return x @ matrix if time == 1 else (x[:, :, None] @ matrix)[:, :, 0]


def pair(x: np.ndarray) -> np.ndarray:
    """Join two frames into one: [batch, 2 n, width] -> [batch, n, 2 width]."""
    return x.reshape(len(x), -1, 2 * x.shape[-1])


def split(x: np.ndarray) -> np.ndarray:
    """Split a frame into two: [batch, n, 2 width] -> [batch, 2 n, width]."""
    return x.reshape(len(x), -1, x.shape[-1] // 2)


def windows(x: np.ndarray, size: int) -> np.ndarray:
    """Return a view of sliding windows: [batch, time + size - 1, channels] -> [batch, time, size, channels].

    numpy's `sliding_window_view` does the same, but takes a tenth of a live step.
    """
    batch, time, channels = x.shape
    strides = (x.strides[0], x.strides[1], x.strides[1], x.strides[2])
    return np.ndarray((batch, time - size + 1, size, channels), x.dtype, x, strides=strides)


def normalized(x: np.ndarray) -> np.ndarray:
    """Return vectors of mean zero and length one, as a LayerNorm with its epsilon does but for a constant factor."""
    size = x.shape[-1]
    x = x - np.add.reduce(x, axis=-1, keepdims=True) / size
    squares = np.einsum("btd,btd->bt", x, x)[..., None]
    x /= np.sqrt(squares + size * NORM_EPSILON)
    return x


def twice_gelu(x: np.ndarray) -> np.ndarray:
    """Return two times GELU in its tanh form, as in the Keras model; the half is folded into the weights."""
    y = x * x
    y *= GELU_CUBE
    y += GELU_SLOPE
    y *= x
    np.tanh(y, out=y)
    y += 1
    y *= x
    return y
