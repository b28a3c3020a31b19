"""The log-mel distance: its definition, its scale and its edge cases."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
from support.sounds import noise, tone

from codec.dsp import mel_filterbank
from codec.evaluation.metrics import MEL_SCALES, mel_distance


def test_equal_signals_have_no_distance() -> None:
    audio = tone(0.5, 48000)
    assert mel_distance(audio, audio, 48000) == 0


def log_mel(audio: np.ndarray, window: int, bands: int) -> np.ndarray:
    """Return log10 of the mel magnitudes of [time] at 44.1 kHz, [frame, band]: Hann windows, a quarter apart."""
    padded = np.pad(audio, window // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[:: window // 4]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    mels = np.abs(np.fft.rfft(frames * hann)) @ mel_filterbank(44100, window, bands)
    return np.log10(np.maximum(mels, 1e-5))


def test_it_equals_its_definition() -> None:
    reference, decoded = noise(44100), tone(1.0, 44100)
    expected = sum(
        np.abs(log_mel(reference[:, 0], window, bands) - log_mel(decoded[:, 0], window, bands)).mean()
        for window, bands in MEL_SCALES
    )
    assert mel_distance(reference, decoded, 44100) == pytest.approx(expected, rel=1e-4)


def test_it_equals_the_same_distance_computed_with_librosa() -> None:
    pair, expected = np.stack([noise(44100)[:, 0], tone(1.0, 44100)[:, 0]]).astype(np.float32), 0.0
    for window, bands in MEL_SCALES:
        spectra = np.abs(librosa.stft(pair, n_fft=window, hop_length=window // 4, pad_mode="reflect"))
        filters = librosa.filters.mel(sr=44100, n_fft=window, n_mels=bands)
        levels = np.log10(np.maximum(filters @ spectra, 1e-5))
        expected += float(np.abs(levels[0] - levels[1]).mean())
    assert mel_distance(pair[0], pair[1], 44100) == pytest.approx(expected, abs=1e-5 * len(MEL_SCALES))


def test_a_factor_of_ten_is_a_distance_of_one_on_each_scale() -> None:
    quiet = 5 * noise(44100)
    assert mel_distance(quiet, 10 * quiet, 44100) == pytest.approx(len(MEL_SCALES), abs=0.01)


def test_silence_has_a_finite_distance() -> None:
    assert 0 < mel_distance(np.zeros(44100), noise(44100)[:, 0], 44100) < 5 * len(MEL_SCALES)


def test_more_noise_is_farther_away() -> None:
    audio = tone(0.5, 16000, 2)
    near, far = (mel_distance(audio, audio + level * noise(len(audio), 2), 16000) for level in (0.01, 0.5))
    assert 0 < near < far


def test_channels_are_averaged() -> None:
    left, right = tone(0.5, 44100), tone(0.5, 44100) * 0.5
    both = mel_distance(np.hstack([left, left]), np.hstack([left, right]), 44100)
    assert both == pytest.approx(mel_distance(left, right, 44100) / 2, rel=1e-5)


@pytest.mark.parametrize("length", [0, 1, 5])
def test_very_short_signals_have_a_distance(length: int) -> None:
    assert mel_distance(np.zeros(length), np.zeros(length), 8000) == 0


def test_signals_are_cut_to_the_shorter() -> None:
    audio = tone(0.2, 48000)
    assert mel_distance(audio, audio[:-100], 48000) == 0


def test_the_numbers_of_channels_must_be_equal() -> None:
    with pytest.raises(ValueError, match="reference has 1 channels, decoded has 2"):
        mel_distance(tone(0.1, 8000), tone(0.1, 8000, 2), 8000)
