"""The event files of a run for TensorBoard."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from support import tiny_training as tiny
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from codec.training import tensorboard
from codec.training.steps import StepResult
from codec.training.validation import Validation

RESULTS = Validation((600,), (1.5,), (0.3,), 4.0, (1.0, 0.5, 0.9), (10.0, 5.0, 9.0))
AUDIO = np.stack([tiny.sines(1.0, seed) for seed in (1, 2, 3)])[..., None]


def test_scalars_spectrograms_and_audio_are_written(tmp_path: Path) -> None:
    writer, codec = tensorboard.TensorBoardWriter(tmp_path), tiny.bench().stage.codec
    writer.write_step(3, StepResult({"log-mel": 1.25}, 2.0), 1e-3)
    for step in (4, 5):
        writer.write_validation(step, RESULTS, codec, AUDIO)
    writer.writer.close()  # it writes in a thread, for which a flush does not wait
    found = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in found.Scalars("steps/log-mel")] == [(3, 1.25)]
    assert found.Scalars("steps/learning_rate")[0].value == pytest.approx(1e-3)
    assert [event.value for event in found.Scalars("held-out_log-mel_distance/600")] == [1.5, 1.5]
    assert [event.value for event in found.Scalars("codebooks/least_used")] == [0.5, 0.5]
    tags = found.Tags()
    assert len(tags["audio"]) == len(tags["images"]) == 2 * tensorboard.NUM_CLIPS  # source and the one rate
    counts = {tag: len(found.Audio(tag)) for tag in tags["audio"]}
    assert sorted(counts.values()) == [1, 1, 2, 2]  # the sources do not change
    assert found.Audio(tags["audio"][0])[0].sample_rate == tiny.RATE


def test_a_spectrogram_is_black_at_minus_100_decibels() -> None:
    picture = tensorboard.spectrogram(np.zeros(8000, np.float32), 8000)
    assert picture.dtype == np.uint8
    assert len(picture) == tensorboard.BANDS
    assert not picture.any()
    assert tensorboard.spectrogram(tiny.sines(1.0, 0), 8000).max() > 100


def test_without_tensorboard_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    writer = tensorboard.new_event_writer(tmp_path / "events")
    writer.write_step(1, StepResult({}, 0.0), 1e-3)
    writer.write_validation(1, RESULTS, tiny.bench().stage.codec, AUDIO)
    assert not (tmp_path / "events").exists()
