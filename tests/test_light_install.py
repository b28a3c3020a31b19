"""The five packages that coding needs are enough for it, and JAX is enough for training."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import soundfile
from support.environments import FIVE_PACKAGES, Environment
from support.sounds import tone


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with only the five packages."""
    return Environment(tmp_path_factory.mktemp("light") / "packages", *FIVE_PACKAGES)


def lamella(environment: Environment, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command of this checkout in an environment."""
    command = [*environment.command, "-m", "cli.main", *map(str, arguments)]
    return subprocess.run(command, env=environment.variables, capture_output=True, text=True)


def test_the_environment_has_no_other_packages(light: Environment) -> None:
    script = (
        "import importlib.util as u; print([p for p in ('keras', 'librosa', 'pytest') if u.find_spec(p)])"
    )
    command = [*light.command, "-c", script]
    assert subprocess.check_output(command, env=light.variables, text=True) == "[]\n"


def test_every_verb_of_coding_runs(light: Environment, tmp_path: Path) -> None:
    clip, compressed, small = tmp_path / "a.wav", tmp_path / "a.lam", tmp_path / "small.lam"
    soundfile.write(clip, tone(1.2, 16000), 16000)
    for arguments in (
        ("compress", clip, compressed),
        ("decompress", compressed, tmp_path / "back.wav"),
        ("decompress", compressed, "--output-dir", tmp_path / "back"),
        ("thin", "--bitrate", "3k", compressed, small),
        ("info", small),
        ("verify", compressed, small),
        ("demo", clip, "--output", tmp_path / "demo"),
        ("models",),
    ):
        result = lamella(light, *arguments)
        assert result.returncode == 0, (arguments, result.stderr)
    assert soundfile.info(tmp_path / "back.wav").frames == soundfile.info(clip).frames
    assert (tmp_path / "back" / "a.wav").read_bytes() == (tmp_path / "back.wav").read_bytes()
    assert sum(path.suffix == ".wav" for path in (tmp_path / "demo").iterdir()) == 6
    assert small.stat().st_size < compressed.stat().st_size


def test_a_verb_that_needs_more_prints_the_pip_command(light: Environment, tmp_path: Path) -> None:
    for arguments, pip in (
        (("train", tmp_path), "pip install 'lamella[train]' (or JAX: pip install 'lamella[jax]')"),
        (("export", "m", tmp_path / "e", "--format", "saved-model"), "pip install 'lamella[train]'"),
        (("export", "m", tmp_path / "e", "--format", "litert"), "pip install 'lamella[litert]'"),
        (("export", "m", tmp_path / "e", "--format", "onnx"), "pip install 'lamella[onnx]'"),
    ):
        result = lamella(light, *arguments)
        assert result.returncode == 1
        assert result.stderr.startswith("Error: ")
        assert result.stderr.endswith(f": {pip}\n")
        assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_jax_trains_without_tensorflow(tmp_path: Path) -> None:
    from support.tiny_training import RUN, recordings

    with_jax = Environment(tmp_path / "packages", *FIVE_PACKAGES, "jax", "keras")
    folder = recordings(tmp_path / "in")
    command = [*with_jax.command, "-c", RUN, folder, tmp_path / "model", "8", "5.0"]
    variables = {**with_jax.variables, "KERAS_BACKEND": "jax"}
    result = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert ": 10 steps, " in (tmp_path / "model" / "card.md").read_text()
    assert result.stdout.splitlines()[-1] == "jax False"
