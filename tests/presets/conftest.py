"""Fixtures of the tests of presets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def preset(tiny_preset: Path, tmp_path: Path) -> Path:
    """A copy of the small model, to change."""
    return Path(shutil.copytree(tiny_preset, tmp_path / "preset"))


@pytest.fixture
def assets(tiny_preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installation with two models, `apple` and `zebra`."""
    for name in ("zebra", "apple"):
        shutil.copytree(tiny_preset, tmp_path / "assets" / name)
    (tmp_path / "assets" / "samples").mkdir()
    monkeypatch.setattr("codec.presets.catalog._assets", lambda: tmp_path / "assets")
    return tmp_path / "assets"
