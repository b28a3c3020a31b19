"""Each rewrite of the numpy runtime leaves the output as it was."""

from __future__ import annotations

import numpy as np
import pytest
from support.contract import white

from codec import architecture
from codec.network.layers import serial
from codec.network.weights import layer_weights
from codec.runtime import folding
from codec.runtime.layers import Conv, Dense, Norm, Normalize, RuntimeLayer, Step, run

BATCH, FRAMES, WIDTH = 2, 6, 4
X = white(BATCH, FRAMES, WIDTH)


def weights_of(*layers: architecture.Layer) -> dict[str, np.ndarray]:
    """Random weights of descriptions, by name."""
    shapes = {name: shape for layer in layers for name, shape in layer.shapes.items()}
    return {name: white(*shape, seed=number) for number, (name, shape) in enumerate(shapes.items())}


def dense(outputs: int, bias: bool = True, inputs: int = WIDTH, seed: int = 1) -> Dense:
    return Dense(white(inputs, outputs, seed=seed), white(outputs, seed=seed + 1) if bias else None)


def output(layer: RuntimeLayer, x: np.ndarray = X) -> np.ndarray:
    return layer(Step({}), x)


@pytest.mark.parametrize("bias", [True, False])
def test_a_norm_folds_into_the_linear_layer_after_it(bias: bool) -> None:
    norm, after = Norm(white(WIDTH, seed=5), white(WIDTH, seed=6)), dense(3, bias)
    expected = output(after, output(norm))
    found = output(folding.fold_norm(norm, after), output(Normalize()))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "layers",
    [
        (architecture.Block("block", WIDTH, 6),),
        (architecture.Norm("norm", WIDTH), architecture.Dense("dense", WIDTH, 3)),
        (architecture.Norm("norm", WIDTH), architecture.Block("block", WIDTH, 6)),
        (architecture.Conv("conv", WIDTH, 4, 3), architecture.Split("split"), architecture.Pair("pair")),
        (architecture.Dense("one", WIDTH, 8, bias=False), architecture.Norm("norm", 8)),
    ],
    ids=lambda layers: "-".join(type(layer).__name__ for layer in layers),
)
def test_folded_layers_give_what_the_keras_layers_give(layers: tuple[architecture.Layer, ...]) -> None:
    weights, network = weights_of(*layers), serial(layers, "float32")
    network.build((None, None, WIDTH))
    for name, weight in layer_weights(network).items():
        weight.assign(weights[name])
    found = run(folding.fold_layers(layers, weights), Step({}), X)
    np.testing.assert_allclose(found, network(X), atol=1e-5)


def test_a_norm_at_the_end_stays_a_norm() -> None:
    layer = architecture.Norm("norm", WIDTH)
    folded = folding.fold_layers((layer,), weights_of(layer))
    assert [type(one) for one in folded] == [Norm]


def test_factors_of_the_inputs_fold_into_the_rows() -> None:
    layer = dense(3)
    x = X.copy()
    x[..., 2:] *= 5
    found = output(folding.scale_rows(layer, slice(2, None), 5))
    np.testing.assert_allclose(found, output(layer, x), atol=1e-5)


def complex_side_by_side(parts: np.ndarray) -> np.ndarray:
    """Real parts then imaginary parts -> pairs, as complex numbers lie in memory."""
    real, imaginary = np.split(parts, 2, axis=-1)
    return (real + 1j * imaginary).astype(np.complex64).view(np.float32)


def test_rows_interleave_for_complex_inputs() -> None:
    layer = dense(3)
    found = output(folding.interleave_rows(layer, slice(None)), complex_side_by_side(X))
    np.testing.assert_allclose(found, output(layer), atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_columns_interleave_for_complex_outputs(bias: bool) -> None:
    layer = dense(6, bias)
    found = output(folding.interleave_columns(layer))
    np.testing.assert_allclose(found, complex_side_by_side(output(layer)), atol=1e-5)


def test_layers_of_one_input_join() -> None:
    first, second = dense(3), dense(2, bias=False, seed=7)
    found = output(folding.concatenate([first, second]))
    expected = np.concatenate([output(first), output(second)], axis=-1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_layers_that_are_added_up_join() -> None:
    whole, part = dense(5), dense(2, inputs=3, seed=7)
    y = white(BATCH, FRAMES, 3, seed=9)
    expected = output(whole)
    expected[..., 1:3] += output(part, y)
    joined = folding.stack_paths([(whole, slice(5)), (part, slice(1, 3))], 5)
    np.testing.assert_allclose(output(joined, np.concatenate([X, y], axis=-1)), expected, atol=1e-5)


def test_constant_terms_and_standardization_fold_into_the_bias() -> None:
    layer, terms, scale = dense(3), white(3, seed=8), np.float32([1, 2, 4])
    np.testing.assert_allclose(output(folding.add_bias(layer, terms)), output(layer) + terms, atol=1e-5)
    standardized = folding.standardize(layer, terms, scale)
    np.testing.assert_allclose(output(standardized), (output(layer) - terms) / scale, atol=1e-5)


def test_rewrites_leave_their_inputs_as_they_were() -> None:
    layer = dense(4)
    before = layer.kernel.copy()
    folding.scale_rows(layer, slice(2), 3)
    folding.interleave_rows(layer, slice(None))
    folding.add_bias(layer, np.ones(4, np.float32))
    np.testing.assert_array_equal(layer.kernel, before)


def test_only_a_linear_layer_can_be_merged() -> None:
    layers: list[RuntimeLayer] = [Conv("conv", white(2, 3, 4), white(4))]
    with pytest.raises(TypeError, match="must be Dense, found Conv"):
        folding.take_dense(layers, -1)
