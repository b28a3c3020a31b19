"""Starting is fast: no training framework is loaded where none is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FRAMEWORKS = {"jax", "keras", "librosa", "numba", "scipy", "tensorflow", "torch"}
COMMAND = "from cli.verbs import lamella; lamella(sys.argv[1:], standalone_mode=False)"


def packages_loaded_by(code: str, *arguments: object) -> set[str]:
    """Return the top-level packages that a new process has imported after running some code."""
    program = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stderr.splitlines()[-1].split()}


def test_import_codec_loads_neither_a_framework_nor_numpy() -> None:
    loaded = packages_loaded_by("import codec")
    assert "codec" in loaded
    assert not loaded & {*FRAMEWORKS, "numpy"}


def test_help_loads_neither_a_framework_nor_numpy() -> None:
    loaded = packages_loaded_by(COMMAND, "--help")
    assert {"cli", "codec"} <= loaded
    assert not loaded & {*FRAMEWORKS, "numpy"}


def test_compress_loads_no_framework(tiny_preset: Path, wav: Path, tmp_path: Path) -> None:
    target = tmp_path / "talk.lam"
    loaded = packages_loaded_by(COMMAND, "compress", "--quiet", "--model", tiny_preset, wav, target)
    assert target.stat().st_size > 0
    assert not loaded & FRAMEWORKS
