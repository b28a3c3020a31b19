"""Latents to audio: streaming, the head against numpy, and noise that is always the same."""

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
    PITCHES,
    band_interpolation,
    noise_table,
    random_phasors,
    synthesis_window,
)
from codec.network.decoder import Decoder, Head, HeadInputs
from codec.network.streaming import StreamingLayer, Tensor
from codec.runtime.excitation import Excitation
from codec.runtime.layers import Step

SMALL = CodecConfig(
    sample_rate=16000, hop_length=64, mel_bands=5, spectrum_limit=4000, phase_limit=1000, decoder_fine_width=3
)
PHASE_UNKNOWN = 0.7


@pytest.fixture(scope="module")
def decoder(tiny_config: CodecConfig) -> Decoder:
    keras.utils.set_random_seed(5)
    layer = Decoder(tiny_config)
    layer.build((None, None, tiny_config.latent_dim))
    return layer


@pytest.fixture(scope="module")
def head() -> Head:
    """A head with random numbers where training starts from zeros."""
    layer = Head(SMALL)
    for number, weight in enumerate(layer.weights):
        weight.assign(0.3 * white(*weight.shape, seed=number))
    voiced = np.append(np.zeros(PITCHES, np.float32), np.float32(3))
    layer.pitch.bias.assign_add(voiced)
    return layer


def head_inputs(time: int, batch: int = 1) -> HeadInputs:
    phasors = np.tile(random_phasors(SMALL)[:time], (batch, 1, 1))
    return HeadInputs(
        features=white(batch, time, SMALL.decoder_fine_width),
        energies=white(batch, time, SMALL.mel_bands, seed=4),
        low_bins=(white(batch, time, SMALL.phase_bins, seed=5), white(batch, time, SMALL.phase_bins, seed=6)),
        noise=(phasors.real, phasors.imag),
        phase_unknown=np.full((batch, time, 1), PHASE_UNKNOWN, np.float32),
        resets=np.zeros((batch, time, 1), np.float32),
    )


def spectrum_of(head: Head, inputs: HeadInputs) -> np.ndarray:
    """The spectrum of the first item, complex [frame, bin]."""
    parts, _ = head.step(inputs, head.initial_state(len(inputs.features)))
    real, imaginary = np.split(np.asarray(parts)[0], 2, axis=-1)
    return real + 1j * imaginary


class JoinedHead(StreamingLayer):
    """The head with all its inputs side by side in one tensor, for the contract of streaming layers."""

    def __init__(self, head: Head, inputs: HeadInputs) -> None:
        super().__init__()
        self.head, self.like = head, inputs
        self.ends = np.cumsum([part.shape[-1] for part in keras.tree.flatten(inputs)])[:-1].tolist()

    def build(self, input_shape: tuple) -> None:
        """The head is built already."""

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], 2 * SMALL.synthesis_bins)

    def initial_state(self, batch_size: int) -> Tensor:
        return self.head.initial_state(batch_size)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        parts = keras.tree.pack_sequence_as(self.like, keras.ops.split(x, self.ends, axis=-1))
        return self.head.step(parts, state)


def test_the_decoder_streams(decoder: Decoder, tiny_config: CodecConfig) -> None:
    check_streams(decoder, white(2, 9, tiny_config.latent_dim))
    assert (1 / decoder.stride, decoder.latency) == (tiny_config.hop_length, tiny_config.spectral_hop)


def test_the_head_streams(head: Head) -> None:
    inputs = head_inputs(13, batch=2)
    check_streams(JoinedHead(head, inputs), np.concatenate(keras.tree.flatten(inputs), axis=-1))


def test_the_head_in_numpy(head: Head) -> None:
    inputs = head_inputs(4)
    features, energies = inputs.features[0].astype(np.float64), inputs.energies[0]
    numbers = np.arange(1, 5)[None]  # no reset
    c = inputs.low_bins[0][0] + 1j * inputs.low_bins[1][0]
    bins = slice(1, 1 + SMALL.phase_bins)

    def dense(layer: keras.layers.Dense) -> np.ndarray:
        return features @ layer.kernel.numpy() + layer.bias.numpy()

    offset = np.full(SMALL.synthesis_bins, LOG_OF_MEAN)
    offset[bins] -= LOW_BIN_DROP
    log_magnitude = dense(head.magnitude) + energies @ band_interpolation(SMALL) + offset
    real, imaginary = np.split(dense(head.phasor), 2, axis=-1)
    phasor = real + 1j * imaginary
    phasor[:, bins] += 3 * c
    pulses = Excitation(SMALL).spectra(Step({}), dense(head.pitch)[None], numbers)[0]
    *gains, sharpness = np.split(dense(head.excitation), 3, axis=-1)
    power = np.abs(pulses) ** 2
    assert power.max() > 0.5
    phasor += PHASE_UNKNOWN * (2.5 + gains[0] + 1j * gains[1]) * pulses / np.sqrt(power + EXCITATION_FLOOR)
    log_magnitude[:, : power.shape[1]] += sharpness / 2 * np.log(1 + power / EXCITATION_FLOOR)
    noise = random_phasors(SMALL)[:4]
    share = np.array([0, 0, 0, 0, 0, 0, 0, 1 / 2])  # from 3/4 of 2000 Hz up
    mixed = (1 - share) * phasor / np.abs(phasor) + share * noise[:, : len(share)]
    phasors = np.hstack([mixed / np.abs(mixed), noise[:, len(share) :]])
    expected = np.exp(np.clip(log_magnitude, *LOG_MAGNITUDE_RANGE)) * phasors
    expected[:, bins] += c * np.abs(c) ** 1.5 * np.exp(dense(head.low_gain))
    np.testing.assert_allclose(spectrum_of(head, inputs), expected, rtol=1e-3, atol=1e-3)


