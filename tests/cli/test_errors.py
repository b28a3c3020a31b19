"""Manners of the command, and bad input: one line and exit code 1, and nothing overwritten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.command_line import NEGATIVE, ROOT, fails, folder, lam, refuses, run, works
from support.sounds import tone

import codec
from cli.main import one_line

__all__ = ["folder", "lam"]  # fixtures


class TestBadSound:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_samples_that_are_no_numbers(self, value: float, folder: Path, tiny_preset: Path) -> None:
        samples = tone(2.5, 16000)
        samples[-1] = value
        soundfile.write(folder / "bad.wav", samples, 16000, "FLOAT")
        line = fails("compress", "-m", tiny_preset, folder / "bad.wav", folder / "bad.lam")
        assert "sample 39999 (2.500 s)" in line
        assert not (folder / "bad.lam").exists()

    @pytest.mark.parametrize("content", [b"", b"this is no sound\n" * 9, b"RIFF", bytes(1000)])
    def test_what_is_no_sound(self, content: bytes, folder: Path, tiny_preset: Path) -> None:
        source, target = folder / "bad.wav", folder / "bad.lam"
        source.write_bytes(content)
        target.write_bytes(b"old")
        assert "bad.wav" in fails("compress", "-m", tiny_preset, "--force", source, target)
        fails("compress", "-m", tiny_preset, "-", target, "--force", input=content)
        assert target.read_bytes() == b"old"

    def test_truncated(self, folder: Path, wav: Path, tiny_preset: Path) -> None:
        (folder / "cut.wav").write_bytes(wav.read_bytes()[:-1000])
        fails("compress", "-m", tiny_preset, folder / "cut.wav", folder / "cut.lam")
        assert not (folder / "cut.lam").exists()

    @pytest.mark.parametrize(("rate", "channels"), [(4000, 1), (384000, 1), (48000, 9)])
    def test_unsupported_shapes(self, rate: int, channels: int, folder: Path, tiny_preset: Path) -> None:
        soundfile.write(folder / "odd.wav", np.zeros((100, channels)), rate)
        line = fails("compress", "-m", tiny_preset, folder / "odd.wav", folder / "odd.lam")
        assert "expected" in line

    def test_missing_files_and_folders(self, folder: Path, wav: Path, tiny_preset: Path) -> None:
        assert "No such file" in fails("compress", "-m", tiny_preset, folder / "no.wav", folder / "no.lam")
        assert "s a directory" in fails("compress", "-m", tiny_preset, folder, folder / "no.lam")


class TestBadStream:
    @pytest.mark.parametrize("name", sorted(path.name for path in NEGATIVE.glob("*.lam")))
    def test_damaged_files(self, name: str, folder: Path, tiny_preset: Path) -> None:
        target = folder / "bad.wav"
        target.write_bytes(b"old")
        assert name in fails("decompress", "-m", tiny_preset, "--force", NEGATIVE / name, target)
        content = (NEGATIVE / name).read_bytes()
        fails("decompress", "-m", tiny_preset, "--force", "-", target, input=content)
        assert target.read_bytes() == b"old"

    @pytest.mark.parametrize("damage", ["cut", "flip"])
    def test_damage_behind_a_good_start(
        self, damage: str, folder: Path, lam: Path, tiny_preset: Path
    ) -> None:
        content = bytearray(lam.read_bytes())
        content = content[:-200] if damage == "cut" else content
        content[-200] ^= 16
        (folder / "bad.lam").write_bytes(content)
        assert "bad.lam" in fails("decompress", "-m", tiny_preset, folder / "bad.lam", folder / "bad.wav")
        assert not (folder / "bad.wav").exists()
        assert "bad.lam" in fails("info", folder / "bad.lam")

    def test_another_model(self, folder: Path, tiny_preset: Path) -> None:
        golden = ROOT / "tests" / "golden" / "v1" / "mono.lam"
        line = fails("decompress", "-m", tiny_preset, golden, folder / "no.wav")
        assert "expected" in line
        assert "model" in line
        assert not (folder / "no.wav").exists()

    def test_unknown_endings_are_listed(self, folder: Path, lam: Path, tiny_preset: Path) -> None:
        assert ".flac" in fails("decompress", "-m", tiny_preset, lam, folder / "talk.xyz")


class TestManners:
    def test_nothing_is_overwritten_without_force(
        self, folder: Path, wav: Path, lam: Path, tiny_preset: Path
    ) -> None:
        target = folder / "there"
        target.write_bytes(b"mine")
        assert "--force" in fails("compress", "-m", tiny_preset, wav, target)
        assert "--force" in fails("decompress", "-m", tiny_preset, lam, target)
        assert target.read_bytes() == b"mine"
        works("compress", "-m", tiny_preset, "-f", wav, target)
        assert target.read_bytes() == lam.read_bytes()

    @pytest.mark.parametrize("place", ["nothing/talk.lam", "/proc/talk.lam", "."])
    def test_places_that_cannot_be_written(
        self, place: str, folder: Path, wav: Path, tiny_preset: Path
    ) -> None:
        fails("compress", "-m", tiny_preset, wav, folder / place)

    def test_wrong_rates_say_which_there_are(self, folder: Path, wav: Path, tiny_preset: Path) -> None:
        common = ("compress", "-m", tiny_preset, wav, folder / "no.lam")
        assert "1.5k, 3k, 6k, 12k" in refuses(*common, "--bitrate", "5k")
        assert "1 to 24" in refuses(*common, "--codebooks", 25)
        assert "1 to 24" in refuses(*common, "--codebooks", 0)
        assert "not both" in refuses(*common, "--codebooks", 3, "--bitrate", "6k")
        assert "write 6k or 6000" in refuses(*common, "--bitrate", "fast")
        assert list(folder.iterdir()) == []

    def test_raw_takes_all_three(self, folder: Path, wav: Path) -> None:
        for some in (("--raw",), ("--rate", 8000), ("--raw", "--rate", 8000), ("--channels", 1)):
            assert "all three" in refuses("compress", *some, wav, folder / "no.lam")

    def test_unknown_models(self, folder: Path, wav: Path) -> None:
        assert "no model 'nobody'" in fails("compress", "-m", "nobody", wav, folder / "no.lam")
        assert "no model" in fails("compress", "-m", folder, wav, folder / "no.lam")

    def test_a_device_is_written_to(self, wav: Path, tiny_preset: Path) -> None:
        works("compress", "-m", tiny_preset, wav, "/dev/null")
        assert not Path("/dev/null").is_file()

    def test_interrupted(
        self, folder: Path, wav: Path, tiny_preset: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(self: object, codes: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("codec.bitstream.Writer.write_chunks", interrupt)
        assert "interrupted" in fails("compress", "-m", tiny_preset, wav, folder / "talk.lam")
        assert list(folder.iterdir()) == []

    def test_version(self) -> None:
        assert works("--version").stdout == f"lamella, version {codec.__version__}\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (BrokenPipeError(32, "Broken pipe"), "whoever read the output has stopped reading"),
        (FileNotFoundError(2, "No such file or directory", "a.wav"), "a.wav: No such file or directory"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("odd"), "odd"),
        (codec.CodecError("two\nlines"), "two lines"),
        (MemoryError(), "not enough memory"),
        (KeyError("x"), "internal error, please report it: KeyError: 'x'"),
    ],
)
def test_every_error_is_one_line(error: BaseException, line: str) -> None:
    assert one_line(error) == line


def test_a_traceback_for_those_who_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAMELLA_TRACEBACK", "1")
    assert isinstance(run("info", tmp_path / "no.lam").exception, codec.CodecError)
