"""Files made to mislead, in tests/negative/crafted: README.md there says what is promised for each."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import soundfile
from support.command_line import NEGATIVE, fails, works

CRAFTED = NEGATIVE / "crafted"
BOMB, LIVE_BOMB = CRAFTED / "silence-bomb.lam", CRAFTED / "silence-bomb-live.lam"


class TestBomb:
    @pytest.mark.parametrize("command", ["decompress", "decompress --recover", "thin --codebooks 3"])
    def test_is_refused_before_anything_is_written(self, command: str, folder: Path) -> None:
        line = fails(*command.split(), BOMB, folder / "out.wav")
        assert f"{BOMB}: " in line and "s of sound in 1903 bytes, expected at most 1719 s" in line
        assert "--force" in line and ("--max-duration" in line) == ("thin" not in command)
        assert list(folder.iterdir()) == []

    def test_that_does_not_fit_on_the_disk_is_refused(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        disk = shutil.disk_usage(folder)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: disk._replace(free=150_000_000))
        line = fails("decompress", CRAFTED / "minute.lam", folder / "a.wav")
        assert "60 s of sound take up to 184 MB, expected at most 142 MB: 95 % of the free space" in line
        assert list(folder.iterdir()) == []

    @pytest.mark.parametrize("verb", ["verify", "info"])
    def test_can_be_looked_at(self, verb: str) -> None:
        for file in (BOMB, LIVE_BOMB):
            assert "12000.00" in works(verb, file).stdout

    def test_gives_an_excerpt(self, folder: Path) -> None:
        works("decompress", "--start", "3:00:00", "--end", "3:00:01", BOMB, folder / "a.wav")
        assert soundfile.info(folder / "a.wav").duration == 1

    @pytest.mark.parametrize("file", [BOMB, LIVE_BOMB])
    def test_ends_at_the_maximum_duration(self, file: Path, folder: Path) -> None:
        command = ("decompress", "--max-duration", "0:02", "-", folder / "a.wav")
        assert "more than 2 s of sound" in fails(*command, input=file.read_bytes())
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["more-frames", "padding"])
def test_verify_and_info_refuse_what_decompress_refuses(name: str, folder: Path) -> None:
    file = CRAFTED / f"{name}.lam"
    line = fails("decompress", file, folder / "a.wav")
    assert fails("verify", file) == fails("info", file) == line
    piped = fails("decompress", "-", folder / "a.wav", input=file.read_bytes())
    assert fails("verify", "-", input=file.read_bytes()) == piped
    assert list(folder.iterdir()) == []


def test_codes_without_a_frame_for_the_delay_give_all_samples(folder: Path) -> None:
    file = CRAFTED / "no-delay-frame.lam"
    assert "undamaged, 1.20 s" in works("verify", file).stdout
    works("decompress", file, folder / "a.wav")
    works("decompress", "-", folder / "b.wav", input=file.read_bytes())
    assert soundfile.info(folder / "a.wav").frames == soundfile.info(folder / "b.wav").frames == 57_600


@pytest.mark.parametrize(("name", "samples"), [("header-lost", 100_000), ("header-byte", 20_000)])
def test_a_damaged_header_costs_nothing_with_recover(name: str, samples: int, folder: Path) -> None:
    file = CRAFTED / f"{name}.lam"
    assert "; `lamella decompress --recover` repairs the header" in fails("verify", file)
    assert f"{name}.lam: " in fails("decompress", file, folder / "a.wav")
    result = works("decompress", "--recover", "--quiet", file, folder / "a.wav")
    assert result.stderr == f"{file}: repaired the damaged header\n"
    assert soundfile.info(folder / "a.wav").frames == samples
    piped = works("decompress", "--recover", "--quiet", "-", folder / "b.wav", input=file.read_bytes())
    assert piped.stderr == "-: repaired the damaged header\n"
    assert (folder / "a.wav").read_bytes() == (folder / "b.wav").read_bytes()
