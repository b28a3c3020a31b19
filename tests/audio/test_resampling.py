"""Changing the rate second by second: the whole as before, and each second to be had alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.audio import Resampler
from codec.audio.resampling import SecondsResampler, margin

RATES = (8000, 11025, 16000, 22050, 24000, 44100, 47999, 48000, 96000, 192_000)


def white(count: int, channels: int = 1) -> np.ndarray:
    noise = np.random.default_rng(count).standard_normal((count, channels))
    return (0.2 * noise).astype(np.float32)


def resample(stream: SecondsResampler | Resampler, samples: np.ndarray, size: int = 5000) -> np.ndarray:
    blocks = [stream.push(samples[start : start + size]) for start in range(0, len(samples), size)]
    return np.concatenate([*blocks, stream.flush()])


@settings(max_examples=40, deadline=None)
@given(
    source_rate=st.sampled_from((16000, 44100, 48000)),
    target_rate=st.sampled_from(RATES),
    count=st.one_of(st.integers(0, 3), st.integers(0, 120_000)),
    channels=st.integers(1, 3),
    size=st.integers(300, 60_000),
)
def test_the_length_is_exact_and_blocks_are_the_whole(
    source_rate: int, target_rate: int, count: int, channels: int, size: int
) -> None:
    samples = white(count, channels)
    whole = resample(SecondsResampler(source_rate, target_rate, channels), samples, max(1, count))
    found = resample(SecondsResampler(source_rate, target_rate, channels), samples, size)
    assert whole.shape == (-(-count * target_rate // source_rate), channels)
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("source_rate", [16000, 48000])
@pytest.mark.parametrize("target_rate", RATES)
def test_any_second_alone_is_that_of_the_whole(source_rate: int, target_rate: int) -> None:
    samples = white(int(3.4 * source_rate), 2)
    whole = resample(SecondsResampler(source_rate, target_rate, 2), samples)
    for second in (1, 2, 3):
        behind = samples[second * source_rate - margin(source_rate, target_rate) :]
        found = resample(SecondsResampler(source_rate, target_rate, 2, second), behind)
        np.testing.assert_array_equal(found, whole[second * target_rate :])


@pytest.mark.parametrize("source_rate", [16000, 48000])
@pytest.mark.parametrize("target_rate", [rate for rate in RATES if rate != 47999])
def test_the_seams_are_not_heard(source_rate: int, target_rate: int) -> None:
    """One stream over all gives the same but for rounding; begun a second earlier, since soxr's own start is rough."""
    samples = white(int(3.4 * source_rate))
    early = np.concatenate([np.zeros((source_rate, 1), np.float32), samples])
    expected = resample(Resampler(source_rate, target_rate, 1), early)[target_rate:]
    found = resample(SecondsResampler(source_rate, target_rate, 1), samples)
    end = len(found) - target_rate // 50
    np.testing.assert_allclose(found[:end], expected[:end], atol=1e-6)


def test_equal_rates_change_nothing() -> None:
    samples = white(1000)
    np.testing.assert_array_equal(resample(SecondsResampler(48000, 48000, 1), samples), samples)
    assert margin(48000, 48000) == 0


@pytest.mark.parametrize("target_rate", RATES[:-3])
def test_the_margin_is_whole_on_both_sides(target_rate: int) -> None:
    found = margin(48000, target_rate)
    assert found * target_rate % 48000 == 0
    assert found * target_rate // 48000 >= 256
