"""Run the command line in this process, or in processes of its own."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from cli.verbs import lamella

ROOT = Path(__file__).parents[2]
NEGATIVE = ROOT / "tests" / "negative"
GOLDEN = ROOT / "tests" / "golden" / "v1"


def run(*arguments: object, **options: Any) -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(lamella, [str(argument) for argument in arguments], **options)


def works(*arguments: object, **options: Any) -> Result:
    """Run a command line that must succeed."""
    result = run(*arguments, **options)
    assert result.exit_code == 0, result.stderr
    return result


def fails(*arguments: object, **options: Any) -> str:
    """Run a command line that must end with exit code 1; return the one line that it prints to stderr."""
    result = run(*arguments, **options)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def refuses(*arguments: object) -> str:
    """Run a wrong command line, which must end with exit code 2; return what it prints to stderr."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    return result.stderr


def shell(command: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a command in bash, with `lamella` of this checkout."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    lamella = f"{shlex.quote(sys.executable)} -m cli.main"
    script = f'set -o pipefail; lamella() {{ {lamella} "$@"; }}; {command}'
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, **options)
