"""Distances between a recording and what a codec made of it: numpy in, float out."""

from __future__ import annotations

import functools
from typing import Any

import librosa
import numpy as np
import soxr

Audio = np.ndarray[Any, np.dtype[np.floating[Any]]]

# Descript Audio Codec (Kumar et al. 2023, arXiv 2306.06546): window in samples, mel bands; the hop is window / 4.
MEL_SCALES = ((32, 5), (64, 10), (128, 20), (256, 40), (512, 80), (1024, 160), (2048, 320))
MEL_RATE = 44100  # Hz, the rate those windows are meant for
MEL_FLOOR = 1e-5


def mel_distance(reference: Audio, decoded: Audio, sample_rate: int) -> float:
    """Give the log-mel distance as DAC defines it: 0 for equal signals, about 1 to 2 for a good low-rate codec.

    The sum over seven windows of the mean absolute difference of log10 mel magnitudes, at 44.1 kHz.

    Args:
        reference: [time] or [time, channels].
        decoded: the same shape; both are cut to the shorter length, and filled up to one long window.
        sample_rate: Hz, of both.

    Raises:
        ValueError: the numbers of channels differ.
    """
    reference, decoded = _channels_first(reference), _channels_first(decoded)
    if len(reference) != len(decoded):
        raise ValueError(f"reference has {len(reference)} channels, decoded has {len(decoded)}")
    length = min(reference.shape[1], decoded.shape[1])
    if length == 0:
        return 0.0
    pair = np.stack([reference[:, :length], decoded[:, :length]]).reshape(-1, length)
    pair = soxr.resample(pair.T, sample_rate, MEL_RATE).T
    pair = np.pad(pair, ((0, 0), (0, max(0, MEL_SCALES[-1][0] - pair.shape[1]))))
    return sum(_scale_distance(pair, window, bands) for window, bands in MEL_SCALES)


def _channels_first(audio: Audio) -> Audio:
    audio = np.asarray(audio, np.float32)
    return audio[None] if audio.ndim == 1 else audio.T


def _scale_distance(pair: Audio, window: int, bands: int) -> float:
    """One term of the sum; `pair` is [reference channels then decoded channels, time]."""
    spectrum = librosa.stft(pair, n_fft=window, hop_length=window // 4, pad_mode="reflect")
    mels = _mel_filters(window, bands) @ np.abs(spectrum)
    reference, decoded = np.split(np.log10(np.maximum(mels, MEL_FLOOR)), 2)
    return float(np.mean(np.abs(reference - decoded)))


@functools.cache
def _mel_filters(window: int, bands: int) -> Audio:
    filters: Audio = librosa.filters.mel(sr=MEL_RATE, n_fft=window, n_mels=bands)
    return filters
