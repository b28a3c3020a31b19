"""Audio to latents: streaming, the linear paths, and the running statistics."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from support.contract import check_streams, white

from codec.config import CodecConfig
from codec.dsp import BAND_SCALE, LatentBlock
from codec.network.encoder import Encoder, Standardize, moments

BLOCKS = (LatentBlock(3, 0.8 * 4 / 3), LatentBlock(1, 0.2 * 4))


@pytest.fixture(scope="module")
def encoder(tiny_config: CodecConfig) -> Encoder:
    keras.utils.set_random_seed(5)
    layer = Encoder(tiny_config)
    layer.build((None, None, 1))
    return layer


def test_the_encoder_streams(encoder: Encoder, tiny_config: CodecConfig) -> None:
    check_streams(encoder, 0.1 * white(2, 9 * tiny_config.hop_length, 1))
    assert (encoder.stride, encoder.latency) == (tiny_config.hop_length, 0)


def test_standardize_streams() -> None:
    layer = Standardize(BLOCKS)
    layer.mean.assign([1, 2, 3, 4])
    layer.variance.assign([4, 9])
    check_streams(layer, white(2, 12, 4))


def test_the_network_starts_small_beside_the_linear_paths(encoder: Encoder) -> None:
    kernel = encoder.network.layers[-1].layer.kernel
    assert np.std(kernel.numpy()) == pytest.approx(0.02, rel=0.3)


def test_the_linear_paths_in_numpy(encoder: Encoder, tiny_config: CodecConfig) -> None:
    audio = 0.1 * white(1, 6 * tiny_config.hop_length, 1)
    features = encoder.analysis(audio).numpy()[0]
    _, bands, low = encoder.analysis.slices
    energies = (features[:, bands] / BAND_SCALE).reshape(6, -1)
    envelope = energies @ encoder.envelope_map.kernel.numpy() + encoder.envelope_map.bias.numpy()
    phase = features[:, low].reshape(6, -1) @ encoder.phase_map.kernel.numpy()
    detail = energies @ encoder.detail_map.kernel.numpy()
    found = encoder.linear_paths(features[None]).numpy()[0]
    np.testing.assert_allclose(found, np.concatenate([envelope, phase, detail], axis=-1), atol=1e-4)


def test_the_network_does_not_see_the_low_bins_of_the_phase_path(encoder: Encoder) -> None:
    width = encoder.network.layers[0].layer.kernel.shape[0]
    assert width == encoder.analysis.slices.bands.stop


def test_statistics_converge_and_fix_the_variances() -> None:
    """Each block gets its promised variance; proportions within a block stay."""
    layer, generator = Standardize(BLOCKS), np.random.default_rng(2)
    sizes, means = np.array([2, 1, 0.5, 30]), np.array([5, -3, 0.5, 100])
    for _ in range(120):
        x = (generator.standard_normal((4, 50, 4)) * sizes + means).astype(np.float32)
        layer.update(moments(layer(x)), decay=0.9)
    np.testing.assert_allclose(layer.mean.numpy(), means, atol=0.1 * sizes.max())
    np.testing.assert_allclose(layer.variance.numpy(), [np.mean([4, 1, 0.25]), 900], rtol=0.05)
    y = layer(x).numpy()
    variances = y.var(axis=(0, 1))
    np.testing.assert_allclose(variances.sum(), 4, rtol=0.1)
    np.testing.assert_allclose(variances[3] / variances.sum(), 0.2, rtol=0.15)
    np.testing.assert_allclose(np.sqrt(variances[:3] / variances[2]), [4, 2, 1], rtol=0.2)


def test_one_update_in_numpy() -> None:
    layer, x = Standardize(BLOCKS), white(1, 8, 4)
    mean, variance = np.array([1, -1, 0, 2]), np.array([4.0, 0.25])
    layer.mean.assign(mean)
    layer.variance.assign(variance)
    targets = np.array([0.8 * 4 / 3, 0.2 * 4])
    scale = np.sqrt(variance / targets)[[0, 0, 0, 1]]
    standardized = layer(x).numpy()
    np.testing.assert_allclose(standardized, (x - mean) / scale, atol=1e-5)
    layer.update(moments(standardized), decay=0.75)
    found = x.mean(axis=(0, 1))
    np.testing.assert_allclose(layer.mean.numpy(), 0.75 * mean + 0.25 * found, atol=1e-5)
    squares = np.mean((x - found) ** 2, axis=(0, 1))
    expected = 0.75 * variance + 0.25 * np.array([squares[:3].mean(), squares[3]])
    np.testing.assert_allclose(layer.variance.numpy(), expected, rtol=1e-4)


def test_values_are_unchanged_before_the_first_update() -> None:
    np.testing.assert_allclose(Standardize(BLOCKS)(white(1, 3, 4)), white(1, 3, 4), atol=1e-5)


def test_statistics_are_no_trained_weights() -> None:
    layer = Standardize(BLOCKS)
    assert len(layer.non_trainable_variables) == 2 and not layer.trainable_variables
