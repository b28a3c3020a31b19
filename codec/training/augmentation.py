"""What is done to a segment before the codec hears it, so that it learns more kinds of sound than the corpus holds.

    segment -> noise under it -> band limit -> dirt of another codec -> gain, sign -> peak limit

What comes out is both what the codec is given and what its output is compared with. A codec shall return what it is
given: people compress noisy and already compressed recordings too, and where the clean sound were the target, it would
learn to guess instead of to code, and would take for dirt what only sounds like it. So the loss is not masked above the
band of a source either: the encoder sees the level of every band, and what is empty shall come back empty. The top
octave of other sources does not suffer (`tests/benchmarks/bands.py`, and the card of the preset).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PEAK_LIMIT = 0.99
LEAST_POWER = 1e-18
DIRT_WINDOW, DIRT_HOP, DIRT_BANDS = 1024, 512, 32  # samples, samples, bands of equal width


@dataclass(frozen=True)
class Augmentation:
    """How often and how much; *_probability: per item, the ranges are drawn from evenly.

    gain: dB. mix_level: how far the second segment of a mix lies below the first, dB. noise_level: how far the noise
    does, dB. noise_slope: of its spectrum, dB an octave. band_limits: Hz. dirt: quantization step, in parts of the
    root mean square of a band of the spectrum.
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
    dirt_probability: float = 0.05
    dirt: tuple[float, float] = (0.5, 2.0)


PLAIN = Augmentation(
    gain_probability=0.0,
    mix_probability=0.0,
    noise_probability=0.0,
    band_limit_probability=0.0,
    dirt_probability=0.0,
)


def augment(
    rng: np.random.Generator, segment: np.ndarray, sample_rate: int, wanted: Augmentation
) -> np.ndarray:
    """Do some of all this to a segment, float32 [time]."""
    if rng.random() < wanted.noise_probability:
        segment = add_noise(rng, segment, rng.uniform(*wanted.noise_level), rng.uniform(*wanted.noise_slope))
    if rng.random() < wanted.band_limit_probability:
        segment = limit_band(segment, rng.choice(wanted.band_limits), sample_rate)
    if rng.random() < wanted.dirt_probability:
        segment = soil(segment, rng.uniform(*wanted.dirt))
    decibels = rng.uniform(*wanted.gain) if rng.random() < wanted.gain_probability else 0.0
    sign = 1 if rng.random() < 0.5 else -1
    return limit_peak(segment * np.float32(sign * 10 ** (decibels / 20)))


def add_noise(rng: np.random.Generator, segment: np.ndarray, level: float, slope: float) -> np.ndarray:
    """Add steady noise, `level` dB below the segment; its spectrum has `slope` dB an octave: 0 white, -6 brown."""
    spectrum = np.fft.rfft(rng.standard_normal(len(segment), np.float32))
    # Level below a 1000th of the band: no slope goes up to infinity at 0 Hz.
    numbers = np.maximum(np.arange(len(spectrum), dtype=np.float32), len(spectrum) / 1000)
    noise = np.fft.irfft(spectrum * numbers ** np.float32(slope / 20 / np.log10(2)), len(segment))
    gain = rms(segment) / max(rms(noise.astype(np.float32)), 1e-9) * 10 ** (-level / 20)
    return segment + (gain * noise).astype(np.float32)


def limit_band(segment: np.ndarray, cutoff: float, sample_rate: int) -> np.ndarray:
    """Remove what lies above `cutoff` (Hz) with a raised-cosine slope 5 % wide, as in a resampled source."""
    spectrum = np.fft.rfft(segment)
    bin_width = sample_rate / len(segment)  # Hz
    above = np.arange(len(spectrum), dtype=np.float32) * np.float32(bin_width) - np.float32(cutoff)
    slope = np.clip(above / np.float32(0.05 * cutoff), 0, 1)
    spectrum *= 0.5 + 0.5 * np.cos(np.pi * slope)
    return np.fft.irfft(spectrum, len(segment)).astype(np.float32)


def soil(segment: np.ndarray, coarseness: float) -> np.ndarray:
    """Do to a segment what a transform codec at a low bitrate does: a coarsely quantized spectrum.

    Each bin of a short spectrum is rounded to steps of `coarseness` times the root mean square of its band, less in
    the lower bands. So weak bins vanish, others flutter, and an attack has an echo before it.
    """
    window = np.sin(np.pi * (np.arange(DIRT_WINDOW, dtype=np.float32) + 0.5) / DIRT_WINDOW)
    count = -(-len(segment) // DIRT_HOP) + 1
    padded = np.pad(segment, (DIRT_HOP, count * DIRT_HOP - len(segment)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, DIRT_WINDOW)[::DIRT_HOP]
    spectrum = np.fft.rfft(frames * window)[:, : DIRT_WINDOW // 2]
    parts = np.ascontiguousarray(spectrum).view(spectrum.real.dtype).reshape(count, DIRT_BANDS, -1)
    steps = np.sqrt(np.mean(np.square(parts), axis=-1, keepdims=True) + LEAST_POWER)
    steps *= coarseness * np.sqrt(np.arange(1, DIRT_BANDS + 1, dtype=np.float32) / DIRT_BANDS)[:, None]
    rounded = (np.rint(parts / steps) * steps).reshape(count, -1).view(spectrum.dtype)
    pieces = (np.fft.irfft(rounded, DIRT_WINDOW) * window).reshape(count, 2, DIRT_HOP)
    whole = pieces[:-1, 1] + pieces[1:, 0]  # [count - 1, DIRT_HOP]
    return whole.reshape(-1)[: len(segment)].astype(np.float32)


def limit_peak(segment: np.ndarray) -> np.ndarray:
    """Scale a segment down if its peak exceeds 0.99; nothing is clipped."""
    peak = float(np.abs(segment).max())
    return segment * np.float32(PEAK_LIMIT / peak) if peak > PEAK_LIMIT else segment


def rms(segment: np.ndarray) -> float:
    """Give the root mean square of float32 [time]."""
    return float(np.sqrt(np.dot(segment, segment) / len(segment)))
