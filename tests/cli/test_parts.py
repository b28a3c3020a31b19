"""`lamella decompress --start --end --recover`: parts of a file and damaged files, as people meet them."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pytest
import soundfile
from support.command_line import fails, folder, lam, refuses, run, works

from cli.options import Part, parse_time

__all__ = ["folder", "lam"]  # fixtures


@pytest.fixture
def damaged(lam: Path, folder: Path) -> Path:
    """`lam`, 1.5 s of it, with a byte of its first second changed."""
    content = bytearray(lam.read_bytes())
    content[60] ^= 1
    path = folder / "bad.lam"
    path.write_bytes(content)
    return path


def test_a_part(lam: Path, folder: Path, tiny_preset: Path) -> None:
    works("decompress", "-m", tiny_preset, lam, folder / "all.wav")
    whole, _ = soundfile.read(folder / "all.wav", dtype="int16")
    for number, (options, span) in enumerate(
        (
            (("--start", "0:00.5", "--end", "1.25"), slice(11025, round(1.25 * 22050))),
            (("--start", "1"), slice(22050, None)),
            (("--end", "0:0:1"), slice(0, 22050)),
            (("--start", "1.4", "--end", "1:00"), slice(round(1.4 * 22050), None)),
        )
    ):
        said = works("decompress", "-m", tiny_preset, *options, lam, folder / f"{number}.wav")
        found, rate = soundfile.read(folder / f"{number}.wav", dtype="int16")
        np.testing.assert_array_equal(found, whole[span])
        assert f"{len(found) / rate:.2f} s, 22050 Hz" in said.stderr
    piped = works("decompress", "-m", tiny_preset, "--raw", "--start", "1", "-", "-", input=lam.read_bytes())
    assert piped.stdout_bytes == whole[22050:].tobytes()


def test_times_that_cannot_be(lam: Path, folder: Path, tiny_preset: Path) -> None:
    common = ("decompress", "-m", tiny_preset, lam, folder / "no.wav")
    assert "must lie behind --start 5 s" in refuses(*common, "--start", 5, "--end", 3)
    assert "write 62.5 or 1:02.5" in refuses(*common, "--start", "soon")
    assert "1.500 s long, expected more than the 60.000 s" in fails(*common, "--start", "1:00")
    piped = ("decompress", "-m", tiny_preset, "-", folder / "no.wav", "--start", "1:00")
    assert "the stream: 1.500 s long" in fails(*piped, input=lam.read_bytes())
    assert list(folder.iterdir()) == []


def test_a_damaged_file_is_recovered_on_demand(damaged: Path, folder: Path, tiny_preset: Path) -> None:
    common = ("decompress", "-m", tiny_preset, damaged)
    assert "chunk 0 at byte 43 (0.00 s): checksum" in fails(*common, folder / "a.wav")
    said = works(*common, "--recover", folder / "a.wav")
    assert said.stderr.splitlines()[0] == f"{damaged}: lost 0:00.00 to 0:01.00 (chunk 0)"
    assert soundfile.info(folder / "a.wav").frames == 33075
    said = works(*common, "--recover", "--quiet", folder / "b.wav")
    assert said.stderr == f"{damaged}: lost 0:00.00 to 0:01.00 (chunk 0)\n"
    assert (folder / "a.wav").read_bytes() == (folder / "b.wav").read_bytes()
    said = works("decompress", "-m", tiny_preset, "--recover", "-", "-", input=damaged.read_bytes())
    assert len(said.stdout_bytes) == (folder / "a.wav").stat().st_size


def test_what_cannot_be_recovered(damaged: Path, folder: Path, tiny_preset: Path) -> None:
    target = folder / "old.wav"
    target.write_bytes(b"old")
    common = ("decompress", "-m", tiny_preset, "--recover", "--force", damaged, target)
    content = damaged.read_bytes()
    damaged.write_bytes(content[:100])
    assert "bad.lam: no chunk is left that could be decoded" in fails(*common)
    damaged.write_bytes(content[:10] + b"\xff" + content[11:])
    assert "bad.lam: header at byte 0: checksum" in fails(*common)
    assert target.read_bytes() == b"old"


def test_a_trailer_of_another_file(lam: Path, folder: Path, tiny_preset: Path) -> None:
    """What contradicts the header is an error, and left aside by --recover."""
    content = lam.read_bytes()
    other = folder / "short.wav"
    soundfile.write(other, np.zeros((100, 2)), 22050)
    works("compress", "-m", tiny_preset, other, folder / "short.lam")
    (folder / "mixed.lam").write_bytes(content[:-18] + (folder / "short.lam").read_bytes()[43:])
    assert run("decompress", "-m", tiny_preset, folder / "mixed.lam", folder / "a.wav").exit_code == 1
    works("decompress", "-m", tiny_preset, "--recover", folder / "mixed.lam", folder / "a.wav")
    assert soundfile.info(folder / "a.wav").frames == 33075


@pytest.mark.parametrize(
    ("text", "seconds"), [("62.5", 62.5), ("1:02.5", 62.5), ("1:00:02.5", 3602.5), ("0", 0), ("90:00", 5400)]
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "1:", ":5", "-1", "1:2:3:4", "1.5:00", "nan", "1e3", "1 2"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a time"):
        parse_time(text)


@pytest.mark.parametrize(
    ("part", "seconds", "length"),
    [(Part(0, None), None, None), (Part(1, None), 3.0, 2), (Part(1, 2), None, 1), (Part(5, 9), 3.0, 0)],
)
def test_the_length_of_a_part(part: Part, seconds: float | None, length: float | None) -> None:
    assert part.length_in(seconds) == length
