"""Fixtures of the command line tests: a folder to write to, and a compressed file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import works


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder to write to. At the end of the test it must hold no unfinished files."""
    folder = tmp_path / "out"
    folder.mkdir()
    yield folder
    assert [path.name for path in folder.rglob("*") if path.name.startswith(".")] == []


@pytest.fixture(scope="session")
def lam(tiny_preset: Path, wav: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file `wav` compressed by the tiny model at 6 kbit/s per channel. Do not write to it."""
    path = tmp_path_factory.mktemp("lam") / "talk.lam"
    works("compress", "--model", tiny_preset, wav, path)
    return path
