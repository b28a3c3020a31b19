"""Coding where no framework is installed, and training where only JAX is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import tiny_training as tiny
from support.tiny_training import RUN

LIGHT = ("click", "numpy", "safetensors", "soundfile", "soxr")
WITH_JAX = (*LIGHT, "jax", "keras", "librosa")


def environment_with(packages: tuple[str, ...], folder: Path) -> Path:
    """A virtual environment with these packages and without TensorFlow; gives its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    without = "import importlib.util, sys; sys.exit(importlib.util.find_spec('tensorflow') is not None)"
    subprocess.run([python, "-c", without], check=True)
    return python


def variables(**more: str) -> dict[str, str]:
    """The variables of this process, for this checkout, with no backend chosen."""
    kept = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    return {**kept, "PYTHONPATH": os.pathsep.join([str(tiny.ROOT), str(tiny.ROOT / "tests")]), **more}


@pytest.mark.slow
def test_compressing_needs_five_packages(tmp_path: Path) -> None:
    lamella = [environment_with(LIGHT, tmp_path / "venv"), "-m", "cli.main"]
    clip, coded, decoded = next(tiny.ROOT.glob("assets/samples/1-*")), tmp_path / "a.lam", tmp_path / "a.wav"
    subprocess.run([*lamella, "compress", clip, coded], env=variables(), check=True)
    subprocess.run([*lamella, "decompress", coded, decoded], env=variables(), check=True)
    assert decoded.stat().st_size > 100_000
    train = [*lamella, "train", tmp_path, "--output", tmp_path / "model"]
    refused = subprocess.run(train, env=variables(), capture_output=True, text=True)
    assert refused.returncode == 1
    assert (
        refused.stderr == "Error: training needs Keras, and TensorFlow or JAX: pip install keras tensorflow\n"
    )


@pytest.mark.slow
def test_ten_steps_in_an_environment_without_tensorflow(tmp_path: Path) -> None:
    folder = tiny.recordings(tmp_path / "in")
    python = environment_with(WITH_JAX, tmp_path / "venv")
    ten = [python, "-c", RUN, folder, tmp_path / "model", "8", "5.0"]
    run = subprocess.run(ten, env=variables(KERAS_BACKEND="jax"), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert ": 10 steps, " in (tmp_path / "model" / "card.md").read_text()
    assert run.stdout.splitlines()[-1] == "jax False"
