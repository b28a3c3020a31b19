"""The distances of the training losses, compared with librosa, and their properties."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from codec.evaluation.metrics import mel_distance
from codec.training import losses

RATE = 48000  # Hz
ALL = tuple(range(6))


def noise(seed: int, batch: int = 1, length: int = RATE // 2) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((batch, length)).astype(np.float32)


def wave(frequency: float, level: float = 0.2, length: int = RATE // 2) -> np.ndarray:
    return (level * np.sin(2 * np.pi * frequency * np.arange(length) / RATE)).astype(np.float32)[None]


def mel(reference: np.ndarray, decoded: np.ndarray, scales: tuple[int, ...] = ALL) -> np.ndarray:
    return ops.convert_to_numpy(losses.mel_distances(reference, decoded, RATE, scales).log)


def complex_distance(reference: np.ndarray, decoded: np.ndarray, cutoff: float) -> float:
    cutoffs = ops.convert_to_tensor(np.full(len(reference), cutoff, np.float32))
    return float(losses.complex_distances(reference, decoded, RATE, cutoffs)[0])


def log_mel(audio: np.ndarray, window: int, bands: int) -> np.ndarray:
    spectrum = librosa.stft(audio, n_fft=window, hop_length=window // 4, center=False)
    filters = librosa.filters.mel(sr=RATE, n_fft=window, n_mels=bands)
    return np.log10(np.maximum(filters @ np.abs(spectrum), losses.MEL_FLOOR))


@pytest.mark.parametrize("scale", ALL)
def test_one_scale_is_that_of_librosa(scale: int) -> None:
    window, bands = (128, 256, 512, 1024, 2048, 4096)[scale], losses.MEL_BANDS[scale]
    reference, decoded = noise(1)[:, : 5 * 4096], noise(2)[:, : 5 * 4096] * 0.3
    expected = np.abs(log_mel(reference[0], window, bands) - log_mel(decoded[0], window, bands)).mean()
    assert mel(reference, decoded, (scale,))[0] == pytest.approx(expected, rel=1e-3)


def test_scales_add_up_and_items_stand_alone() -> None:
    reference, decoded = noise(1, batch=2), noise(2, batch=2) * np.array([[0.3], [0.9]], np.float32)
    found = mel(reference, decoded)
    assert found == pytest.approx(sum(mel(reference, decoded, (scale,)) for scale in ALL), rel=1e-5)
    assert found[1] == pytest.approx(mel(reference[1:], decoded[1:])[0], rel=1e-5)
    assert found[0] > 1.5 * found[1]


def test_it_ranks_like_the_metric() -> None:
    reference = wave(440) + noise(1)
    decoded = [reference + level * noise(2) for level in (0.1, 0.5, 2.0)]
    ours = [float(mel(reference, signal)[0]) for signal in decoded]
    theirs = [mel_distance(reference[0], signal[0], RATE) for signal in decoded]
    assert ours == sorted(ours)
    assert theirs == sorted(theirs)
    assert np.array(ours) / np.array(theirs) == pytest.approx(np.full(3, 6 / 7), rel=0.25)  # windows of each


def loudness(reference: np.ndarray, decoded: np.ndarray) -> float:
    return float(losses.mel_distances(reference, decoded, RATE, ALL).loudness[0])


def test_a_small_change_of_all_bands_is_as_large_in_loudness() -> None:
    near = 1.01 * noise(1)
    assert loudness(noise(1), near) == pytest.approx(float(mel(noise(1), near)[0]), rel=0.02)


def test_loudness_weighs_loud_bands_more() -> None:
    """The same decibels on a loud tone and on a quiet one beside it."""
    loud, quiet = wave(300), 1e-3 * wave(3000)
    on_loud, on_quiet = 1.3 * loud + quiet, loud + 1.3 * quiet
    assert loudness(loud + quiet, on_loud) > 2 * loudness(loud + quiet, on_quiet)


def test_equal_signals_have_no_distance() -> None:
    assert mel(noise(1), noise(1))[0] == loudness(noise(1), noise(1)) == 0
    assert complex_distance(noise(1), noise(1), 8000) == 0


def test_the_complex_term_ignores_what_is_above_its_cutoff() -> None:
    silence, high = np.zeros((1, RATE // 2), np.float32), wave(6000)
    assert complex_distance(silence, high, 8000) > 100 * complex_distance(silence, high, 2000)
    assert complex_distance(silence, wave(500), 1000) > 0.01


def test_a_bin_weighs_the_same_at_every_rate() -> None:
    silence, low = np.zeros((1, RATE // 2), np.float32), wave(500)
    wide, narrow = (complex_distance(silence, low, cutoff) for cutoff in (8000, 2000))
    assert narrow == pytest.approx(wide, rel=0.05)


def test_the_complex_term_depends_on_phase() -> None:
    assert complex_distance(wave(500), -wave(500), 1000) > 1.5 * complex_distance(
        wave(500), 0 * wave(500), 1000
    )


def test_cutoffs_of_the_shipped_rates_and_between() -> None:
    counts = ops.convert_to_tensor(np.array([1, 3, 6, 9, 12, 18, 24, 30, 60], np.int32))
    found = ops.convert_to_numpy(losses.complex_cutoffs(counts))
    assert found.tolist() == pytest.approx([1000, 1000, 2000, 5000, 8000, 6000, 4000, 4000, 4000])


@pytest.mark.parametrize("reference", [np.zeros((1, 8192), np.float32), noise(3, length=8192)])
def test_gradients_are_finite_on_silence(reference: np.ndarray) -> None:
    decoded = tf.Variable(np.zeros((1, 8192), np.float32))
    cutoffs = np.array([8000.0], np.float32)
    with tf.GradientTape() as tape:
        total = sum(losses.mel_distances(reference, decoded.value(), RATE, ALL))
        total += losses.complex_distances(reference, decoded.value(), RATE, tf.constant(cutoffs))
    gradient = tape.gradient(total, decoded).numpy()
    assert np.isfinite(gradient).all()
