"""Several files in one command: all that can be done is done, and each failure is one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from support.command_line import fails, refuses, run, works
from support.sounds import tone


@pytest.fixture
def sounds(tmp_path: Path) -> list[Path]:
    """Three sounds in two folders."""
    paths = [tmp_path / "in" / "a.wav", tmp_path / "in" / "b.flac", tmp_path / "more" / "c.wav"]
    for number, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, tone(0.3 + number, 16000), 16000)
    return paths


def test_several_files_come_back(sounds: list[Path], tmp_path: Path, tiny_preset: Path) -> None:
    small, back = tmp_path / "new" / "small", tmp_path / "back"
    lines = works("compress", "-m", tiny_preset, *sounds, "--output-dir", small).stderr.splitlines()
    assert sorted(line.split(": ")[0] for line in lines) == [str(small / f"{name}.lam") for name in "abc"]
    works("compress", "-m", tiny_preset, sounds[0], tmp_path / "one.lam")
    assert (tmp_path / "one.lam").read_bytes() == (small / "a.lam").read_bytes()
    quiet = works("decompress", "-q", "--raw", "-m", tiny_preset, *small.glob("*.lam"), "-d", back)
    assert quiet.output == ""
    assert [(back / f"{name}.raw").stat().st_size for name in "abc"] == [9600, 41600, 73600]


def test_a_failure_does_not_stop_the_other_files(
    sounds: list[Path], tmp_path: Path, tiny_preset: Path
) -> None:
    bad, missing, small = tmp_path / "bad.wav", tmp_path / "missing.wav", tmp_path / "small"
    bad.write_bytes(b"no sound")
    result = run("compress", "-q", "-m", tiny_preset, sounds[0], bad, missing, *sounds[1:], "-d", small)
    assert result.exit_code == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert sorted(line.split(": ")[1] for line in lines[:2]) == [str(bad), str(missing)]
    assert lines[2] == "Error: 2 of 5 files failed"
    assert sorted(path.name for path in small.iterdir()) == ["a.lam", "b.lam", "c.lam"]


def test_existing_files_are_kept_without_force(sounds: list[Path], tmp_path: Path, tiny_preset: Path) -> None:
    (tmp_path / "a.lam").write_bytes(b"mine")
    result = run("compress", "-q", "-m", tiny_preset, *sounds[:2], "-d", tmp_path)
    assert result.exit_code == 1
    assert "a.lam exists; --force overwrites it" in result.stderr
    assert (tmp_path / "a.lam").read_bytes() == b"mine"
    assert (tmp_path / "b.lam").exists()


def test_two_inputs_with_the_same_output_are_refused(
    sounds: list[Path], tmp_path: Path, tiny_preset: Path
) -> None:
    (tmp_path / "a.flac").write_bytes(sounds[0].read_bytes())
    names = (sounds[1], sounds[0], tmp_path / "a.flac")
    line = fails("compress", "-m", tiny_preset, *names, "-d", tmp_path / "out")
    assert f"{sounds[0]} and {tmp_path / 'a.flac'} would both be" in line
    assert not (tmp_path / "out").exists()


def test_a_wrong_command_line_is_refused(sounds: list[Path], tmp_path: Path, tiny_preset: Path) -> None:
    compress = ("compress", "-m", tiny_preset)
    assert "IN and OUT" in refuses(*compress, *sounds)
    assert "IN and OUT" in refuses("decompress", sounds[0])
    assert "a pipe has no name" in refuses(*compress, "-", sounds[0], "-d", tmp_path)
    assert "--bitrate 5k" in refuses(*compress, *sounds, "-d", tmp_path, "-b", "5k")
    assert "Missing argument" in refuses("compress", "-d", tmp_path)
