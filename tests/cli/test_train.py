"""`lamella train`, with the training itself replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.command_line import fails, refuses, run, works


@pytest.fixture(autouse=True)
def restored_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the variables that the verb sets for TensorFlow, because other tests use TensorFlow too."""
    for name in ("ONEDNN_DEFAULT_FPMATH_MODE", "TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments that the trainer is called with; it prints one line in place of training."""
    arguments: dict[str, Any] = {}

    def record(folder: Path, output: Path, recipe: Any, report: Any, codec: Any, **more: Any) -> None:
        arguments.update(folder=folder, output=output, recipe=recipe, codec=codec, **more)
        report("step 1")

    monkeypatch.setattr("codec.training.trainer.train", record)
    return arguments


def test_options_reach_the_trainer(folder: Path, arguments: dict[str, Any]) -> None:
    options = ("--steps", 5, "--batch-size", 2, "--segment", 1)
    result = works("train", folder, "-o", folder / "model", *options)
    assert arguments["folder"] == folder
    assert arguments["output"] == folder / "model"
    recipe = arguments["recipe"]
    assert (recipe.steps, recipe.batch_size, recipe.segment_seconds) == (5, 2, 1.0)
    assert arguments["codec"] is None
    assert arguments["show"] is None
    assert arguments["replicas"].count == 1
    assert result.stdout == ""
    assert result.stderr.splitlines()[0].startswith("starting")
    assert result.stderr.splitlines()[1:] == ["step 1"]


def test_training_can_start_from_a_model(folder: Path, arguments: dict[str, Any], tiny_preset: Path) -> None:
    start = ("--from", tiny_preset, "--hours", 0.5, "-q")
    assert works("train", folder, "-o", folder / "m", *start).output == ""
    assert arguments["codec"].config.sample_rate == 16000
    assert arguments["recipe"].hours == 0.5


def test_the_length_is_in_hours_or_steps(folder: Path) -> None:
    command = ("train", folder, "-o", folder)
    assert "not both" in refuses(*command, "--hours", 1, "--steps", 1)
    for hours in (0, "nan", "inf"):
        refuses(*command, "--hours", hours)


def test_a_recipe_has_defaults_for_its_device(folder: Path, arguments: dict[str, Any]) -> None:
    works("train", folder, "-o", folder / "m", "--recipe", "gpu", "--steps", 3, "-q")
    assert (arguments["recipe"].steps, arguments["recipe"].batch_size) == (3, 64)
    works("train", folder, "-q")
    assert (arguments["output"], arguments["recipe"].batch_size) == (Path("lamella-model"), 8)
    assert "'tpu' is not one of" in refuses("train", folder, "--recipe", "tpu")


def test_a_folder_without_audio_is_an_error(folder: Path) -> None:
    assert "does not exist" in fails("train", folder / "nothing", "-o", folder / "model")
    (folder / "notes.txt").write_text("no audio")
    result = run("train", folder, "-o", folder / "model", "--steps", 1)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: no audio found in")


def test_a_finished_model_is_overwritten_only_with_force(
    folder: Path, arguments: dict[str, Any], tiny_preset: Path
) -> None:
    assert "--force overwrites it" in fails("train", folder, "-o", tiny_preset)
    works("train", folder, "-o", tiny_preset, "--force")
    assert arguments["output"] == tiny_preset


@pytest.mark.parametrize(
    ("interrupt", "line"),
    [
        (KeyboardInterrupt("stopped after 3 steps"), "Error: stopped after 3 steps"),
        (KeyboardInterrupt(), "Error: interrupted before the training began"),
    ],
)
def test_an_interrupt_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, interrupt: BaseException, line: str
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise interrupt

    monkeypatch.setattr("codec.training.trainer.train", interrupted)
    result = run("train", folder, "-o", folder / "model", "--quiet")
    assert (result.exit_code, result.stderr.strip()) == (1, line)
