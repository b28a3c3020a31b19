"""Resampling gives exact lengths and times for any block sizes, and each second alone where that is asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sounds import noise

from codec.audio import MAX_CHANNELS, Resampler, SecondsResampler, margin

RATES = (8000, 11025, 16000, 22050, 24000, 44100, 48000, 96000, 192_000)


def resample(stream: Resampler | SecondsResampler, samples: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Push blocks of these sizes in turn, then flush."""
    blocks: list[np.ndarray] = []
    start = 0
    while start < len(samples):
        size = sizes[len(blocks) % len(sizes)]
        blocks.append(stream.push(samples[start : start + size]))
        start += size
    return np.concatenate([*blocks, stream.flush()])


class TestResampler:
    @settings(max_examples=150)
    @given(
        st.integers(0, 5000),
        st.sampled_from((*RATES, 8001, 44101, 191_999)),
        st.sampled_from((16000, 24000, 48000)),
        st.integers(1, MAX_CHANNELS),
        st.lists(st.integers(1, 3000), min_size=1, max_size=5),
    )
    def test_lengths_are_exact_and_block_sizes_do_not_matter(
        self, num_samples: int, source_rate: int, model_rate: int, channels: int, sizes: list[int]
    ) -> None:
        samples = noise(num_samples, channels)
        whole = resample(Resampler(source_rate, model_rate, channels), samples, [5000])
        assert whole.shape == (math.ceil(num_samples * model_rate / source_rate), channels)
        in_blocks = resample(Resampler(source_rate, model_rate, channels), samples, sizes)
        np.testing.assert_array_equal(in_blocks, whole)
        back = resample(Resampler(model_rate, source_rate, channels), whole, sizes)
        assert len(back) == math.ceil(len(whole) * source_rate / model_rate) >= num_samples

    @pytest.mark.parametrize("rate", RATES)
    def test_a_sine_keeps_its_time(self, rate: int) -> None:
        """Two seconds of 1 kHz, to the model's rate and back, compared except at the edges of the filter."""
        frequency, model_rate = 1000, 48000
        source = 0.5 * np.sin(2 * np.pi * frequency * np.arange(2 * rate) / rate)[:, None]
        there = resample(Resampler(rate, model_rate, 1), source, [960])
        expected = 0.5 * np.sin(2 * np.pi * frequency * np.arange(2 * model_rate) / model_rate)[:, None]
        edge = model_rate // 10
        np.testing.assert_allclose(there[edge:-edge], expected[edge:-edge], atol=1e-4)
        back = resample(Resampler(model_rate, rate, 1), there, [960])
        edge = rate // 10
        np.testing.assert_allclose(back[edge:-edge], source[edge:-edge], atol=1e-4)

    def test_an_hour_has_the_exact_length(self) -> None:
        resampler = Resampler(8001, 16000, 1)
        second = np.zeros((8001, 1), np.float32)
        count = sum(len(resampler.push(second)) for _ in range(3600)) + len(resampler.flush())
        assert count == 3600 * 16000

    def test_equal_rates_change_nothing(self) -> None:
        samples = noise(100, 2)
        resampler = Resampler(48000, 48000, 2)
        np.testing.assert_array_equal(resampler.push(samples), samples)
        assert resampler.flush().shape == (0, 2)


class TestSecondsResampler:
    @given(
        source_rate=st.sampled_from((16000, 44100, 48000)),
        target_rate=st.sampled_from((*RATES, 47999)),
        count=st.one_of(st.integers(0, 3), st.integers(0, 120_000)),
        channels=st.integers(1, 3),
        size=st.integers(300, 60_000),
    )
    def test_lengths_are_exact_and_block_sizes_do_not_matter(
        self, source_rate: int, target_rate: int, count: int, channels: int, size: int
    ) -> None:
        samples = noise(count, channels)
        whole = resample(SecondsResampler(source_rate, target_rate, channels), samples, [max(1, count)])
        in_blocks = resample(SecondsResampler(source_rate, target_rate, channels), samples, [size])
        assert whole.shape == (math.ceil(count * target_rate / source_rate), channels)
        assert whole.dtype == np.float32
        np.testing.assert_array_equal(in_blocks, whole)

    @pytest.mark.parametrize("source_rate", [16000, 48000])
    @pytest.mark.parametrize("target_rate", [*RATES, 47999])
    def test_starting_at_any_second_gives_the_samples_of_the_whole(
        self, source_rate: int, target_rate: int
    ) -> None:
        samples = noise(int(3.4 * source_rate), 2)
        whole = resample(SecondsResampler(source_rate, target_rate, 2), samples, [5000])
        for second in (1, 2, 3):
            rest = samples[second * source_rate - margin(source_rate, target_rate) :]
            part = resample(SecondsResampler(source_rate, target_rate, 2, second), rest, [5000])
            np.testing.assert_array_equal(part, whole[second * target_rate :])

    @pytest.mark.parametrize("source_rate", [16000, 48000])
    @pytest.mark.parametrize("target_rate", RATES)
    def test_seconds_join_without_a_step(self, source_rate: int, target_rate: int) -> None:
        """One stream gives the same but for rounding; it starts a second earlier, as soxr's first samples differ."""
        samples = noise(int(3.4 * source_rate))
        early = np.concatenate([np.zeros((source_rate, 1), np.float32), samples])
        expected = resample(Resampler(source_rate, target_rate, 1), early, [5000])[target_rate:]
        joined = resample(SecondsResampler(source_rate, target_rate, 1), samples, [5000])
        end = len(joined) - target_rate // 50
        np.testing.assert_allclose(joined[:end], expected[:end], atol=1e-6)

    def test_equal_rates_change_nothing(self) -> None:
        samples = noise(1000)
        np.testing.assert_array_equal(resample(SecondsResampler(48000, 48000, 1), samples, [300]), samples)
        assert margin(48000, 48000) == 0

    @pytest.mark.parametrize("target_rate", (*RATES[:6], 47999))
    def test_the_margin_is_a_whole_number_of_input_and_output_samples(self, target_rate: int) -> None:
        size = margin(48000, target_rate)
        assert size * target_rate % 48000 == 0
        assert size * target_rate // 48000 >= 256
