"""The distance of decoded audio from its source: pure functions of two signals, float32 [batch, time].

Every term compares short-time spectra. Frames are a quarter of a window apart, so a framing is four shifted views.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from keras import ops

from codec.dsp import SPECTRUM_POWER, mel_filterbank
from codec.network.spectral import compress
from codec.network.streaming import Tensor

MEL_FLOOR = 1e-5
LOUDNESS_POWER = 0.3  # of a magnitude
HIGHEST_CUTOFF = 8000.0  # Hz
# Hz, where the complex term ends, by number of codebooks; linear in between, constant beyond.
CUTOFFS = {3: 1000.0, 6: 2000.0, 12: HIGHEST_CUTOFF, 24: 4000.0}
COMPLEX_SECONDS = 1024 / 48000
MEL_SECONDS = tuple(samples / 48000 for samples in (128, 256, 512, 1024, 2048, 4096))
MEL_BANDS = (10, 20, 40, 80, 160, 320)


def spectra(audio: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Return short-time spectra with a Hann window: [batch, time] -> re and im [batch, frame, bin]."""
    hop = window // 4
    count = audio.shape[1] // hop
    blocks = ops.reshape(audio[:, : count * hop], (-1, count, hop))
    # The gradient of a split is one concatenation; with slices it took a sixth of a training step on TensorFlow.
    shifted = [ops.split(blocks, [i, count - 3 + i], axis=1)[1] for i in range(4)]
    frames = ops.concatenate(shifted, axis=-1)
    return ops.rfft(frames * _hann(window))


@functools.cache
def _hann(window: int) -> np.ndarray:
    return np.hanning(window + 1)[:-1].astype(np.float32)


@functools.cache
def _mel_filters(sample_rate: int, window: int, bands: int) -> np.ndarray:
    return mel_filterbank(sample_rate, window, bands).astype(np.float32)


class MelDistances(NamedTuple):
    """Two distances of mel spectra, [batch]; they are equal where all bands differ by the same few decibels.

    log:      mean absolute difference of log10 magnitudes; every band counts the same, however quiet
    loudness: the same of magnitude^0.3, divided by the reference's mean; loud bands and moments count more
    """

    log: Tensor
    loudness: Tensor


def mel_distances(
    reference: Tensor, decoded: Tensor, sample_rate: int, scales: tuple[int, ...]
) -> MelDistances:
    """Return the distances of mel magnitudes, summed over windows.

    The logarithmic one is the metric of Kumar et al. 2023 (arXiv 2306.06546, section 3.4). The other follows Stevens'
    power law of loudness, as PESQ does.

    Args:
        reference: [batch, time].
        decoded: the same shape.
        sample_rate: Hz.
        scales: which of the six windows of 2.7 to 85 ms to use, indices into MEL_SECONDS.
    """
    log, loudness = 0.0, 0.0
    power = LOUDNESS_POWER * np.float32(np.log(10))
    for scale in scales:
        window, bands = 4 * round(MEL_SECONDS[scale] * sample_rate / 4), MEL_BANDS[scale]
        ours, theirs = (log_mel(signal, sample_rate, window, bands) for signal in (reference, decoded))
        log = log + ops.mean(ops.abs(ours - theirs), axis=(1, 2))
        loud = ops.exp(power * ours)
        difference = ops.mean(ops.abs(loud - ops.exp(power * theirs)), axis=(1, 2))
        loudness = loudness + difference / ops.mean(loud, axis=(1, 2)) / power
    return MelDistances(log, loudness)


def log_mel(audio: Tensor, sample_rate: int, window: int, bands: int) -> Tensor:
    """Return log10 of mel magnitudes, at least -5: [batch, time] -> [batch, frame, band]."""
    filters = _mel_filters(sample_rate, window, bands)
    real, imaginary = spectra(audio, window)
    magnitude = ops.sqrt(real * real + imaginary * imaginary + 1e-10)
    return ops.log(ops.maximum(ops.matmul(magnitude, filters), MEL_FLOOR)) / np.log(10)


def complex_distances(reference: Tensor, decoded: Tensor, sample_rate: int, cutoffs: Tensor) -> Tensor:
    """Return the absolute difference of compressed complex bins below a cut-off, [batch].

    The sum over these bins is divided by the number of bins below 8 kHz, whatever the cut-off. A mean over few bins
    would give each of them more weight, and pull the latents of low bitrates towards phase.

    Phase is worth comparing only where there are bits for it: above, the best guess is silence.

    Args:
        reference: [batch, time].
        decoded: the same shape.
        sample_rate: Hz.
        cutoffs: Hz, [batch]; the weight of a bin falls to 0 between its cut-off and 1.25 times it.
    """
    window = 4 * round(COMPLEX_SECONDS * sample_rate / 4)
    bins = min(window // 2 + 1, math.ceil(1.25 * HIGHEST_CUTOFF * window / sample_rate))
    frequencies = np.arange(bins, dtype=np.float32) * sample_rate / window
    weights = ops.clip(5.0 - 4.0 * frequencies / cutoffs[:, None], 0.0, 1.0)
    real, imaginary = _compressed(reference, window, bins)
    decoded_real, decoded_imaginary = _compressed(decoded, window, bins)
    difference = ops.mean(ops.abs(real - decoded_real), axis=1)
    difference = difference + ops.mean(ops.abs(imaginary - decoded_imaginary), axis=1)
    return ops.sum(weights * difference, axis=1) / (HIGHEST_CUTOFF * window / sample_rate)


def _compressed(audio: Tensor, window: int, bins: int) -> tuple[Tensor, Tensor]:
    """Return the lowest bins, scaled to a window of unit energy and compressed."""
    level = np.float32(1 / np.sqrt(np.sum(_hann(window) ** 2)))
    real, imaginary = spectra(audio, window)
    return compress(real[..., :bins] * level, imaginary[..., :bins] * level, SPECTRUM_POWER)


def complex_cutoffs(num_codebooks: Tensor) -> Tensor:
    """Return the cut-off of the complex term for each item, Hz [batch].

    Below `phasor_limit` it grows with the bitrate. Above, the phasors are noise, so the term can only make that noise
    quieter. At medium bitrates that improves PESQ-WB; at high ones it makes everything above 2 kHz too quiet.
    """
    most = max(CUTOFFS)
    table = np.interp(np.arange(most + 1), list(CUTOFFS), list(CUTOFFS.values()))
    return ops.take(table.astype(np.float32), ops.minimum(num_codebooks, most))