def test_magnitudes_are_bounded(head: Head) -> None:
    inputs = head_inputs(2)
    loud = (np.full_like(inputs.low_bins[0], 50), np.full_like(inputs.low_bins[1], 50))
    inputs = inputs._replace(energies=np.full_like(inputs.energies, 1e4), low_bins=loud)
    limit = np.exp(LOG_MAGNITUDE_RANGE[1]) + np.sqrt(2) * 50 * 10**1.5 * np.exp(2)
    assert np.abs(spectrum_of(head, inputs)).max() < limit


def test_silence_has_finite_gradients(head: Head) -> None:
    import tensorflow as tf

    inputs = keras.tree.map_structure(tf.zeros_like, head_inputs(2))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = tf.reduce_sum(head.step(inputs, head.initial_state(1))[0])
    for gradient in tape.gradient(total, keras.tree.flatten(inputs), unconnected_gradients="zero"):
        assert np.all(np.isfinite(gradient))


def test_noise_is_white() -> None:
    noise = noise_table(4)
    assert noise.mean() == pytest.approx(0, abs=0.03)
    np.testing.assert_allclose(np.cov(noise, rowvar=False), np.eye(4), atol=0.08)
    assert np.mean(noise[1:] * noise[:-1]) == pytest.approx(0, abs=0.03)


def test_noise_repeats_after_its_period(decoder: Decoder, tiny_config: CodecConfig) -> None:
    x = np.zeros((1, 3, tiny_config.latent_dim), np.float32)
    inputs, state = decoder.features(x, decoder.initial_state(1, NOISE_PERIOD - 2))
    first, _ = decoder.features(x, decoder.initial_state(1))
    for found, expected in zip(inputs.noise, first.noise, strict=True):
        np.testing.assert_array_equal(found[:, 2:], expected[:, :4])
    assert np.asarray(state.frame).tolist() == [4]


def test_the_first_numbers_of_the_noise_never_change() -> None:
    """Otherwise files would decode to other samples."""
    pinned = [[-1.947747, 1.0719414], [-0.20135155, -0.65719265]]
    np.testing.assert_allclose(noise_table(2)[[0, 4095]], pinned, atol=1e-6)


def test_each_item_may_start_elsewhere_in_the_noise(decoder: Decoder, tiny_config: CodecConfig) -> None:
    x = np.repeat(white(1, 4, tiny_config.latent_dim), 2, axis=0)
    same = decoder(x).numpy()
    np.testing.assert_allclose(same[0], same[1], atol=1e-6)  # rows may be multiplied in another order
    moved = decoder.step(x, decoder.initial_state(2, np.array([0, 9], np.int32)))[0].numpy()
    np.testing.assert_allclose(moved[0], same[0], atol=1e-6)
    assert np.abs(moved[1] - same[1]).max() > 1e-4


def test_random_phasors_are_those_of_one_white_signal() -> None:
    """Added up with the synthesis window, and cut into frames again, they are still the same."""
    phasors, hop = random_phasors(SMALL), SMALL.spectral_hop
    assert phasors.shape == (PHASOR_PERIOD, SMALL.synthesis_bins)
    np.testing.assert_allclose(np.abs(phasors), 1, atol=1e-5)
    window = synthesis_window(SMALL)
    pieces = np.fft.irfft(phasors) * window
    signal = (pieces[1:-1, :hop] + pieces[:-2, hop:]).ravel()
    frames = np.stack([signal[start : start + 2 * hop] for start in range(0, len(signal) - hop, hop)])
    again = np.fft.rfft(frames * window)
    turned = phasors[1:-2] * np.conj(again / np.abs(again))
    assert turned.real[:, 1:-1].mean() > 0.8
    neighbors = (phasors[1:] * np.conj(phasors[:-1])).mean()
    assert abs(neighbors) < 0.3  # half overlapping


def test_above_the_limit_phasors_are_those_of_the_noise(head: Head) -> None:
    spectrum, above = spectrum_of(head, head_inputs(3)), slice(SMALL.phasor_bins, None)
    phasors = (spectrum / np.abs(spectrum))[:, above]
    np.testing.assert_allclose(phasors, random_phasors(SMALL)[:3, above], atol=1e-4)


def test_channels_have_different_noise(tiny_config: CodecConfig) -> None:
    from codec.network.codec import Codec

    state = Codec(tiny_config).decoder_state(3, first_frame=7).network
    assert np.asarray(state.frame).tolist() == [14, 1014, 2014]
