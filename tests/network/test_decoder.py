"""Latents to audio: streaming, the head in numpy, and noise that is always the same."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from support.contract import check_streams, white

from codec.config import CodecConfig
from codec.dsp import (
    EXCITATION_FLOOR,
    LOG_MAGNITUDE_RANGE,
    LOG_OF_MEAN,
    LOW_BIN_DROP,
    NOISE_PERIOD,
    PHASOR_PERIOD,
    band_interpolation,
    noise_table,
    random_phasors,
    synthesis_window,
)
from codec.network.decoder import Decoder, Head, Noise, split
from codec.network.encoder import pair
from codec.runtime.excitation import NumpyExcitation
from codec.runtime.layers import Step

SMALL = CodecConfig(
    sample_rate=16000, hop_length=64, mel_bands=5, spectrum_limit=4000, phase_limit=1000, decoder_fine_width=3
)
UNKNOWN = 0.7  # of the phases


@pytest.fixture(scope="module")
def decoder(tiny_config: CodecConfig) -> Decoder:
    keras.utils.set_random_seed(5)
    layer = Decoder(tiny_config)
    layer.build((None, None, tiny_config.latent_dim))
    return layer


@pytest.fixture(scope="module")
def head() -> Head:
    """With numbers where training starts from zeros."""
    layer = Head(SMALL)
    layer.build((None, None, None))
    for number, weight in enumerate(layer.weights):
        weight.assign(0.3 * white(*weight.shape, seed=number))
    return layer


def head_input(time: int, batch: int = 1) -> np.ndarray:
    width = SMALL.decoder_fine_width + SMALL.mel_bands + 2 * SMALL.phase_bins
    directions = np.tile(random_phasors(SMALL)[:time], (batch, 1, 1))
    unknown, restarts = np.full((batch, time, 1), UNKNOWN, np.float32), np.zeros((batch, time, 1), np.float32)
    parts = [white(batch, time, width), directions.real, directions.imag, unknown, restarts]
    return np.concatenate(parts, axis=-1)


def test_the_decoder_streams(decoder: Decoder, tiny_config: CodecConfig) -> None:
    check_streams(decoder, white(2, 9, tiny_config.latent_dim))
    assert (1 / decoder.stride, decoder.latency) == (tiny_config.hop_length, tiny_config.spectral_hop)


def test_the_head_streams(head: Head) -> None:
    check_streams(head, head_input(13, batch=2))


def test_noise_streams() -> None:
    check_streams(Noise(noise_table(3)), white(2, 13, 5))


def test_split_undoes_pair() -> None:
    x = white(2, 6, 4)
    np.testing.assert_array_equal(split(pair(x)), x)


def test_the_head_in_numpy(head: Head) -> None:
    x = head_input(4)
    ends = [3, 8, 8 + 2 * SMALL.phase_bins]
    features, energies, low, _ = np.split(x[0].astype(np.float64), ends, axis=-1)
    numbers = np.arange(1, 5)[None]  # none of them a restart
    c = low[:, : SMALL.phase_bins] + 1j * low[:, SMALL.phase_bins :]
    bins = slice(1, 1 + SMALL.phase_bins)

    def dense(layer: keras.layers.Dense) -> np.ndarray:
        return features @ layer.kernel.numpy() + layer.bias.numpy()

    offset = np.full(SMALL.synthesis_bins, LOG_OF_MEAN)
    offset[bins] -= LOW_BIN_DROP
    log_magnitude = dense(head.magnitude) + energies @ band_interpolation(SMALL) + offset
    real, imaginary = np.split(dense(head.direction), 2, axis=-1)
    direction = real + 1j * imaginary
    direction[:, bins] += 3 * c
    pulses = NumpyExcitation(SMALL).step(Step({}, {}), dense(head.pitch)[None], numbers)[0]
    *gains, sharpness = np.split(dense(head.voice), 3, axis=-1)
    power = np.abs(pulses) ** 2
    assert power.max() > 0.5
    direction += UNKNOWN * (2.5 + gains[0] + 1j * gains[1]) * pulses / np.sqrt(power + EXCITATION_FLOOR)
    log_magnitude[:, : power.shape[1]] += sharpness / 2 * np.log(1 + power / EXCITATION_FLOOR)
    noise = random_phasors(SMALL)[:4]
    share = np.array([0, 0, 0, 0, 0, 0, 0, 1 / 2])  # from 3/4 of 2000 Hz up
    mixed = (1 - share) * direction / np.abs(direction) + share * noise[:, : len(share)]
    directions = np.hstack([mixed / np.abs(mixed), noise[:, len(share) :]])
    expected = np.exp(np.clip(log_magnitude, *LOG_MAGNITUDE_RANGE)) * directions
    expected[:, bins] += c * np.abs(c) ** 1.5 * np.exp(dense(head.low_gain))
    found = head(x).numpy()[0]
    np.testing.assert_allclose(
        found[:, : SMALL.synthesis_bins] + 1j * found[:, SMALL.synthesis_bins :],
        expected,
        rtol=1e-3,
        atol=1e-3,
    )


def test_magnitudes_are_bounded(head: Head) -> None:
    x = head_input(2)
    x[..., 3:8] = 1e4
    x[..., 8 : 8 + 2 * SMALL.phase_bins] = 50
    assert np.abs(head(x).numpy()).max() < np.exp(LOG_MAGNITUDE_RANGE[1]) + 50 * 10**1.5 * np.exp(2)


def test_nothing_in_the_low_bins_has_finite_gradients(head: Head) -> None:
    import tensorflow as tf

    x = tf.zeros((1, 2, head_input(2).shape[-1]))
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(head(x))
    assert np.all(np.isfinite(tape.gradient(total, x)))


def test_noise_is_white() -> None:
    noise = Noise(noise_table(4))(np.zeros((1, NOISE_PERIOD, 1), np.float32)).numpy()[0]
    assert noise.mean() == pytest.approx(0, abs=0.03)
    np.testing.assert_allclose(np.cov(noise, rowvar=False), np.eye(4), atol=0.08)
    assert np.mean(noise[1:] * noise[:-1]) == pytest.approx(0, abs=0.03)


def test_noise_depends_on_the_frame_number_alone() -> None:
    layer, x = Noise(noise_table(2)), np.zeros((1, 20, 1), np.float32)
    whole = layer(x).numpy()
    later, state = layer.step(x[:, :5], np.array([7], np.int32))
    np.testing.assert_array_equal(later, whole[:, 7:12])
    assert np.asarray(state).tolist() == [12]
    np.testing.assert_array_equal(Noise(noise_table(2))(x), whole)


def test_noise_repeats_after_its_period() -> None:
    layer, x = Noise(noise_table(1)), np.zeros((1, 6, 1), np.float32)
    around, state = layer.step(x, np.array([NOISE_PERIOD - 2], np.int32))
    np.testing.assert_array_equal(around[:, 2:], layer(x)[:, :4])
    assert np.asarray(state).tolist() == [4]


def test_the_first_numbers_of_the_noise_never_change() -> None:
    """Files would decode to other samples."""
    pinned = [[-1.947747, 1.0719414], [-0.20135155, -0.65719265]]
    np.testing.assert_allclose(Noise(noise_table(2)).table[[0, 4095]], pinned, atol=1e-6)


def test_each_item_may_begin_elsewhere_in_the_noise(decoder: Decoder, tiny_config: CodecConfig) -> None:
    x = np.repeat(white(1, 4, tiny_config.latent_dim), 2, axis=0)
    same = decoder(x).numpy()
    np.testing.assert_allclose(same[0], same[1], atol=1e-6)  # rows may be multiplied in another order
    moved = decoder.step(x, decoder.initial_state(2, np.array([0, 9], np.int32)))[0].numpy()
    np.testing.assert_allclose(moved[0], same[0], atol=1e-6)
    assert np.abs(moved[1] - same[1]).max() > 1e-4


def test_noise_directions_are_those_of_one_white_signal() -> None:
    """Added up with the synthesis window, and cut into frames again, they are still the same."""
    directions, hop = random_phasors(SMALL), SMALL.spectral_hop
    assert directions.shape == (PHASOR_PERIOD, SMALL.synthesis_bins)
    np.testing.assert_allclose(np.abs(directions), 1, atol=1e-5)
    window = synthesis_window(SMALL)
    pieces = np.fft.irfft(directions) * window
    signal = (pieces[1:-1, :hop] + pieces[:-2, hop:]).ravel()
    frames = np.stack([signal[start : start + 2 * hop] for start in range(0, len(signal) - hop, hop)])
    again = np.fft.rfft(frames * window)
    turned = directions[1:-2] * np.conj(again / np.abs(again))
    assert turned.real[:, 1:-1].mean() > 0.8
    assert (
        abs((directions[1:] * np.conj(directions[:-1])).mean()) < 0.3
    )  # of neighbouring frames, half overlapping


def test_above_the_limit_directions_are_those_of_the_noise(head: Head) -> None:
    x, bins = head_input(3), SMALL.synthesis_bins
    found = head(x).numpy()[0]
    spectrum = found[:, :bins] + 1j * found[:, bins:]
    above = slice(SMALL.phasor_bins, None)
    np.testing.assert_allclose(
        (spectrum / np.abs(spectrum))[:, above], random_phasors(SMALL)[:3, above], atol=1e-4
    )


def test_channels_have_noise_of_their_own(tiny_config: CodecConfig) -> None:
    from codec.network.codec import Codec

    starts = Codec(tiny_config).decoder_state(3, first_frame=7).network[1]
    assert np.asarray(starts).tolist() == [14, 1014, 2014]
