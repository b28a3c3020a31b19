"""A whole training run: from a folder of WAVs to a preset, and the errors that end it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support import tiny_training as tiny
from support.short_runs import (
    RECIPE,
    FinishedRun,
    at_step,
    copy_of,
    different,
    in_short_time,
    interrupt,
    silent,
    state,
)

from codec.architecture import PARTS
from codec.coding.compression import compress
from codec.coding.decompression import decompress
from codec.errors import AudioError, CodecError, PresetError
from codec.presets import load_keras
from codec.training import checkpoint
from codec.training.checkpoint import read_progress
from codec.training.progress import Progress
from codec.training.recipe import AdversarialRecipe, Recipe
from codec.training.replicas import Replicas
from codec.training.steppers import TensorFlowStepper
from codec.training.trainer import train

__all__ = ["in_short_time"]  # a fixture


def test_the_preset_codes(finished_run: FinishedRun, tmp_path: Path) -> None:
    codec = load_keras(finished_run.output)
    assert codec.config == tiny.CONFIG
    soundfile.write(tmp_path / "a.wav", tiny.sines(1.5, 7), tiny.RATE)
    compress(tmp_path / "a.wav", tmp_path / "a.lam", model=codec, num_codebooks=3)
    decompress(tmp_path / "a.lam", tmp_path / "b.wav", model=codec)
    decoded, rate = soundfile.read(tmp_path / "b.wav")
    assert (len(decoded), rate) == (round(1.5 * tiny.RATE), tiny.RATE)
    assert np.abs(decoded).max() > 0.01


def test_the_files_of_a_finished_run(finished_run: FinishedRun) -> None:
    names = {
        path.relative_to(finished_run.output).as_posix()
        for path in finished_run.output.rglob("*")
        if path.is_file()
    }
    assert sum(name.startswith("training/tensorboard/events.out.") for name in names) == 1
    assert {name for name in names if not name.startswith("training/tensorboard/")} == {
        "card.md",
        "config.json",
        "prior.safetensors",
        "encoder.safetensors",
        "quantizer.safetensors",
        "decoder.safetensors",
        "training/checkpoint.safetensors",
        "training/cache/audio.int16",
        "training/cache/index.json",
    }
    progress, config = read_progress(finished_run.output / "training") or (None, None)
    assert progress is not None
    assert (progress.stage, progress.step, progress.stage_start_step) == ("joint", 8, 2)
    assert progress.audio_seconds == 8 * RECIPE.batch_size * RECIPE.segment_seconds
    assert config == tiny.CONFIG


def test_the_card(finished_run: FinishedRun) -> None:
    card = (finished_run.output / "card.md").read_text()
    assert finished_run.results is not None
    assert card.startswith("# model: 8 kHz, 600 to 600 bits per second per channel\n")
    assert "8 steps" in card
    assert f"| 600 | {finished_run.results.mel[0]:.3f} |" in card


def test_the_messages_of_a_run(finished_run: FinishedRun) -> None:
    beginnings = (
        "reading 3 audio files",
        "3 files, ",
        "0.0 million weights",
        "initializing the linear paths",
        "principal components: ",
        "warm-up: building the graph",
        "step 1, warm-up: mel ",
        "initializing the codebooks",
        "joint: building the graph",
        "step 3, joint 17%, 0:",
        "log-mel distance of decoded from held-out audio",
        "latents: ",
    )
    assert len(finished_run.said) > len(beginnings)
    for line, beginning in zip(finished_run.said, beginnings, strict=False):  # more follows
        assert line.startswith(beginning)
    assert finished_run.said[-3].startswith("| bits per second |")


def test_only_the_chief_writes_and_speaks(finished_run: FinishedRun, tmp_path: Path) -> None:
    output, said = copy_of(finished_run.output, tmp_path / "model"), list[str]()
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    other = Replicas(chief=False)
    results = train(
        finished_run.folder, output, dataclasses.replace(RECIPE, steps=7), said.append, replicas=other
    )
    assert results is not None and said == []
    after = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    new = {path.parent.name for path in after.keys() - before.keys()}
    assert new == {"cache"} and all(after[path] == before[path] for path in before)


def test_a_run_from_a_codec_has_no_warm_up(finished_run: FinishedRun, tmp_path: Path) -> None:
    said: list[str] = []
    codec = load_keras(finished_run.output)
    train(finished_run.folder, tmp_path / "new", tiny.recipe(1), said.append, codec)
    progress, _ = read_progress(tmp_path / "new" / "training") or (Progress(), None)
    assert (progress.stage, progress.step) == ("joint", 1)
    assert not any("warm-up" in line or "k-means" in line for line in said)


def nan_at(steps: Callable[[int], bool]) -> Callable[..., Any]:
    """Return a step of TensorFlow whose audio is NaN at some steps."""
    step = TensorFlowStepper.step

    def poisoned(self: TensorFlowStepper, arrays: Any, learning_rate: float, number: int) -> Any:
        audio = np.full_like(arrays.audio, np.nan) if steps(number) else arrays.audio
        return step(self, arrays._replace(audio=audio), learning_rate, number)

    return poisoned


def test_a_step_without_a_finite_gradient_is_undone(
    finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, said = copy_of(finished_run.output, tmp_path / "model"), list[str]()
    monkeypatch.setattr(TensorFlowStepper, "step", nan_at(lambda number: number == 9))
    train(finished_run.folder, output, dataclasses.replace(RECIPE, steps=9), said.append)
    assert [line for line in said if "returning to the last checkpoint" in line] != []
    assert all(np.isfinite(tensor).all() for tensor in state(output).values())


def test_training_without_finite_gradients_ends(
    finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TensorFlowStepper, "step", nan_at(lambda _: True))
    output, said = copy_of(finished_run.output, tmp_path / "model"), list[str]()
    with pytest.raises(
        CodecError, match="step 10: the gradient is not a finite number; training cannot continue"
    ):
        train(finished_run.folder, output, dataclasses.replace(RECIPE, steps=20, max_setbacks=2), said.append)
    assert len([line for line in said if "returning to the last checkpoint" in line]) == 2
    with pytest.raises(CodecError, match="step 0: "):
        train(finished_run.folder, tmp_path / "new", RECIPE, silent, config=tiny.CONFIG)


def weights(preset: Path, part: str) -> bytes:
    return (preset / f"{part}.safetensors").read_bytes()


def with_adversarial_stage(steps: int, **changes: Any) -> Recipe:
    """Return a recipe that gives half of the steps to the adversarial stage."""
    small = {
        "windows": (0.032,),
        "lowest_frequency": 500.0,
        "highest_frequency": 3000.0,
        "channels": (4, 4, 4, 4),
        "crop_frames": 14,
        "segments": 16,
    }
    return dataclasses.replace(
        RECIPE, steps=steps, adversarial=AdversarialRecipe(share=0.5, **{**small, **changes})
    )  # type: ignore[arg-type]


def test_the_adversarial_stage_follows_and_can_be_resumed(finished_run: FinishedRun, tmp_path: Path) -> None:
    outputs = [copy_of(finished_run.output, tmp_path / name) for name in ("model", "stopped")]
    said: list[str] = []
    # The joint stage, of 6 steps, is over: its half of 12.
    assert train(finished_run.folder, outputs[0], with_adversarial_stage(12), said.append) is not None
    with pytest.raises(KeyboardInterrupt, match="stopped after 10 steps"):
        train(
            finished_run.folder, outputs[1], with_adversarial_stage(12), silent, show=at_step(10, interrupt)
        )
    assert train(finished_run.folder, outputs[1], with_adversarial_stage(12), silent) is not None
    progress, _ = read_progress(outputs[0] / "training") or (Progress(), None)
    assert (progress.stage, progress.stage_start_step, progress.step) == ("adversarial", 8, 14)
    assert different(*(state(output) for output in outputs)) == []
    changed = {part for part in PARTS if weights(outputs[0], part) != weights(finished_run.output, part)}
    assert changed == {"decoder"}
    assert train(finished_run.folder, outputs[0], with_adversarial_stage(12), said.append) is None
    assert "is finished" in said[-1]


@pytest.mark.slow
def test_an_adversarial_stage_that_diverges_ends(finished_run: FinishedRun, tmp_path: Path) -> None:
    output, said = copy_of(finished_run.output, tmp_path / "model"), list[str]()
    diverging = with_adversarial_stage(40, learning_rate=1.0, discriminator_shares=(1.0, 1.0), head_start=1)
    often = dataclasses.replace(diverging, checkpoint_minutes=0.0, rise_steps=1, averaging=0.0)
    train(finished_run.folder, output, dataclasses.replace(often, steps=12), said.append)
    assert any("ending the adversarial stage" in line for line in said)
    assert all(weights(output, part) == weights(finished_run.output, part) for part in PARTS)


def test_a_missing_folder_is_an_error(finished_run: FinishedRun, tmp_path: Path) -> None:
    output = copy_of(finished_run.output, tmp_path / "model")
    with pytest.raises(AudioError, match="does not exist"):
        train(tmp_path / "vanished", output, dataclasses.replace(RECIPE, steps=9), silent)


def test_a_damaged_run_is_an_error(finished_run: FinishedRun, tmp_path: Path) -> None:
    output = copy_of(finished_run.output, tmp_path / "model")
    (output / "training" / checkpoint.NAME).write_bytes(b"no checkpoint")
    with pytest.raises(PresetError, match="is damaged"):
        train(finished_run.folder, output, RECIPE, silent)


def test_a_run_of_another_config_is_an_error(finished_run: FinishedRun) -> None:
    other = dataclasses.replace(tiny.CONFIG, decoder_width=8)
    with pytest.raises(PresetError, match="a model of another config"):
        train(finished_run.folder, finished_run.output, RECIPE, silent, config=other)
