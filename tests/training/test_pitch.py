"""The pitch target from the source, and the loss of the decoder's pitch."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops
from support.contract import white

from codec.dsp import PITCHES, pitches
from codec.training.pitch import VOICED_SCORE, pitch_loss, pitch_scores

RATE, HOP = 48000, 480


def scores(sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found, energy = pitch_scores(sound[None].astype(np.float32), RATE, HOP)
    return ops.convert_to_numpy(found)[0], ops.convert_to_numpy(energy)[0]


def voice(hertz: np.ndarray, tilt: float = 1.0) -> np.ndarray:
    """Return harmonics up to 5 kHz of a frequency [time], each weaker than the one below."""
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    numbers = range(1, int(5000 / hertz.max()))
    return 0.1 * sum(np.cos(number * phase) / number**tilt for number in numbers)


@pytest.mark.parametrize("hertz", [70.0, 110.0, 200.0, 330.0, 450.0])
@pytest.mark.parametrize("tilt", [0.5, 2.0])
def test_the_pitch_of_harmonics(hertz: float, tilt: float) -> None:
    found, _ = scores(voice(np.full(RATE // 2, hertz), tilt))
    inner = found[3:-3]
    np.testing.assert_allclose(pitches()[inner.argmax(axis=1)], hertz, rtol=0.03)
    assert np.all(inner.max(axis=1) > VOICED_SCORE)


def test_a_frame_is_centred_on_the_first_sample_of_its_block() -> None:
    hertz = np.linspace(100, 200, RATE)
    found, _ = scores(voice(hertz))
    estimated = pitches()[found.argmax(axis=1)]
    np.testing.assert_allclose(estimated[5:-5], hertz[::HOP][5:-5], rtol=0.04)


def test_noise_has_no_pitch() -> None:
    found, energy = scores(0.1 * white(RATE))
    assert np.mean(found.max(axis=1) > VOICED_SCORE) < 0.05
    assert energy.min() > 0.1


def logits(pitch: np.ndarray, voiced: float) -> np.ndarray:
    x = np.zeros((1, len(pitch), PITCHES + 1), np.float32)
    x[0, np.arange(len(pitch)), pitch] = 6.0
    x[..., PITCHES] = voiced
    return x


def test_the_loss_falls_where_pitch_and_voicing_are_right() -> None:
    found, energy = scores(voice(np.full(RATE // 4, 150.0)))
    pitch = found.argmax(axis=1)

    def loss(x: np.ndarray) -> float:
        return float(pitch_loss(found[None], energy[None], x))

    right = loss(logits(pitch, 3.0))
    assert right < loss(logits(pitch + 1, 3.0)) < loss(logits(pitch + 20, 3.0))
    assert right < loss(logits(pitch, -3.0))


def test_silence_is_not_voiced() -> None:
    found, energy = scores(1e-5 * voice(np.full(RATE // 4, 150.0)))
    quiet, loud = (
        float(pitch_loss(found[None], energy[None], logits(found.argmax(axis=1), voicing)))
        for voicing in (-3.0, 3.0)
    )
    assert quiet < loud
