"""The layers of `codec.network.layers` in numpy, by the names of their weights, with the state of a stream.

Here live steps of one frame spend half of their time on reading the weights, the rest on calls of numpy: so there are
few, and arrays are changed in place.
"""

from __future__ import annotations

import numpy as np

from codec.dsp import NORM_EPSILON

Weights = dict[str, np.ndarray]
StreamState = dict[str, np.ndarray]  # what each part keeps, by its name; what is not there is silence

GELU_SLOPE = np.float32(np.sqrt(2 / np.pi))
GELU_CUBE = np.float32(0.044715) * GELU_SLOPE


class Step:
    """The layers, by the names of their weights, during one step: the state before it, and the state after it."""

    def __init__(self, weights: Weights, before: StreamState) -> None:
        self.weights, self.before, self.after = weights, before, dict(before)

    def extend(self, name: str, x: np.ndarray, context: int) -> np.ndarray:
        """Put the last `context` steps of the block before in front: [batch, context + time, ...]."""
        past = self.before.get(name)
        if past is None:
            past = np.zeros((len(x), context, *x.shape[2:]), x.dtype)
        x = np.concatenate([past, x], axis=1)
        self.after[name] = x[:, x.shape[1] - context :]
        return x

    def dense(self, name: str, x: np.ndarray) -> np.ndarray:
        y = _product(x, self.weights[f"{name}.kernel"])
        bias = self.weights.get(f"{name}.bias")
        if bias is not None:
            y += bias
        return y

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        x = normalized(x)
        x *= self.weights[f"{name}.gamma"]
        x += self.weights[f"{name}.beta"]
        return x

    def conv(self, name: str, x: np.ndarray) -> np.ndarray:
        kernel = self.weights[f"{name}.kernel"]
        seen = windows(self.extend(name, x, len(kernel) - 1), len(kernel)).reshape(*x.shape[:2], -1)
        return _product(seen, kernel.reshape(-1, kernel.shape[-1])) + self.weights[f"{name}.bias"]

    def block(self, name: str, x: np.ndarray) -> np.ndarray:
        """A ConvNeXtBlock, of weights that `codec.runtime.folding` has folded."""
        kernel = self.weights[f"{name}.mix.kernel"]
        y = np.einsum("btkd,kd->btd", windows(self.extend(name, x, len(kernel) - 1), len(kernel)), kernel)
        y += self.weights[f"{name}.mix.bias"]
        y = twice_gelu(self.dense(f"{name}.expand", normalized(y)))
        y = self.dense(f"{name}.project", y)
        y += x
        return y

    def blocks(self, name: str, numbers: range, x: np.ndarray) -> np.ndarray:
        for number in numbers:
            x = self.block(f"{name}.{number}", x)
        return x


def _product(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """[batch, time, n] @ [n, m]; two or three rows each by itself, as BLAS would copy the matrix to do them at once."""
    batch, time, n = x.shape
    if batch * time >= 4:
        return (x.reshape(-1, n) @ matrix).reshape(batch, time, -1)
    return x @ matrix if time == 1 else (x[:, :, None] @ matrix)[:, :, 0]


def windows(x: np.ndarray, size: int) -> np.ndarray:
    """[batch, time + size - 1, channels] -> [batch, time, size, channels], the same memory.

    numpy's `sliding_window_view` does it too, in a tenth of the time of a step of one frame.
    """
    batch, time, channels = x.shape
    strides = (x.strides[0], x.strides[1], x.strides[1], x.strides[2])
    return np.ndarray((batch, time - size + 1, size, channels), x.dtype, x, strides=strides)


def normalized(x: np.ndarray) -> np.ndarray:
    """A LayerNorm without gamma and beta, to length one instead of variance one: the factor is in the weights."""
    size = x.shape[-1]
    x = x - np.add.reduce(x, axis=-1, keepdims=True) / size
    squares = np.einsum("btd,btd->bt", x, x)[..., None]
    x /= np.sqrt(squares + size * NORM_EPSILON)
    return x


def twice_gelu(x: np.ndarray) -> np.ndarray:
    """Two times the tanh form, as in the Keras model; the half is in the weights."""
    y = x * x
    y *= GELU_CUBE
    y += GELU_SLOPE
    y *= x
    np.tanh(y, out=y)
    y += 1
    y *= x
    return y
