"""The layers of the network: streaming on a grid of sizes, and numbers recomputed in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from support.contract import check_streams, white

from codec import architecture
from codec.network.layers import (
    CausalConv1D,
    ConvNeXtBlock,
    PairFrames,
    SplitFrames,
    pair,
    serial,
    split,
    streaming,
)
from codec.network.weights import layer_weights


@pytest.mark.parametrize(("kernel_size", "filters"), [(1, 3), (2, 1), (3, 4), (8, 2)])
def test_causal_convolutions_stream(kernel_size: int, filters: int) -> None:
    check_streams(CausalConv1D(filters, kernel_size), white(2, 13, 3))


@pytest.mark.parametrize(("kernel_size", "hidden", "width"), [(1, 2, 2), (4, 2, 1), (7, 7, 5)])
def test_convnext_blocks_stream(kernel_size: int, hidden: int, width: int) -> None:
    check_streams(ConvNeXtBlock(width, hidden, kernel_size), white(2, 13, width))


def test_pairs_and_splits_stream() -> None:
    check_streams(PairFrames(), white(2, 12, 3))
    check_streams(SplitFrames(), white(2, 7, 6))


def test_split_undoes_pair() -> None:
    x = white(2, 6, 4)
    np.testing.assert_array_equal(split(pair(x)), x)


def test_pair_puts_two_frames_side_by_side() -> None:
    x = np.arange(12, dtype=np.float32).reshape(1, 4, 3)
    assert pair(x).numpy().tolist() == [[[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]]


def test_a_kernel_longer_than_the_signal() -> None:
    check_streams(CausalConv1D(2, 20), white(1, 6, 1))


def test_causal_convolution_in_numpy() -> None:
    layer, x = CausalConv1D(4, 3), white(1, 6, 2)
    y = layer(x).numpy()
    layer.conv.bias.assign(white(4))
    kernel, padded = layer.conv.kernel.numpy(), np.pad(x[0], [(2, 0), (0, 0)])
    expected = [np.einsum("kc,kcf->f", padded[t : t + 3], kernel) for t in range(6)]
    np.testing.assert_allclose(y[0], expected, atol=1e-5)
    np.testing.assert_allclose(layer(x).numpy()[0], expected + white(4), atol=1e-5)


def test_an_impulse_comes_out_without_delay_and_lasts_as_long_as_the_kernel() -> None:
    layer, x = CausalConv1D(1, 5), np.zeros((1, 16, 1), np.float32)
    x[0, 4] = 1
    assert np.flatnonzero(layer(x).numpy()).tolist() == [4, 5, 6, 7, 8]
    assert layer.latency == 0


def test_convnext_block_in_numpy() -> None:
    layer, x = ConvNeXtBlock(4, 8, kernel_size=3), white(1, 5, 4)
    layer.build(x.shape)
    for number, weight in enumerate(layer.weights):
        weight.assign(0.5 * white(*weight.shape, seed=number))
    padded = np.pad(x[0], [(2, 0), (0, 0)])
    mixed = (
        sum(padded[k : k + 5] * layer.mix.kernel.numpy()[k, :, 0] for k in range(3)) + layer.mix.bias.numpy()
    )
    centered = mixed - mixed.mean(axis=-1, keepdims=True)
    normed = centered / np.sqrt(np.mean(centered**2, axis=-1, keepdims=True) + 1e-6)
    wide = (normed * layer.norm.gamma.numpy() + layer.norm.beta.numpy()) @ layer.expand.kernel.numpy()
    wide = wide + layer.expand.bias.numpy()
    gelu = 0.5 * wide * (1 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)))
    branch = gelu @ layer.project.kernel.numpy() + layer.project.bias.numpy()
    np.testing.assert_allclose(layer(x).numpy()[0], x[0] + layer.scale.numpy() * branch, atol=1e-5)


def test_layer_scale_starts_small() -> None:
    layer = ConvNeXtBlock(3, 6)
    layer.build((None, None, 3))
    np.testing.assert_allclose(layer.scale.numpy(), 0.2)


def test_layer_norm_of_a_constant_is_finite() -> None:
    norm = streaming(architecture.Norm("norm", 4), "float32")
    assert np.all(np.isfinite(norm(np.ones((1, 3, 4), np.float32)).numpy()))


def test_layers_of_a_description_have_its_names_and_shapes() -> None:
    layers = (
        architecture.Conv("input", 3, 4, kernel_size=2),
        architecture.Block("block", 4, 6),
        architecture.Pair("pair"),
        architecture.Norm("norm", 8),
        architecture.Dense("output", 8, 2, bias=False),
    )
    network = serial(layers, "float32")
    check_streams(network, white(2, 12, 3))
    assert [layer.name for layer in network.layers] == [layer.name for layer in layers]
    found = {name: tuple(weight.shape) for name, weight in layer_weights(network).items()}
    assert found == {name: shape for layer in layers for name, shape in layer.shapes.items()}


@pytest.mark.parametrize(
    "make",
    [lambda policy: CausalConv1D(4, 3, dtype=policy), lambda policy: ConvNeXtBlock(3, 6, dtype=policy)],
)
def test_low_precision_reaches_the_parts_but_not_the_weights(make) -> None:
    layer = make("mixed_bfloat16")
    y, state = layer(white(1, 4, 3)), layer.initial_state(1)
    assert {y.dtype.name, state.dtype.name} == {"bfloat16"}
    assert {weight.dtype for weight in layer.weights} == {"float32"}


def test_a_described_layer_takes_a_precision() -> None:
    layer = streaming(architecture.Dense("dense", 3, 4), "mixed_bfloat16")
    assert layer(white(1, 2, 3)).dtype.name == "bfloat16"
