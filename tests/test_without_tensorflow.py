"""Training where only JAX is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_training as tiny
from test_trainer import RUN

PACKAGES = ("jax", "keras", "librosa", "soundfile", "soxr", "click", "safetensors")


@pytest.mark.slow
def test_ten_steps_in_an_environment_without_tensorflow(tmp_path: Path) -> None:
    folder = tiny.recordings(tmp_path / "in")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    environment["PYTHONPATH"] = os.pathsep.join([str(tiny.ROOT), str(tiny.ROOT / "tests")])
    without = "import importlib.util, sys; sys.exit(importlib.util.find_spec('tensorflow') is not None)"
    subprocess.run([python, "-c", without], check=True)
    ten = [python, "-c", RUN, folder, tmp_path / "model", "8", "5.0"]
    run = subprocess.run(ten, env={**environment, "KERAS_BACKEND": "jax"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "step 10, 100%" in run.stdout
    assert run.stdout.splitlines()[-1] == "jax False"
    sound, coded = folder / "0.wav", tmp_path / "0.lam"
    compress = [python, "-m", "cli.main", "compress", "--model", tmp_path / "model", "--codebooks", "3"]
    subprocess.run([*compress, sound, coded], env=environment, check=True)  # finds JAX by itself
    assert coded.stat().st_size > 0
