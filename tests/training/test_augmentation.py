"""Augmentation: noise, band limits, codec artifacts, gain and peak limit of a segment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.training import augmentation
from codec.training.augmentation import SIGN_ONLY, Augmentation, augment

RATE = 48000  # Hz


def white(length: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)


def decibels(signal: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(np.square(signal)) / np.sum(np.square(other))))


def test_a_band_limit_removes_everything_above() -> None:
    noise = np.random.default_rng(0).normal(size=48000).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(augmentation.limit_band(noise, 8000, 48000)))
    assert spectrum[8500:].max() < 1e-3 * spectrum[:8000].mean()
    np.testing.assert_allclose(spectrum[:7990], np.abs(np.fft.rfft(noise))[:7990], rtol=1e-2, atol=0.1)


@given(st.floats(0, 8))
def test_the_peak_is_limited_without_clipping(peak: float) -> None:
    segment = np.float32(peak) * np.array([0.5, -1.0, 0.25], np.float32)
    limited = augmentation.limit_peak(segment)
    assert np.abs(limited).max() <= 0.9901
    np.testing.assert_allclose(limited / min(peak, 0.99), segment / peak, rtol=1e-5) if peak > 0.1 else None


@settings(max_examples=25)
@given(st.integers(1, 5000), st.integers(0, 100))
def test_all_changes_together_keep_length_and_type(length: int, seed: int) -> None:
    always = Augmentation(
        noise_probability=1.0, band_limit_probability=1.0, artifact_probability=1.0, gain_probability=1.0
    )
    for segment in (white(length, seed), np.zeros(length, np.float32)):
        first, again = (augment(np.random.default_rng(seed), segment, RATE, always) for _ in range(2))
        assert (first.shape, first.dtype) == ((length,), np.float32)
        assert np.isfinite(first).all() and np.array_equal(first, again)


def test_without_augmentation_only_the_sign_changes() -> None:
    segment = white(1000)
    signs = [augment(np.random.default_rng(i), segment, RATE, SIGN_ONLY)[0] / segment[0] for i in range(20)]
    assert set(signs) == {1.0, -1.0}


@pytest.mark.parametrize("slope", [-6.0, -3.0, 0.0])
def test_noise_has_its_level_and_slope(slope: float) -> None:
    segment = 0.3 * np.sin(np.arange(RATE, dtype=np.float32))
    noise = augmentation.add_noise(np.random.default_rng(0), segment, 20.0, slope) - segment
    assert decibels(segment, noise) == pytest.approx(20.0, abs=0.1)
    power = np.square(np.abs(np.fft.rfft(noise)))
    octaves = [10 * np.log10(power[k : 2 * k].mean()) for k in (1000, 2000, 4000, 8000)]
    np.testing.assert_allclose(np.diff(octaves), slope, atol=0.5)


def test_artifacts_grow_with_coarseness_and_stay_in_the_band() -> None:
    low = augmentation.limit_band(white(RATE), 6000, RATE)
    coded = [augmentation.add_codec_artifacts(low, coarseness) for coarseness in (0.01, 0.5, 1.0, 2.0)]
    ratios = [decibels(low, one - low) for one in coded]
    assert ratios[0] > 40 and all(5 < ratio < 35 for ratio in ratios[1:])
    assert ratios == sorted(ratios, reverse=True)
    assert np.abs(np.fft.rfft(coded[-1]))[9000:].max() < 0.01 * np.abs(np.fft.rfft(low)).max()


def test_artifacts_remove_a_weak_tone_beside_a_strong_one() -> None:
    time = np.arange(RATE, dtype=np.float64) / RATE
    tones = 0.3 * np.sin(2 * np.pi * 15100 * time) + 0.003 * np.sin(2 * np.pi * 15600 * time)
    spectrum = np.abs(np.fft.rfft(augmentation.add_codec_artifacts(tones.astype(np.float32), 1.0)))
    assert spectrum[15100] == pytest.approx(0.3 * RATE / 2, rel=0.3)
    assert spectrum[15600] < 0.1 * 0.003 * RATE / 2


def test_artifacts_put_an_echo_before_an_attack() -> None:
    coded = augmentation.add_codec_artifacts(
        np.concatenate([np.zeros(RATE // 2, np.float32), white(RATE // 2)]), 2.0
    )
    assert np.abs(coded[RATE // 2 - 400 : RATE // 2]).max() > 1e-3
    assert not coded[: RATE // 2 - 1024].any()
