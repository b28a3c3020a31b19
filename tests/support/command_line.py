"""The command run as people run it, in this process and in processes of its own; and a folder and a file for that."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import lamella

ROOT = Path(__file__).parents[2]
NEGATIVE = ROOT / "tests" / "negative"
LAMELLA = f"{shlex.quote(sys.executable)} -m cli.main"


def run(*arguments: object, **options: Any) -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(lamella, [str(argument) for argument in arguments], **options)


def works(*arguments: object, **options: Any) -> Result:
    result = run(*arguments, **options)
    assert result.exit_code == 0, result.stderr
    return result


def fails(*arguments: object, **options: Any) -> str:
    """Run what must end with one line on stderr and exit code 1; give the line."""
    result = run(*arguments, **options)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def refuses(*arguments: object) -> str:
    """Run what is a wrong command line: exit code 2."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    return result.stderr


def shell(command: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run real processes, `lamella` being this checkout's."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = f'set -o pipefail; lamella() {{ {LAMELLA} "$@"; }}; {command}'
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder to write to. Nothing half-written may be left in it, whatever a test does."""
    folder = tmp_path / "out"
    folder.mkdir()
    yield folder
    assert [path.name for path in folder.rglob("*") if path.name.startswith(".")] == []


@pytest.fixture(scope="module")
def lam(tiny_preset: Path, wav: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tiny model makes of `wav` at 6 kbit/s a channel."""
    path = tmp_path_factory.mktemp("lam") / "talk.lam"
    works("compress", "--model", tiny_preset, wav, path)
    return path
