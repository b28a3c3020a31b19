"""The other verbs as people meet them: info, models, demo, thin, verify."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import soundfile
from support.command_line import NEGATIVE, ROOT, fails, folder, lam, refuses, run, shell, works

__all__ = ["folder", "lam"]  # fixtures


def test_info(lam: Path) -> None:
    said = works("info", lam).stdout
    assert "duration:    1.500 s (33075 samples)" in said
    assert "sample rate: 22050 Hz" in said
    assert "channels:    2" in said
    assert said == works("info", "-", input=lam.read_bytes()).stdout


def test_models(monkeypatch: pytest.MonkeyPatch, tiny_preset: Path, tmp_path: Path) -> None:
    monkeypatch.setattr("codec.presets._assets", lambda: tiny_preset.parent)
    assert works("models").stdout.startswith("tiny: Tiny: for tests, untrained\n")
    monkeypatch.setattr("codec.presets._assets", lambda: tmp_path)
    assert "no model came with this installation" in fails("models")


class TestDemo:
    def test_a_file_of_ones_own(self, folder: Path, wav: Path, tiny_preset: Path) -> None:
        table = works("demo", "-m", tiny_preset, "--output", folder, wav).stdout.splitlines()
        rates = ["1.5k", "3k", "6k", "12k"]
        assert [line.split()[0] for line in table[2:6]] == rates
        sizes = [int(line.split()[1]) for line in table[2:6]]
        assert sizes == [(folder / f"{rate}.lam").stat().st_size for rate in rates] == sorted(sizes)
        assert soundfile.info(folder / "12k.wav").frames == soundfile.info(folder / "source.wav").frames
        assert all(float(line.split()[3]) > 0 for line in table[2:6])

    def test_the_shipped_clip(
        self, folder: Path, wav: Path, tiny_preset: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cli.demo.row", lambda *_: "")
        monkeypatch.setattr("codec.presets.samples", lambda: wav.parent)
        assert works("demo", "-m", tiny_preset, "-o", folder / "new").stdout.startswith("talk.wav, ")
        monkeypatch.setattr("codec.presets.samples", lambda: folder / "nothing")
        assert "no clip" in fails("demo", "-m", tiny_preset, "-o", folder / "other")

    def test_a_full_folder_needs_force(
        self, folder: Path, wav: Path, tiny_preset: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cli.demo.row", lambda *_: "")
        (folder / "mine.txt").write_text("mine")
        assert "not empty" in fails("demo", "-m", tiny_preset, "-o", folder, wav)
        works("demo", "-m", tiny_preset, "-o", folder, "--force", wav)
        assert (folder / "mine.txt").read_text() == "mine"

    def test_bad_audio_leaves_no_folder(self, folder: Path, tiny_preset: Path) -> None:
        fails("demo", "-m", tiny_preset, "-o", folder / "new", NEGATIVE / "empty.lam")
        assert not (folder / "new").exists()


class TestThin:
    @pytest.fixture
    def lam(self, wav: Path, folder: Path, tiny_preset: Path) -> Path:
        works("compress", "-q", "--effort", 0, "-m", tiny_preset, "-b", "12k", wav, folder / "full.lam")
        return folder / "full.lam"

    @pytest.mark.parametrize("bitrate", ["1.5k", "3k", "6k", "12k"])
    def test_is_what_compressing_at_that_bitrate_gives_with_one_candidate(
        self, lam: Path, wav: Path, folder: Path, tiny_preset: Path, bitrate: str
    ) -> None:
        works("thin", "-m", tiny_preset, "-b", bitrate, lam, folder / "thin.lam")
        works("compress", "-q", "--effort", 0, "-m", tiny_preset, "-b", bitrate, wav, folder / "anew.lam")
        assert (folder / "thin.lam").read_bytes() == (folder / "anew.lam").read_bytes()

    def test_through_a_pipe(self, lam: Path, folder: Path, tiny_preset: Path) -> None:
        works("thin", "-m", tiny_preset, "--codebooks", 4, lam, folder / "thin.lam")
        piped = shell(f"lamella thin -q -m {tiny_preset} --codebooks 4 - - < {lam}", check=True)
        assert piped.stdout == (folder / "thin.lam").read_bytes()

    def test_more_than_there_is(self, lam: Path, folder: Path, tiny_preset: Path) -> None:
        works("thin", "-m", tiny_preset, "-b", "3k", lam, folder / "thin.lam")
        words = fails("thin", "-m", tiny_preset, "-b", "6k", folder / "thin.lam", folder / "more.lam")
        assert "thin.lam: num_codebooks 12, expected 1 to 6" in words
        assert not (folder / "more.lam").exists()

    def test_damage_leaves_no_file(self, lam: Path, folder: Path, tiny_preset: Path) -> None:
        lam.write_bytes(lam.read_bytes()[:-40])
        assert "full.lam: " in fails("thin", "-m", tiny_preset, "-b", "3k", lam, folder / "thin.lam")
        assert not (folder / "thin.lam").exists()

    def test_below_the_base_and_without_a_rate(self, lam: Path, folder: Path, tiny_preset: Path) -> None:
        assert "below 3" in refuses("thin", "-m", tiny_preset, "--codebooks", 2, lam, folder / "thin.lam")
        assert "say how low" in refuses("thin", "-m", tiny_preset, lam, folder / "thin.lam")


class TestVerify:
    def test_says_what_is_whole(self, folder: Path) -> None:
        shutil.copy(ROOT / "tests" / "golden" / "v1" / "mono.lam", folder / "a.lam")
        shutil.copy(ROOT / "tests" / "golden" / "v1" / "silent.lam", folder / "b.lam")
        lines = works("verify", folder / "a.lam", folder / "b.lam").stdout.splitlines()
        assert [line.split(": ")[1].split(",")[0] for line in lines] == ["whole", "whole"]
        assert works("verify", "--quiet", folder / "a.lam").stdout == ""

    def test_stops_at_the_first_damage_and_says_where(self, folder: Path) -> None:
        good = (ROOT / "tests" / "golden" / "v1" / "mono.lam").read_bytes()
        (folder / "good.lam").write_bytes(good)
        (folder / "bad.lam").write_bytes(good[:60] + bytes([good[60] ^ 1]) + good[61:])
        result = run("verify", folder / "good.lam", folder / "bad.lam", folder / "good.lam")
        assert result.exit_code == 1
        assert result.stdout.count("whole") == 1
        assert "bad.lam: chunk 0 at byte 43 (0.00 s): checksum" in result.stderr

    def test_a_pipe(self) -> None:
        done = shell(f"lamella verify - < {ROOT / 'tests' / 'golden' / 'v1' / 'stereo-live.lam'}", check=True)
        assert b"whole" in done.stdout

    def test_no_file_at_all(self) -> None:
        assert "Missing argument 'FILE...'" in refuses("verify")
