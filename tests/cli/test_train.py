"""`lamella train` as people meet it, with another trainer in the place of ours."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from support.command_line import fails, folder, refuses, run, works

from cli.status import Status

__all__ = ["folder"]  # a fixture


class TestTrain:
    @pytest.fixture(autouse=True)
    def plain_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the verb tells TensorFlow to do is not meant for the other tests."""
        for name in ("ONEDNN_DEFAULT_FPMATH_MODE", "TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS"):
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)

    @pytest.fixture
    def given(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        """What the trainer is called with, in place of training."""
        given: dict[str, Any] = {}

        def record(folder: Path, output: Path, recipe: Any, say: Any, codec: Any, **more: Any) -> None:
            given.update(folder=folder, output=output, recipe=recipe, codec=codec, **more)
            say("step 1")

        monkeypatch.setattr("codec.training.trainer.train", record)
        return given

    def test_arguments_reach_the_trainer(self, folder: Path, given: dict[str, Any]) -> None:
        said = works("train", folder, "-o", folder / "model", "--steps", 5, "--batch-size", 2, "--segment", 1)
        assert (given["folder"], given["output"]) == (folder, folder / "model")
        recipe = given["recipe"]
        assert (recipe.steps, recipe.batch_size, recipe.segment_seconds) == (5, 2, 1.0)
        assert (given["codec"], given["show"], given["replicas"].count) == (None, None, 1)
        assert said.stdout == ""
        assert said.stderr.splitlines()[0].startswith("starting")
        assert said.stderr.splitlines()[1:] == ["step 1"]

    def test_from_a_model(self, folder: Path, given: dict[str, Any], tiny_preset: Path) -> None:
        said = works("train", folder, "-o", folder / "m", "--from", tiny_preset, "--hours", 0.5, "-q")
        assert given["codec"].config.sample_rate == 16000
        assert given["recipe"].hours == 0.5
        assert said.output == ""

    def test_hours_or_steps(self, folder: Path) -> None:
        assert "not both" in refuses("train", folder, "-o", folder, "--hours", 1, "--steps", 1)
        refuses("train", folder, "-o", folder, "--hours", 0)

    def test_a_recipe_for_a_device(self, folder: Path, given: dict[str, Any]) -> None:
        works("train", folder, "-o", folder / "m", "--recipe", "gpu", "--steps", 3, "-q")
        assert (given["recipe"].steps, given["recipe"].batch_size) == (3, 64)
        works("train", folder, "-q")
        assert (given["output"], given["recipe"].batch_size) == (Path("lamella-model"), 8)
        assert "'tpu' is not one of" in refuses("train", folder, "--recipe", "tpu")

    def test_a_folder_that_is_none_or_has_no_audio(self, folder: Path) -> None:
        assert "no such folder" in fails("train", folder / "nothing", "-o", folder / "model")
        (folder / "notes.txt").write_text("no audio")
        result = run("train", folder, "-o", folder / "model", "--steps", 1)
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1].startswith("Error: no audio found in")

    def test_a_model_is_overwritten_only_by_force(
        self, folder: Path, given: dict[str, Any], tiny_preset: Path
    ) -> None:
        assert "--force overwrites it" in fails("train", folder, "-o", tiny_preset)
        works("train", folder, "-o", tiny_preset, "--force")
        assert given["output"] == tiny_preset

    @pytest.mark.parametrize(
        ("stop", "line"),
        [
            (KeyboardInterrupt("stopped after 3 steps"), "Error: stopped after 3 steps"),
            (KeyboardInterrupt(), "Error: interrupted before the training began"),
        ],
    )
    def test_an_interrupt_is_one_line(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException, line: str
    ) -> None:
        def interrupted(*_: object, **__: object) -> None:
            raise stop

        monkeypatch.setattr("codec.training.trainer.train", interrupted)
        result = run("train", folder, "-o", folder / "model", "--quiet")
        assert (result.exit_code, result.stderr.strip()) == (1, line)

    def test_the_status_changes_in_place_on_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        screen = io.StringIO()
        monkeypatch.setattr(sys, "stderr", screen)
        monkeypatch.setattr(screen, "isatty", lambda: True)
        status = Status(quiet=False)
        status.show("step 1")
        status.show("step 2")  # too soon
        status.say("done")
        assert screen.getvalue() == "\r\x1b[Kstep 1\r\x1b[Kdone\n"
        assert not Status(quiet=True).terminal
