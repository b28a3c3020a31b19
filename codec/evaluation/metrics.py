"""Distances between a recording and its decoded version."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import soxr

from codec.dsp import mel_filterbank

Audio = np.ndarray[Any, np.dtype[np.floating[Any]]]

# (window in samples, mel bands) of the Descript Audio Codec (Kumar et al. 2023, arXiv 2306.06546); hop = window / 4.
MEL_SCALES = ((32, 5), (64, 10), (128, 20), (256, 40), (512, 80), (1024, 160), (2048, 320))
MEL_RATE = 44100  # Hz: the windows are meant for this rate
MEL_FLOOR = 1e-5


def mel_distance(reference: Audio, decoded: Audio, sample_rate: int) -> float:
    """Return the log-mel distance as DAC defines it: 0 for equal signals, about 1 to 2 for a good codec at a low rate.

    It is the mean absolute difference of log10 mel magnitudes at 44.1 kHz, added up over seven windows.

    Args:
        reference: [time] or [time, channels].
        decoded: the same shape. Both are cut to the shorter length, and padded with zeros to the longest window.
        sample_rate: of both, in Hz.

    Raises:
        ValueError: The numbers of channels differ.
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
    """Return one term of the sum; `pair` is [channels of the reference, then of the decoded; time]."""
    mels = _magnitudes(pair, window) @ _mel_filterbank(window, bands)
    reference, decoded = np.split(np.log10(np.maximum(mels, MEL_FLOOR)), 2)
    return float(np.mean(np.abs(reference - decoded)))


def _magnitudes(signals: Audio, window: int) -> Audio:
    """Return magnitudes of short-time spectra with centred Hann windows: [signal, time] -> [signal, frame, bin]."""
    padded = np.pad(signals, ((0, 0), (window // 2, window // 2)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, window, axis=-1)[:, :: window // 4]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    return np.abs(np.fft.rfft(frames * hann.astype(np.float32)))


@functools.cache
def _mel_filterbank(window: int, bands: int) -> Audio:
    return mel_filterbank(MEL_RATE, window, bands)
