"""The weights of the Keras model by name: the names of `codec.architecture`, with the part in front."""

from __future__ import annotations

from collections.abc import Iterator

import keras

from codec import architecture
from codec.network.codec import Codec
from codec.network.layers import CausalConv1D
from codec.network.streaming import Pointwise, Serial


def named_weights(codec: Codec) -> dict[str, keras.Variable]:
    """Return every weight, also those of training alone, as `encoder.coarse_block_1.mix.kernel`.

    Keras' own variable paths carry counters of the process; these names do not.
    """
    return layer_weights(codec)


def shipped_weights(codec: Codec) -> dict[str, dict[str, keras.Variable]]:
    """Return the weights that a preset stores, by part and name."""
    weights = named_weights(codec)
    return {
        part: {name: weights[f"{part}.{name}"] for name in shapes}
        for part, shapes in architecture.weight_shapes(codec.config).items()
    }


def layer_weights(layer: keras.layers.Layer) -> dict[str, keras.Variable]:
    """Return every weight of a layer, named by the layers inside it."""
    return dict(_walk(layer, ""))


def _walk(layer: keras.layers.Layer, prefix: str) -> Iterator[tuple[str, keras.Variable]]:
    inner: set[int] = set()
    for name, child in _children(layer):
        inner.update(id(weight) for weight in child.weights)
        yield from _walk(child, f"{prefix}{name}." if name else prefix)
    yield from ((prefix + weight.name, weight) for weight in layer.weights if id(weight) not in inner)


def _children(layer: keras.layers.Layer) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yield the layers in public attributes by name; those in series bring their own names."""
    if isinstance(layer, Serial):
        yield from ((child.name, child) for child in layer.layers)
        return
    for name, value in vars(layer).items():
        if isinstance(value, keras.layers.Layer) and not name.startswith("_"):
            unnamed = isinstance(value, Serial) or isinstance(layer, Pointwise | CausalConv1D)
            yield ("" if unnamed else name), value
