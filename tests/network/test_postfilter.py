"""The postfilter: it raises peaks, keeps power and phases, and gets weaker with more codebooks."""

from __future__ import annotations

import numpy as np
import pytest
from support.contract import white

from codec.config import CodecConfig
from codec.dsp import POSTFILTER_LIMIT, POSTFILTER_STRENGTH, postfilter_strength
from codec.network.decoder import Postfilter

CONFIG = CodecConfig()
BIN_WIDTH = CONFIG.sample_rate / CONFIG.short_window  # Hz
BELOW = round(POSTFILTER_LIMIT / BIN_WIDTH)


def postfiltered(spectrum: np.ndarray, strength: float = 0.5) -> np.ndarray:
    """Filter a complex spectrum [frame, bin]."""
    parts = np.concatenate([spectrum.real, spectrum.imag], axis=-1).astype(np.float32)
    real, imaginary = np.split(np.asarray(Postfilter(CONFIG)(parts[None], strength))[0], 2, axis=-1)
    return real + 1j * imaginary


def noise(frames: int, seed: int = 0) -> np.ndarray:
    bins = CONFIG.synthesis_bins
    return white(frames, bins, seed=seed) + 1j * white(frames, bins, seed=seed + 1)


def formant(place: int) -> np.ndarray:
    """A broad peak at a bin, ten times as high as its surroundings, with random phases."""
    bins, spectrum = np.arange(CONFIG.synthesis_bins), noise(1)
    return spectrum / np.abs(spectrum) * (0.1 + np.exp(-(((bins - place) / 4) ** 2)))


@pytest.mark.parametrize("place", [25, 40, 60])
def test_a_peak_rises_above_its_surroundings(place: int) -> None:
    before = formant(place)
    gain = np.abs(postfiltered(before) / before)[0]
    assert gain[place] > 1.05
    assert gain[place - 9] < 0.8 > gain[place + 9]


def test_phases_stay() -> None:
    before = noise(5)
    gain = postfiltered(before) / before
    np.testing.assert_allclose(gain.imag, 0, atol=1e-5)
    assert (gain.real > 0).all()


def test_bins_above_the_limit_stay() -> None:
    before = noise(5)
    after = postfiltered(before)
    np.testing.assert_array_equal(after[:, BELOW:], before[:, BELOW:].astype(np.complex64))
    assert np.abs(after[:, 1:BELOW] - before[:, 1:BELOW]).max() > 0.1


def test_power_stays() -> None:
    before = noise(20)
    power = [np.sum(np.abs(x[:, :BELOW]) ** 2, axis=1) for x in (before, postfiltered(before))]
    # At the edges the filter is weak, and so is its correction of the power.
    np.testing.assert_allclose(power[1], power[0], rtol=0.1)


def test_loudness_changes_nothing() -> None:
    before = noise(5)
    np.testing.assert_allclose(postfiltered(0.01 * before), 0.01 * postfiltered(before), rtol=0.01, atol=1e-5)


def test_a_flat_spectrum_and_silence_stay() -> None:
    flat = noise(3) / np.abs(noise(3))
    np.testing.assert_allclose(postfiltered(flat), flat, atol=1e-5)
    assert not postfiltered(0 * flat).any()


def test_strength_zero_changes_nothing() -> None:
    before = noise(3)
    np.testing.assert_allclose(postfiltered(before, 0.0), before, rtol=1e-6)


def test_more_codebooks_need_less_of_it() -> None:
    assert [postfilter_strength(count) for count in (0, 1, 3, 12)] == [POSTFILTER_STRENGTH] * 4
    assert postfilter_strength(24) == pytest.approx(POSTFILTER_STRENGTH / 3)
    assert [postfilter_strength(count) for count in (30, 60)] == [0, 0]
