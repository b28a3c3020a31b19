"""The layers of `codec.architecture` as nodes of a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from codec import architecture
from codec.dsp import NORM_EPSILON
from codec.export.onnx.function import Function
from codec.export.onnx.graph import Value

Weights = Mapping[str, np.ndarray]  # by the names of `codec.architecture`


class Part(NamedTuple):
    """Layers with their weights, written into one graph."""

    function: Function
    weights: Weights

    def run(self, layers: Sequence[architecture.Layer], x: Value, width: int) -> Value:
        """Run layers in series on [batch, frame, width]."""
        for layer in layers:
            match layer:
                case architecture.Dense():
                    x, width = self.dense(x, layer), layer.outputs
                case architecture.Norm():
                    x = self.norm(x, layer)
                case architecture.Conv():
                    x, width = self.conv(x, layer), layer.outputs
                case architecture.Block():
                    x = self.block(x, layer)
                case architecture.Pair():
                    width *= 2
                    x = x.reshape(0, -1, width)
                case architecture.Split():
                    width //= 2
                    x = x.reshape(0, -1, width)
        return x

    def dense(self, x: Value, *layers: architecture.Dense) -> Value:
        """Run linear layers of one input as one; their outputs stand side by side."""
        name = "+".join(layer.name for layer in layers)
        kernel = np.concatenate([self.weights[f"{layer.name}.kernel"] for layer in layers], axis=1)
        y = x @ self.function.weight(f"{name}.kernel", kernel)
        if not any(layer.bias for layer in layers):
            return y
        biases = [self._bias(layer) for layer in layers]
        return y + self.function.weight(f"{name}.bias", np.concatenate(biases))

    def _bias(self, layer: architecture.Dense) -> np.ndarray:
        name = f"{layer.name}.bias"
        return np.asarray(self.weights[name]) if layer.bias else np.zeros(layer.outputs, np.float16)

    def norm(self, x: Value, layer: architecture.Norm) -> Value:
        """Run a LayerNorm."""
        gamma, beta = (self._weight(layer.name, kind) for kind in ("gamma", "beta"))
        return self.function.add("LayerNormalization", x, gamma, beta, axis=-1, epsilon=NORM_EPSILON)

    def conv(self, x: Value, layer: architecture.Conv) -> Value:
        """Run a causal convolution: one product with the frames that it sees, side by side."""
        extended = self.function.extend(layer.name, x, layer.kernel_size - 1, layer.inputs)
        seen = self.function.concatenate(windows(extended, layer.kernel_size))
        kernel = np.asarray(self.weights[f"{layer.name}.kernel"]).reshape(-1, layer.outputs)
        return seen @ self.function.weight(f"{layer.name}.kernel", kernel) + self._weight(layer.name, "bias")

    def block(self, x: Value, layer: architecture.Block) -> Value:
        """Run a ConvNeXt block."""
        y = self.norm(self._mix(x, layer), layer.norm)
        y = self.function.add("Gelu", self.dense(y, layer.expand), approximate="tanh")
        return x + self.dense(y, layer.project) * self._weight(layer.name, "scale")

    def _mix(self, x: Value, layer: architecture.Block) -> Value:
        """Run the depthwise convolution of a block."""
        extended = self.function.extend(layer.name, x, layer.kernel_size - 1, layer.width)
        name = f"{layer.name}.mix.kernel"
        kernel = np.asarray(self.weights[name]).transpose(1, 2, 0)[:, :, None]  # [width, 1, 1, size]
        y = self.function.add(
            "Conv",  # in two dimensions, which ONNX Runtime does faster than in one
            extended.expand(1).swap(0, 3, 1, 2),
            self.function.table(name, kernel),
            self._weight(layer.name, "mix.bias"),
            group=layer.width,
        )
        return self.function.add("Squeeze", y.swap(0, 2, 3, 1), np.array([1]))

    def _weight(self, layer: str, kind: str) -> Value:
        return self.function.weight(f"{layer}.{kind}", self.weights[f"{layer}.{kind}"])


def windows(x: Value, size: int) -> list[Value]:
    """Return each place of a sliding window: `size` times [batch, frame - size + 1, channels]."""
    return [x.part(1, place, place + 1 - size or None) for place in range(size)]
