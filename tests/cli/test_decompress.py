"""`lamella decompress`: formats, models, excerpts, and damaged files."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.command_line import GOLDEN, NEGATIVE, fails, refuses, run, works

from cli.decompress import describe
from codec.coding.decompression import DecompressionReport

RATE = 22050  # Hz, of the fixture `lam`


@pytest.fixture
def damaged(lam: Path, folder: Path) -> Path:
    """The file `lam` with a changed byte in its first second."""
    content = bytearray(lam.read_bytes())
    content[60] ^= 1
    path = folder / "bad.lam"
    path.write_bytes(content)
    return path


class TestOutput:
    @pytest.mark.parametrize("ending", [".wav", ".flac", ".ogg"])
    def test_length_rate_and_channels_come_back(
        self, ending: str, folder: Path, wav: Path, lam: Path, tiny_preset: Path
    ) -> None:
        target = folder / f"again{ending}"
        result = works("decompress", "-m", tiny_preset, lam, target)
        before, after = soundfile.info(wav), soundfile.info(target)
        assert after.frames == before.frames
        assert after.samplerate == before.samplerate
        assert after.channels == before.channels
        assert result.stdout == ""
        assert "1.50 s, 22050 Hz, 2 channels" in result.stderr

    @pytest.mark.parametrize("length", [0, 1, 321])
    def test_short_sounds_come_back(self, length: int, folder: Path, tiny_preset: Path) -> None:
        soundfile.write(folder / "in.wav", np.zeros(length, np.float32), 8000)
        works("compress", "-m", tiny_preset, folder / "in.wav", folder / "in.lam")
        works("decompress", "-m", tiny_preset, folder / "in.lam", folder / "out.wav")
        assert soundfile.info(folder / "out.wav").frames == length
        works("info", folder / "in.lam")

    def test_a_pipe_gives_the_samples_of_the_file(self, folder: Path, lam: Path, tiny_preset: Path) -> None:
        piped = works("decompress", "-m", tiny_preset, "-", "-", input=lam.read_bytes()).stdout_bytes
        works("decompress", "-m", tiny_preset, lam, folder / "file.wav")
        from_pipe, rate = soundfile.read(io.BytesIO(piped))
        assert rate == RATE
        np.testing.assert_array_equal(from_pipe, soundfile.read(folder / "file.wav")[0])

    def test_an_unknown_ending_is_an_error_with_the_known_ones(
        self, folder: Path, lam: Path, tiny_preset: Path
    ) -> None:
        assert ".flac" in fails("decompress", "-m", tiny_preset, lam, folder / "talk.xyz")

    def test_quiet_prints_nothing(self, folder: Path, lam: Path, tiny_preset: Path) -> None:
        assert works("decompress", "-q", "-m", tiny_preset, lam, folder / "talk.wav").output == ""


class TestClipping:
    @staticmethod
    def report(clipped: int, peak: float) -> DecompressionReport:
        return DecompressionReport(
            seconds=2.0,
            sample_rate=48000,
            channels=1,
            num_samples=96000,
            clipped=clipped,
            peak=peak,
            losses=(),
        )

    def test_is_not_mentioned_where_it_is_inaudible(self) -> None:
        assert describe(self.report(0, 0.8)) == "2.00 s, 48000 Hz, 1 channel"
        assert describe(self.report(30, 1.05)) == "2.00 s, 48000 Hz, 1 channel"

    def test_comes_with_a_remedy(self) -> None:
        for clipped, peak, excess in ((3, 1.5, "3.6 dB"), (960, 1.01, "0.1 dB")):
            assert f"lower the original by {excess} and" in describe(self.report(clipped, peak))


class TestModel:
    def test_is_found_by_the_identity_in_the_file(
        self, folder: Path, lam: Path, tiny_preset: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LAMELLA_MODELS", str(tiny_preset.parent))
        works("decompress", lam, folder / "found.wav")
        works("decompress", "-m", tiny_preset, lam, folder / "given.wav")
        assert (folder / "found.wav").read_bytes() == (folder / "given.wav").read_bytes()
        piped = works("decompress", "--raw", "-", "-", input=lam.read_bytes()).stdout_bytes
        samples, _ = soundfile.read(folder / "found.wav", dtype="int16")
        assert piped == samples.tobytes()

    def test_that_is_not_installed_is_an_error_with_the_identity(self, folder: Path, lam: Path) -> None:
        identity = works("info", lam).stdout.split("model:")[1].split()[0]
        assert identity in fails("decompress", lam, folder / "no.wav")
        assert identity in fails("decompress", "-", folder / "no.wav", input=lam.read_bytes())
        assert list(folder.iterdir()) == []

    def test_of_the_option_cannot_decode_the_file_of_another(self, folder: Path, tiny_preset: Path) -> None:
        line = fails("decompress", "-m", tiny_preset, GOLDEN / "mono.lam", folder / "no.wav")
        assert "mono.lam: no model has the identity 0123456789abcdef" in line
        assert not (folder / "no.wav").exists()


class TestExcerpt:
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (("--start", "0:00.5", "--end", "1.25"), slice(RATE // 2, round(1.25 * RATE))),
            (("--start", "1"), slice(RATE, None)),
            (("--end", "0:0:1"), slice(0, RATE)),
            (("--start", "1.4", "--end", "1:00"), slice(round(1.4 * RATE), None)),
        ],
    )
    def test_has_the_samples_of_the_whole(
        self, options: tuple[str, ...], expected: slice, lam: Path, folder: Path, tiny_preset: Path
    ) -> None:
        works("decompress", "-m", tiny_preset, lam, folder / "all.wav")
        whole, _ = soundfile.read(folder / "all.wav", dtype="int16")
        printed = works("decompress", "-m", tiny_preset, *options, lam, folder / "part.wav").stderr
        part, _ = soundfile.read(folder / "part.wav", dtype="int16")
        np.testing.assert_array_equal(part, whole[expected])
        assert f"{len(part) / RATE:.2f} s, 22050 Hz" in printed
        raw = ("--raw", "-m", tiny_preset, *options, "-", "-")
        assert works("decompress", *raw, input=lam.read_bytes()).stdout_bytes == part.tobytes()

    def test_that_is_not_in_the_sound_is_an_error(self, lam: Path, folder: Path, tiny_preset: Path) -> None:
        command = ("decompress", "-m", tiny_preset, lam, folder / "no.wav")
        assert "must be later than --start 5 s" in refuses(*command, "--start", 5, "--end", 3)
        assert "write 62.5 or 1:02.5" in refuses(*command, "--start", "soon")
        assert "1.500 s" in fails(*command, "--start", "1:00")
        piped = ("decompress", "-m", tiny_preset, "-", folder / "no.wav", "--start", "1:00")
        assert "1.500 s" in fails(*piped, input=lam.read_bytes())
        assert list(folder.iterdir()) == []


class TestMaxDuration:
    def test_and_force_allow_what_the_default_refuses(
        self, lam: Path, folder: Path, tiny_preset: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        disk = shutil.disk_usage(folder)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: disk._replace(free=1000))
        command = ("decompress", "-m", tiny_preset, lam, folder / "a.wav")
        assert "of the free space of the target" in fails(*command)
        assert "talk.lam: more than 1 s of sound" in fails(*command, "--max-duration", "0:01")
        assert list(folder.iterdir()) == []
        works(*command, "--max-duration", "1.5")
        works(*command, "--force")

    def test_must_be_a_time(self, lam: Path, folder: Path) -> None:
        for wrong in ("0", "long", "-1"):
            assert "--max-duration" in refuses("decompress", lam, folder / "a.wav", "--max-duration", wrong)


class TestDamage:
    @pytest.mark.parametrize("name", sorted(path.name for path in NEGATIVE.glob("*.lam")))
    def test_is_an_error_that_leaves_the_old_file(self, name: str, folder: Path, tiny_preset: Path) -> None:
        target = folder / "bad.wav"
        target.write_bytes(b"old")
        assert name in fails("decompress", "-m", tiny_preset, "--force", NEGATIVE / name, target)
        content = (NEGATIVE / name).read_bytes()
        fails("decompress", "-m", tiny_preset, "--force", "-", target, input=content)
        assert target.read_bytes() == b"old"

    @pytest.mark.parametrize("damage", ["cut", "flip"])
    def test_after_a_good_beginning_leaves_no_file(
        self, damage: str, folder: Path, lam: Path, tiny_preset: Path
    ) -> None:
        content = bytearray(lam.read_bytes())
        content = content[:-200] if damage == "cut" else content
        content[-200] ^= 16
        (folder / "bad.lam").write_bytes(content)
        assert "bad.lam" in fails("decompress", "-m", tiny_preset, folder / "bad.lam", folder / "bad.wav")
        assert not (folder / "bad.wav").exists()
        assert "bad.lam" in fails("info", folder / "bad.lam")

    def test_is_concealed_with_recover(self, damaged: Path, folder: Path, tiny_preset: Path) -> None:
        command = ("decompress", "-m", tiny_preset, damaged)
        assert "chunk 0 at byte 43 (0.00 s): checksum" in fails(*command, folder / "a.wav")
        lost = f"{damaged}: lost 0:00.00 to 0:01.00 (chunk 0)"
        printed = works(*command, "--recover", folder / "a.wav").stderr
        assert printed.splitlines()[0] == lost
        assert soundfile.info(folder / "a.wav").frames == round(1.5 * RATE)
        assert works(*command, "--recover", "--quiet", folder / "b.wav").stderr == f"{lost}\n"
        assert (folder / "a.wav").read_bytes() == (folder / "b.wav").read_bytes()
        piped = ("decompress", "-m", tiny_preset, "--recover", "-", "-")
        sound = works(*piped, input=damaged.read_bytes()).stdout_bytes
        assert len(sound) == (folder / "a.wav").stat().st_size

    def test_of_everything_cannot_be_recovered(self, damaged: Path, folder: Path, tiny_preset: Path) -> None:
        target = folder / "old.wav"
        target.write_bytes(b"old")
        command = ("decompress", "-m", tiny_preset, "--recover", "--force", damaged, target)
        content = damaged.read_bytes()
        damaged.write_bytes(content[:100])
        assert "bad.lam: no chunk" in fails(*command)
        damaged.write_bytes(content[:10] + b"\xff\xff" + content[12:-43])
        assert "bad.lam: header at byte 0: checksum" in fails(*command)
        assert target.read_bytes() == b"old"

    def test_of_the_trailer_does_not_change_the_length_with_recover(
        self, lam: Path, folder: Path, tiny_preset: Path
    ) -> None:
        soundfile.write(folder / "short.wav", np.zeros((100, 2)), RATE)
        works("compress", "-m", tiny_preset, folder / "short.wav", folder / "short.lam")
        trailer = (folder / "short.lam").read_bytes()[43:]
        (folder / "mixed.lam").write_bytes(lam.read_bytes()[:-18] + trailer)
        command = ("decompress", "-m", tiny_preset, folder / "mixed.lam", folder / "a.wav")
        assert run(*command).exit_code == 1
        works(*command, "--recover")
        assert soundfile.info(folder / "a.wav").frames == round(1.5 * RATE)
