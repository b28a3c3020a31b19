"""Rewrites that merge linear operations, so that a live step needs fewer calls of numpy.

Each function takes layers and returns layers with the same output, rounding apart; `tests/runtime/test_folding.py`
checks them one by one.

    fold_norm            gamma and beta of a norm go into the linear layer after it
    fold_block           a block's norm goes into `expand`; GELU's half and the scale go into `project`
    fold_layers          the layers of a list of descriptions, with both rewrites
    scale_rows           constant factors of a layer's inputs go into its kernel
    interleave           real parts then imaginary parts -> pairs, as complex numbers lie in memory
    concatenate          layers of one input, as one layer
    stack_paths          layers of different inputs that are added up, as one layer
    add_bias             constant terms of the outputs go into the bias
    standardize          centering and scaling of the outputs go into the layer before
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from codec import architecture
from codec.runtime.layers import Block, Conv, Dense, Norm, Normalize, Pair, RuntimeLayer, Split

Weights = Mapping[str, np.ndarray]  # float32, by the names of `codec.architecture`


def dense(layer: architecture.Dense, weights: Weights) -> Dense:
    """Return a linear layer with its weights."""
    return Dense(weights[f"{layer.name}.kernel"], weights.get(f"{layer.name}.bias"))


def norm(layer: architecture.Norm, weights: Weights) -> Norm:
    """Return a norm with its weights."""
    gamma = weights[f"{layer.name}.gamma"] * np.float32(np.sqrt(layer.width))
    return Norm(gamma, weights[f"{layer.name}.beta"])


def fold_norm(before: Norm, after: Dense) -> Dense:
    """Return the linear layer that follows `Normalize` in place of `before` and `after`."""
    return Dense(before.gamma[:, None] * after.kernel, after.biases + before.beta @ after.kernel)


def fold_block(layer: architecture.Block, weights: Weights) -> Block:
    """Return a block whose norm is folded into `expand`, and whose scale and GELU's half into `project`."""
    scale, project = weights[f"{layer.name}.scale"], dense(layer.project, weights)
    return Block(
        layer.name,
        weights[f"{layer.name}.mix.kernel"][..., 0],
        weights[f"{layer.name}.mix.bias"],
        fold_norm(norm(layer.norm, weights), dense(layer.expand, weights)),
        Dense(project.kernel * (np.float32(0.5) * scale), project.biases * scale),
    )


def fold_layers(layers: Sequence[architecture.Layer], weights: Weights) -> list[RuntimeLayer]:
    """Return the layers of a list of descriptions, folded."""
    folded: list[RuntimeLayer] = []
    for layer in layers:
        made = _layer(layer, weights)
        if isinstance(made, Dense) and folded and isinstance(folded[-1], Norm):
            made = fold_norm(folded[-1], made)
            folded[-1] = Normalize()
        folded.append(made)
    return folded


def _layer(layer: architecture.Layer, weights: Weights) -> RuntimeLayer:
    match layer:
        case architecture.Dense():
            return dense(layer, weights)
        case architecture.Norm():
            return norm(layer, weights)
        case architecture.Conv():
            return Conv(layer.name, weights[f"{layer.name}.kernel"], weights[f"{layer.name}.bias"])
        case architecture.Block():
            return fold_block(layer, weights)
        case architecture.Pair():
            return Pair()
        case architecture.Split():
            return Split()


def take_dense(layers: list[RuntimeLayer], place: int) -> Dense:
    """Take a linear layer out of a list, to be merged with others. Raises TypeError for another kind of layer."""
    layer = layers.pop(place)
    if not isinstance(layer, Dense):
        kind = type(layer).__name__
        raise TypeError(
            f"the first layer of the encoder and the last before a sum must be Dense, found {kind}"
        )
    return layer


def scale_rows(layer: Dense, rows: slice, factor: float) -> Dense:
    """Return the layer for inputs that lack a constant factor in some rows."""
    kernel = layer.kernel.copy()
    kernel[rows] *= np.float32(factor)
    return layer._replace(kernel=kernel)


def interleave(parts: np.ndarray, axis: int) -> np.ndarray:
    """Reorder real parts then imaginary parts along an axis: each real part beside its imaginary part."""
    return np.stack(np.split(parts, 2, axis), axis + 1).reshape(parts.shape)


def interleave_rows(layer: Dense, rows: slice) -> Dense:
    """Return the layer for complex inputs in some rows."""
    kernel = layer.kernel.copy()
    kernel[rows] = interleave(kernel[rows], 0)
    return layer._replace(kernel=kernel)


def interleave_columns(layer: Dense) -> Dense:
    """Return the layer with complex outputs."""
    return Dense(interleave(layer.kernel, 1), interleave(layer.biases, 0))


def add_bias(layer: Dense, terms: np.ndarray) -> Dense:
    """Return the layer with constant terms added to its outputs, [outputs]."""
    return layer._replace(bias=layer.biases + terms)


def concatenate(layers: Sequence[Dense]) -> Dense:
    """Return layers of one input as one layer, their outputs side by side."""
    kernels, biases = [layer.kernel for layer in layers], [layer.biases for layer in layers]
    return Dense(np.concatenate(kernels, axis=1), np.concatenate(biases))


def stack_paths(paths: Sequence[tuple[Dense, slice]], outputs: int) -> Dense:
    """Return layers that are added up as one layer, their inputs side by side.

    Args:
        paths: each layer with the outputs that it adds to.
        outputs: number of outputs.
    """
    kernels, bias = [], np.zeros(outputs, np.float32)
    for layer, columns in paths:
        kernels.append(np.zeros((len(layer.kernel), outputs), np.float32))
        kernels[-1][:, columns] = layer.kernel
        bias[columns] += layer.biases
    return Dense(np.concatenate(kernels), bias)


def standardize(layer: Dense, mean: np.ndarray, scale: np.ndarray) -> Dense:
    """Return the layer whose outputs are centered and divided by a scale, [outputs] each."""
    return Dense(layer.kernel / scale, (layer.biases - mean) / scale)
