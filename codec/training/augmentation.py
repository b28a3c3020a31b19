"""Augmentation: change a segment before the codec sees it, so that it learns more kinds of sound than the corpus has.

    segment -> added noise -> band limit -> artifacts of another codec -> gain, sign -> peak limit

The result is both the codec's input and the target of its output. People also compress noisy recordings and files that
were compressed before, and a codec must return what it is given. With a clean target it would learn to guess instead of
to code. For the same reason the loss is not masked above the band of a source: the encoder sees the level of every
band, and empty bands must stay empty. Other sources keep their top octave (`tests/benchmarks/bands.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PEAK_LIMIT = 0.99
MIN_POWER = 1e-18
ARTIFACT_WINDOW, ARTIFACT_HOP, ARTIFACT_BANDS = 1024, 512, 32  # samples, samples, bands of equal width


@dataclass(frozen=True)
class Augmentation:
    """The probability of each change for a segment, and the range to draw its amount from evenly.

    Attributes:
        gain: dB.
        mix_level: dB by which the second segment of a mix is below the first.
        noise_level: dB by which the noise is below the segment.
        noise_slope: dB per octave, of the noise's spectrum.
        band_limits: Hz, values to choose from.
        artifact_coarseness: quantization step relative to the root mean square of a band of the spectrum.
    """

    gain_probability: float = 0.8
    gain: tuple[float, float] = (-12.0, 6.0)
    mix_probability: float = 0.15
    mix_level: tuple[float, float] = (0.0, 15.0)
    noise_probability: float = 0.05
    noise_level: tuple[float, float] = (10.0, 40.0)
    noise_slope: tuple[float, float] = (-6.0, 0.0)
    band_limit_probability: float = 0.1
    band_limits: tuple[float, ...] = (8000.0, 12000.0, 16000.0, 22000.0)
    artifact_probability: float = 0.05
    artifact_coarseness: tuple[float, float] = (0.5, 2.0)


SIGN_ONLY = Augmentation(
    gain_probability=0.0,
    mix_probability=0.0,
    noise_probability=0.0,
    band_limit_probability=0.0,
    artifact_probability=0.0,
)


def augment(
    rng: np.random.Generator, segment: np.ndarray, sample_rate: int, settings: Augmentation
) -> np.ndarray:
    """Apply randomly chosen changes to a segment, float32 [time]."""
    if rng.random() < settings.noise_probability:
        level, slope = rng.uniform(*settings.noise_level), rng.uniform(*settings.noise_slope)
        segment = add_noise(rng, segment, level, slope)
    if rng.random() < settings.band_limit_probability:
        segment = limit_band(segment, rng.choice(settings.band_limits), sample_rate)
    if rng.random() < settings.artifact_probability:
        segment = add_codec_artifacts(segment, rng.uniform(*settings.artifact_coarseness))
    decibels = rng.uniform(*settings.gain) if rng.random() < settings.gain_probability else 0.0
    sign = 1 if rng.random() < 0.5 else -1
    return limit_peak(segment * np.float32(sign * 10 ** (decibels / 20)))


def add_noise(rng: np.random.Generator, segment: np.ndarray, level: float, slope: float) -> np.ndarray:
    """Add steady noise to a segment.

    Args:
        rng: source of the noise.
        segment: float32 [time].
        level: dB below the segment.
        slope: dB per octave: 0 is white noise, -6 brown noise.
    """
    spectrum = np.fft.rfft(rng.standard_normal(len(segment), np.float32))
    # Constant below a 1000th of the band, so that no slope grows without limit towards 0 Hz.
    numbers = np.maximum(np.arange(len(spectrum), dtype=np.float32), len(spectrum) / 1000)
    noise = np.fft.irfft(spectrum * numbers ** np.float32(slope / 20 / np.log10(2)), len(segment))
    gain = rms(segment) / max(rms(noise.astype(np.float32)), 1e-9) * 10 ** (-level / 20)
    return segment + (gain * noise).astype(np.float32)


def limit_band(segment: np.ndarray, cutoff: float, sample_rate: int) -> np.ndarray:
    """Remove everything above `cutoff` (Hz) with a raised-cosine slope 5 % wide, as in a resampled source."""
    spectrum = np.fft.rfft(segment)
    bin_width = sample_rate / len(segment)  # Hz
    above = np.arange(len(spectrum), dtype=np.float32) * np.float32(bin_width) - np.float32(cutoff)
    slope = np.clip(above / np.float32(0.05 * cutoff), 0, 1)
    spectrum *= 0.5 + 0.5 * np.cos(np.pi * slope)
    return np.fft.irfft(spectrum, len(segment)).astype(np.float32)


def add_codec_artifacts(segment: np.ndarray, coarseness: float) -> np.ndarray:
    """Imitate a transform codec at a low bitrate by quantizing a short-time spectrum coarsely.

    Each bin is rounded to steps of `coarseness` times the root mean square of its band, finer in the lower bands. So
    weak bins vanish, others fluctuate, and an attack gets an echo before it.
    """
    window = np.sin(np.pi * (np.arange(ARTIFACT_WINDOW, dtype=np.float32) + 0.5) / ARTIFACT_WINDOW)
    count = -(-len(segment) // ARTIFACT_HOP) + 1
    padded = np.pad(segment, (ARTIFACT_HOP, count * ARTIFACT_HOP - len(segment)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, ARTIFACT_WINDOW)[::ARTIFACT_HOP]
    spectrum = np.fft.rfft(frames * window)[:, : ARTIFACT_WINDOW // 2]
    bands = np.ascontiguousarray(spectrum).view(spectrum.real.dtype).reshape(count, ARTIFACT_BANDS, -1)
    steps = np.sqrt(np.mean(np.square(bands), axis=-1, keepdims=True) + MIN_POWER)
    steps *= (
        coarseness * np.sqrt(np.arange(1, ARTIFACT_BANDS + 1, dtype=np.float32) / ARTIFACT_BANDS)[:, None]
    )
    rounded = (np.rint(bands / steps) * steps).reshape(count, -1).view(spectrum.dtype)
    pieces = (np.fft.irfft(rounded, ARTIFACT_WINDOW) * window).reshape(count, 2, ARTIFACT_HOP)
    overlapped = pieces[:-1, 1] + pieces[1:, 0]  # [count - 1, ARTIFACT_HOP]
    return overlapped.reshape(-1)[: len(segment)].astype(np.float32)


def limit_peak(segment: np.ndarray) -> np.ndarray:
    """Scale a segment down if its peak exceeds 0.99; nothing is clipped."""
    peak = float(np.abs(segment).max())
    return segment * np.float32(PEAK_LIMIT / peak) if peak > PEAK_LIMIT else segment


def rms(segment: np.ndarray) -> float:
    """Return the root mean square of float32 [time]."""
    return float(np.sqrt(np.dot(segment, segment) / len(segment)))
