"""Training that is stopped in every way and resumed."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
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
from support.tiny_training import RUN

from codec.config import CodecConfig
from codec.presets import load_keras
from codec.training import checkpoint, run_folder
from codec.training.checkpoint import read_progress
from codec.training.progress import Progress
from codec.training.recipe import Recipe
from codec.training.replicas import Replicas
from codec.training.steppers import TensorFlowStepper
from codec.training.trainer import train

__all__ = ["in_short_time"]  # a fixture


def test_a_finished_run_without_its_prior_fits_it(finished_run: FinishedRun, tmp_path: Path) -> None:
    output, said = copy_of(finished_run.output, tmp_path / "model"), list[str]()
    train(finished_run.folder, output, RECIPE, said.append)
    assert (output / "prior.safetensors").read_bytes() == (
        finished_run.output / "prior.safetensors"
    ).read_bytes()


def test_a_finished_run_says_how_to_continue(finished_run: FinishedRun) -> None:
    said: list[str] = []
    assert train(finished_run.folder / "vanished", finished_run.output, RECIPE, said.append) is None
    (line,) = said
    assert line.startswith(f"{finished_run.output} is finished, after 8 steps, 0:0")
    assert line.endswith("of training; to continue, ask for more hours or steps")


def test_more_steps_continue_the_run(finished_run: FinishedRun, tmp_path: Path) -> None:
    output, said = copy_of(finished_run.output, tmp_path / "model"), list[str]()
    results = train(
        finished_run.folder, output, dataclasses.replace(RECIPE, steps=7, batch_size=3), said.append
    )
    assert results is not None
    assert any(line.startswith("continuing after 8 steps") for line in said)
    progress, _ = read_progress(output / "training") or (Progress(), None)
    assert progress.step == 9
    assert not np.array_equal(state(output)["master"], state(finished_run.output)["master"])


def test_interrupted_and_resumed_equals_uninterrupted(finished_run: FinishedRun, tmp_path: Path) -> None:
    output, config = tmp_path / "model", tiny.CONFIG
    for step in (1, 5):  # in the warm-up, in the joint stage
        with pytest.raises(
            KeyboardInterrupt, match=f"stopped after {step} steps, .* the same command continues"
        ):
            train(finished_run.folder, output, RECIPE, silent, config=config, show=at_step(step, interrupt))
        assert (output / "config.json").is_file() is (step > 2)
    assert "Not measured yet" in (output / "card.md").read_text()
    load_keras(output)
    assert train(finished_run.folder, output, RECIPE, silent) is not None
    assert different(state(output), state(finished_run.output)) == []


def test_an_interrupt_waits_for_the_step_and_for_saving(
    finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, said = copy_of(finished_run.output, tmp_path / "model"), list[str]()
    step, save = TensorFlowStepper.step, checkpoint.save_checkpoint

    def interrupted(*arguments: Any) -> Any:
        interrupt()
        return step(*arguments)

    def interrupted_again(*arguments: Any) -> None:
        interrupt()
        save(*arguments)

    monkeypatch.setattr(TensorFlowStepper, "step", interrupted)
    monkeypatch.setattr(run_folder, "save_checkpoint", interrupted_again)
    with pytest.raises(KeyboardInterrupt, match="stopped after 9 steps"):
        train(finished_run.folder, output, dataclasses.replace(RECIPE, steps=20), said.append)
    assert "stopping after this step" in said
    progress, _ = read_progress(output / "training") or (Progress(), None)
    assert progress.step == 9
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class OtherStops(Replicas):
    """One of several processes, of which another one is interrupted in the first step."""

    def total(self, *values: float) -> list[float]:
        return [*values[:1], *(value + 1 for value in values[1:])]


def test_if_one_process_stops_all_stop(finished_run: FinishedRun, tmp_path: Path) -> None:
    output = copy_of(finished_run.output, tmp_path / "model")
    more = dataclasses.replace(RECIPE, steps=20)
    with pytest.raises(KeyboardInterrupt, match="stopped after 9 steps"):
        train(finished_run.folder, output, more, silent, replicas=OtherStops())
    progress, _ = read_progress(output / "training") or (Progress(), None)
    assert progress.step == 9


def test_a_checkpoint_in_the_warm_up_has_no_preset(
    finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves = list[Progress]()

    def save(folder: Path, stage: object, config: CodecConfig, progress: Progress, recipe: Recipe) -> None:
        saves.append(progress)
        if progress.stage == "joint":
            raise KeyboardInterrupt

    monkeypatch.setattr(run_folder, "save_checkpoint", save)
    often = dataclasses.replace(RECIPE, checkpoint_minutes=0.0)
    with pytest.raises(KeyboardInterrupt):
        train(finished_run.folder, tmp_path / "model", often, silent, config=tiny.CONFIG)
    assert [(progress.stage, progress.step) for progress in saves[:3]] == [
        ("warm-up", 1),
        ("warm-up", 2),
        ("joint", 2),
    ]


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_equals_uninterrupted(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    moments = np.random.default_rng()  # without a seed: every moment must do
    killed, steps = tmp_path / "killed", 16
    for least in (3, 8):
        process = tiny.start(RUN, finished_run.folder, killed, steps, 0.0)  # saves after every step
        wait_for_step(process, least)
        time.sleep(moments.uniform(0, 1))
        process.kill()
        process.communicate()
        progress, _ = read_progress(killed / "training") or (Progress(), None)
        assert least - 1 <= progress.step < steps
    tiny.finish(tiny.start(RUN, finished_run.folder, killed, steps, 0.0))
    tiny.finish(tiny.start(RUN, finished_run.folder, tmp_path / "whole", steps, 0.0))
    assert different(state(killed), state(tmp_path / "whole")) == []
    assert [path.name for path in killed.rglob("*.part")] == []


def wait_for_step(process: subprocess.Popen[str], least: int) -> None:
    """Read the output of a run up to a step."""
    assert process.stdout is not None
    for line in process.stdout:
        words = line.split()
        if words[:1] == ["step"] and int(words[1].rstrip(",")) >= least:
            return


@pytest.mark.slow
def test_a_run_continues_on_the_other_backend_and_back(finished_run: FinishedRun, tmp_path: Path) -> None:
    output = tmp_path / "model"
    printed = tiny.finish(tiny.start(RUN, finished_run.folder, output, 2, 5.0, KERAS_BACKEND="tensorflow"))
    assert "\ntensorflow True" in printed
    printed = tiny.finish(tiny.start(RUN, finished_run.folder, output, 4, 5.0, KERAS_BACKEND="jax"))
    assert "continuing after 4 steps" in printed
    assert "\njax " in printed
    progress, _ = read_progress(output / "training") or (Progress(), None)
    assert progress.step == 6
    train(finished_run.folder, output, dataclasses.replace(RECIPE, steps=5), silent)  # and back
    assert all(np.isfinite(tensor).all() for tensor in state(output).values())
