"""The excitation: spectra of a real pulse train, continuous from frame to frame, the same in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from support.contract import check_streams, white

from codec.config import EXCITATION_PERIOD, CodecConfig
from codec.dsp import NOISE_PERIOD, PHASE_STEPS, PITCHES, half_steps, pitches, synthesis_window
from codec.network.excitation import Excitation
from codec.runtime.excitation import Excitation as NumpyExcitation
from codec.runtime.layers import Step

CONFIG = CodecConfig()
BINS = CONFIG.phasor_bins


def logits(pitch: np.ndarray, voiced: np.ndarray, resets: np.ndarray) -> np.ndarray:
    """The input for pitches, voicing and resets, each [frame]: [1, frame, PITCHES + 2]."""
    x = 0.1 * white(1, len(pitch), PITCHES + 2)
    x[0, np.arange(len(pitch)), pitch] = 5.0
    x[0, :, PITCHES] = np.where(voiced, 1.0, -1.0)
    x[0, :, -1] = resets
    return x


def changing(frames: int, seed: int = 0) -> np.ndarray:
    """A pitch that wanders, with some frames that are not voiced and some resets."""
    rng = np.random.default_rng(seed)
    pitch = np.clip(60 + np.cumsum(rng.integers(-3, 4, frames)), 0, PITCHES - 1)
    return logits(pitch, rng.random(frames) < 0.9, rng.random(frames) < 0.05)


def spectra(x: np.ndarray) -> np.ndarray:
    """Complex [frame, bin]."""
    real, imaginary = np.split(np.asarray(Excitation(CONFIG)(x))[0], 2, axis=-1)
    return real + 1j * imaginary


def steady(number: int, frames: int) -> np.ndarray:
    return logits(np.full(frames, number), np.ones(frames, bool), np.zeros(frames, bool))


def test_the_excitation_streams() -> None:
    check_streams(Excitation(CONFIG), np.concatenate([changing(40), changing(40, seed=1)]))


@pytest.mark.parametrize("number", [20, 64, 110])
def test_spectra_are_those_of_a_real_pulse_train(number: int) -> None:
    """The pulse train is a sum of cosines, cut and windowed as the synthesis does."""
    found, hop, count = spectra(steady(number, 20)), CONFIG.spectral_hop, CONFIG.short_window
    turns = 2 * half_steps(CONFIG)[number] / PHASE_STEPS  # from frame to frame
    # In frames: frame 0 is centered on `hop`, half a step after silence.
    times = np.arange(21 * hop) / hop - 0.5
    harmonics = np.arange(1, int(1.2 * CONFIG.phasor_limit / pitches()[number]))
    sound = np.cos(2 * np.pi * turns * harmonics[:, None] * times).sum(axis=0)
    frames = np.stack([sound[hop * n : hop * n + count] for n in range(20)]) * synthesis_window(CONFIG)
    expected = np.fft.rfft(frames)[:, :BINS] / count * np.pi
    inner = slice(2, BINS - 2)  # near the edges a real pulse train has harmonics outside
    np.testing.assert_allclose(found[:, inner], expected[:, inner], atol=0.12)


def test_a_harmonic_turns_by_its_frequency() -> None:
    found = spectra(steady(64, 10))
    peak = 2 + np.abs(found[5, 2:]).argmax()
    turn = np.diff(np.unwrap(np.angle(found[:, peak])))
    np.testing.assert_allclose(turn, turn[0], atol=0.01)


def test_a_frame_that_is_not_voiced_is_zero_and_resets_the_phase() -> None:
    x = steady(64, 12)
    x[0, 6, PITCHES] = -1.0
    found = spectra(x)
    assert np.all(found[6] == 0) and np.all(np.abs(found[[5, 7]]).max(axis=1) > 0.5)
    np.testing.assert_array_equal(found[7:], spectra(steady(64, 5)))


def test_a_reset_starts_the_phase_again() -> None:
    first, second = steady(30, 20), steady(90, 20)
    first[0, 15, -1] = second[0, 15, -1] = 1.0
    first[0, 15:, :-1] = second[0, 15:, :-1]
    np.testing.assert_array_equal(spectra(first)[15:], spectra(second)[15:])


def test_the_period_of_the_noise_is_a_multiple_of_the_reset_period() -> None:
    assert NOISE_PERIOD % EXCITATION_PERIOD == 0


@pytest.mark.parametrize("seed", range(3))
def test_numpy_does_the_same_in_blocks(seed: int) -> None:
    x, excitation, state = changing(60, seed), NumpyExcitation(CONFIG), {}
    x[0, :, -1] = np.arange(60) % 20 == 0
    numbers = np.where(x[..., -1] > 0, 2 * EXCITATION_PERIOD, 1)
    parts = []
    for start, end in ((0, 1), (1, 24), (24, 60)):
        step = Step(state)
        parts.append(excitation.spectra(step, x[:, start:end, :-1], numbers[:, start:end]))
        state = step.after
    found = np.concatenate(parts, axis=1)
    assert found.dtype == np.complex64
    np.testing.assert_allclose(found[0], spectra(x), atol=1e-5)


def test_a_long_sum_of_steps_does_not_overflow() -> None:
    frames = 60_000  # ten minutes of the highest pitch
    x = steady(PITCHES - 1, 1)
    x = np.broadcast_to(x, (1, frames, x.shape[-1]))
    step = Step({})
    NumpyExcitation(CONFIG).spectra(step, x[..., :-1], np.ones((1, frames), int))
    half = int(half_steps(CONFIG)[-1])
    assert step.after["excitation"].tolist() == [[half, (2 * frames - 1) * half % PHASE_STEPS]]
