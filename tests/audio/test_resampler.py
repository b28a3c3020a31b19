"""Changing the rate block by block: exact lengths, and everything at its time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sounds import noise

from codec.audio import MAX_CHANNELS, Resampler

RATES = (8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000)


def resample(samples: np.ndarray, source_rate: int, target_rate: int, blocks: list[int]) -> np.ndarray:
    resampler = Resampler(source_rate, target_rate, samples.shape[1])
    pieces: list[np.ndarray] = []
    start = 0
    while start < len(samples):
        size = blocks[len(pieces) % len(blocks)]
        pieces.append(resampler.push(samples[start : start + size]))
        start += size
    return np.concatenate([*pieces, resampler.flush()])


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 5000),
    st.sampled_from((*RATES, 8001, 44101, 191_999)),
    st.sampled_from((16000, 24000, 48000)),
    st.integers(1, MAX_CHANNELS),
    st.lists(st.integers(1, 3000), min_size=1, max_size=5),
)
def test_lengths_are_exact_and_blocks_do_not_matter(
    num_samples: int, source_rate: int, model_rate: int, channels: int, blocks: list[int]
) -> None:
    samples = noise(num_samples, channels)
    whole = resample(samples, source_rate, model_rate, [max(num_samples, 1)])
    assert whole.shape == (math.ceil(num_samples * model_rate / source_rate), channels)
    np.testing.assert_array_equal(resample(samples, source_rate, model_rate, blocks), whole)
    back = resample(whole, model_rate, source_rate, blocks)
    assert len(back) == math.ceil(len(whole) * source_rate / model_rate) >= num_samples


@pytest.mark.parametrize("rate", RATES)
def test_a_sine_keeps_its_place(rate: int) -> None:
    """Two seconds of 1 kHz, there and back: the same samples at the same time, up to the filter's edges."""
    frequency, model_rate = 1000, 48000
    source = 0.5 * np.sin(2 * np.pi * frequency * np.arange(2 * rate) / rate)[:, None]
    there = resample(source, rate, model_rate, [960])
    expected = 0.5 * np.sin(2 * np.pi * frequency * np.arange(2 * model_rate) / model_rate)[:, None]
    edge = model_rate // 10
    np.testing.assert_allclose(there[edge:-edge], expected[edge:-edge], atol=1e-4)
    back = resample(there, model_rate, rate, [960])
    edge = rate // 10
    np.testing.assert_allclose(back[edge:-edge], source[edge:-edge], atol=1e-4)


def test_no_drift_in_an_hour() -> None:
    resampler = Resampler(8001, 16000, 1)
    second = np.zeros((8001, 1), np.float32)
    count = sum(len(resampler.push(second)) for _ in range(3600)) + len(resampler.flush())
    assert count == 3600 * 16000


def test_equal_rates_pass_through() -> None:
    samples = noise(100, 2)
    resampler = Resampler(48000, 48000, 2)
    np.testing.assert_array_equal(resampler.push(samples), samples)
    assert resampler.flush().shape == (0, 2)
