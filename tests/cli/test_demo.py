"""`lamella demo`."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from support.command_line import NEGATIVE, fails, works


@pytest.fixture
def without_coding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the compression, which takes time."""
    monkeypatch.setattr("cli.demo.compare", lambda *_: "")


def test_compares_every_bitrate(folder: Path, wav: Path, tiny_preset: Path) -> None:
    rows = works("demo", "-m", tiny_preset, "--output", folder, wav).stdout.splitlines()[2:]
    bitrates = ["1.5k", "3k", "6k", "12k"]
    assert [row.split()[0] for row in rows] == bitrates
    sizes = [int(row.split()[1]) for row in rows]
    assert sizes == [(folder / f"{bitrate}.lam").stat().st_size for bitrate in bitrates] == sorted(sizes)
    assert soundfile.info(folder / "12k.wav").frames == soundfile.info(folder / "source.wav").frames
    assert all(float(row.split()[3]) > 0 for row in rows)


@pytest.mark.usefixtures("without_coding")
def test_uses_a_shipped_clip_by_default(
    folder: Path, wav: Path, tiny_preset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codec.presets.samples", lambda: wav.parent)
    assert works("demo", "-m", tiny_preset, "-o", folder / "new").stdout.startswith("talk.wav, ")
    monkeypatch.setattr("codec.presets.samples", lambda: folder / "nothing")
    assert "no clip" in fails("demo", "-m", tiny_preset, "-o", folder / "other")


@pytest.mark.usefixtures("without_coding")
def test_writes_to_a_folder_with_files_only_with_force(folder: Path, wav: Path, tiny_preset: Path) -> None:
    (folder / "mine.txt").write_text("mine")
    assert "not empty" in fails("demo", "-m", tiny_preset, "-o", folder, wav)
    works("demo", "-m", tiny_preset, "-o", folder, "--force", wav)
    assert (folder / "mine.txt").read_text() == "mine"


def test_a_bad_sound_leaves_no_folder(folder: Path, tiny_preset: Path) -> None:
    fails("demo", "-m", tiny_preset, "-o", folder / "new", NEGATIVE / "empty.lam")
    assert not (folder / "new").exists()
