"""`lamella compress`: rates, qualities, raw input, pipes, and sounds that are refused."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.command_line import fails, refuses, shell, works
from support.sounds import tone


@pytest.fixture
def speech_with_pause(folder: Path) -> Path:
    """A sound of 5 s whose seconds 1 to 4 are silent."""
    sound = tone(5.0, 16000)
    sound[16000:64000] = 0
    soundfile.write(folder / "talk.wav", sound, 16000)
    return folder / "talk.wav"


class TestRates:
    @pytest.mark.parametrize(("bitrate", "count"), [("1.5k", 3), ("3k", 6), ("6000", 12), ("12K", 24)])
    def test_a_bitrate_is_a_number_of_codebooks(
        self, bitrate: str, count: int, folder: Path, wav: Path, tiny_preset: Path
    ) -> None:
        by_rate, by_count = folder / "rate.lam", folder / "count.lam"
        works("compress", "-m", tiny_preset, "--bitrate", bitrate, wav, by_rate)
        works("compress", "-m", tiny_preset, "--codebooks", count, wav, by_count)
        assert by_rate.read_bytes() == by_count.read_bytes()
        assert f"{count * 0.5:g} kbit/s per channel ({count} codebooks)" in works("info", by_rate).stdout

    def test_six_kilobits_are_the_default(
        self, folder: Path, wav: Path, lam: Path, tiny_preset: Path
    ) -> None:
        works("compress", "-m", tiny_preset, "-b", "6k", wav, folder / "six.lam")
        assert (folder / "six.lam").read_bytes() == lam.read_bytes()

    def test_a_wrong_rate_is_refused_with_the_supported_ones(
        self, folder: Path, wav: Path, tiny_preset: Path
    ) -> None:
        command = ("compress", "-m", tiny_preset, wav, folder / "no.lam")
        assert "1.5k, 3k, 6k, 12k" in refuses(*command, "--bitrate", "5k")
        assert "1 to 24" in refuses(*command, "--codebooks", 25)
        assert "1 to 24" in refuses(*command, "--codebooks", 0)
        assert "write 6k or 6000" in refuses(*command, "--bitrate", "fast")
        assert list(folder.iterdir()) == []

    def test_only_one_of_the_rates_may_be_given(self, folder: Path, wav: Path, tiny_preset: Path) -> None:
        command = ("compress", "-m", tiny_preset, wav, folder / "no.lam")
        assert "only one of" in refuses(*command, "--codebooks", 3, "--bitrate", "6k")
        assert "only one of" in refuses(*command, "--quality", 4, "--bitrate", "6k")


class TestQuality:
    def test_silent_chunks_have_no_codes(
        self, speech_with_pause: Path, folder: Path, tiny_preset: Path
    ) -> None:
        lam = folder / "a.lam"
        printed = works("compress", "-m", tiny_preset, "--quality", 6, speech_with_pause, lam).stderr
        assert re.search(r"a\.lam: 5\.00 s in \d+ bytes, \d+\.\d\d kbit/s", printed)
        assert re.search(r"of 24 codebooks on average, 2 of 6 chunks silent", works("info", lam).stdout)
        assert "undamaged" in works("verify", lam).stdout
        works("decompress", "-m", tiny_preset, lam, folder / "a.wav")
        sound, _ = soundfile.read(folder / "a.wav")
        assert len(sound) == 80_000
        assert np.abs(sound[36_000:60_000]).max() == 0

    def test_a_live_stream_has_silent_chunks_too(self, speech_with_pause: Path, tiny_preset: Path) -> None:
        live = ("--quality", 6, "--live", "--chunk-ms", 100)
        stream = works("compress", "-m", tiny_preset, *live, "-", "-", input=speech_with_pause.read_bytes())
        printed = works("info", "-", input=stream.stdout_bytes).stdout
        assert re.search(r"of 5[01] chunks silent", printed)

    def test_a_quality_is_a_number_from_0_to_10(self, folder: Path, wav: Path, tiny_preset: Path) -> None:
        command = ("compress", "-m", tiny_preset, wav, folder / "a.lam")
        assert "0<=x<=10" in refuses(*command, "--quality", 11)
        assert "not a finite number" in refuses(*command, "--quality", "nan")


class TestInput:
    def test_a_pipe_gives_the_codes_of_the_file(self, wav: Path, lam: Path, tiny_preset: Path) -> None:
        piped = works("compress", "-m", tiny_preset, "-", "-", input=wav.read_bytes())
        assert piped.stdout_bytes == lam.read_bytes()

    def test_raw_samples_need_their_format(self, folder: Path, wav: Path) -> None:
        for some in (("--raw",), ("--rate", 8000), ("--raw", "--rate", 8000), ("--channels", 1)):
            assert "all three" in refuses("compress", *some, wav, folder / "no.lam")

    def test_raw_samples_come_back_in_full(self, wav: Path, tiny_preset: Path) -> None:
        samples, _ = soundfile.read(wav, dtype="int16")
        raw_format = ("--raw", "--rate", 22050, "--channels", 2)
        packed = works("compress", "-m", tiny_preset, *raw_format, "-", "-", input=samples.tobytes())
        raw = works("decompress", "--raw", "-m", tiny_preset, "-", "-", input=packed.stdout_bytes)
        assert len(raw.stdout_bytes) == samples.nbytes

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_a_sample_that_is_not_a_number_is_an_error_with_its_place(
        self, value: float, folder: Path, tiny_preset: Path
    ) -> None:
        samples = tone(2.5, 16000)
        samples[-1] = value
        soundfile.write(folder / "bad.wav", samples, 16000, "FLOAT")
        line = fails("compress", "-m", tiny_preset, folder / "bad.wav", folder / "bad.lam")
        assert "sample 39999 (2.500 s)" in line
        assert not (folder / "bad.lam").exists()

    @pytest.mark.parametrize("content", [b"", b"this is no sound\n" * 9, b"RIFF", bytes(1000)])
    def test_bytes_that_are_no_sound_leave_the_old_file(
        self, content: bytes, folder: Path, tiny_preset: Path
    ) -> None:
        source, target = folder / "bad.wav", folder / "bad.lam"
        source.write_bytes(content)
        target.write_bytes(b"old")
        assert "bad.wav" in fails("compress", "-m", tiny_preset, "--force", source, target)
        fails("compress", "-m", tiny_preset, "-", target, "--force", input=content)
        assert target.read_bytes() == b"old"

    def test_a_truncated_sound_is_an_error(self, folder: Path, wav: Path, tiny_preset: Path) -> None:
        (folder / "cut.wav").write_bytes(wav.read_bytes()[:-1000])
        fails("compress", "-m", tiny_preset, folder / "cut.wav", folder / "cut.lam")
        assert not (folder / "cut.lam").exists()

    def test_what_is_left_of_a_truncated_sound_is_compressed_on_request(
        self, folder: Path, wav: Path, tiny_preset: Path
    ) -> None:
        cut, lam = folder / "cut.wav", folder / "cut.lam"
        cut.write_bytes(wav.read_bytes()[:-1000])
        command = ("compress", "-m", tiny_preset)
        assert fails(*command, cut, lam).endswith("; --recover compresses what is left\n")
        length, rate = soundfile.info(wav).frames, soundfile.info(wav).samplerate
        left = f"{(length - 250) / rate:.2f} s"
        damage = f"the file is cut or damaged; {left} of {length / rate:.2f} s are left"
        printed = works(*command, "--recover", cut, lam).stderr
        assert printed.startswith(f"{cut}: {damage}\n{lam}: {left} in ")
        soundfile.write(folder / "left.wav", soundfile.read(wav)[0][:-250], rate)
        works(*command, folder / "left.wav", folder / "left.lam")
        assert lam.read_bytes() == (folder / "left.lam").read_bytes()
        piped = works(*command, "--recover", "-", "-", input=cut.read_bytes())
        assert damage in piped.stderr
        assert f"({length - 250} samples)" in works("info", "-", input=piped.stdout_bytes).stdout

    def test_recovery_of_several_files_reports_each_damaged_one(
        self, folder: Path, wav: Path, tiny_preset: Path
    ) -> None:
        (folder / "whole.wav").write_bytes(wav.read_bytes())
        (folder / "cut.wav").write_bytes(wav.read_bytes()[:-1000])
        files = " ".join(shlex.quote(str(folder / name)) for name in ("whole.wav", "cut.wav"))
        options = f"-m {shlex.quote(str(tiny_preset))} --recover --output-dir {shlex.quote(str(folder))}"
        result = shell(f"lamella compress {options} {files}")
        assert result.returncode == 0
        lines = result.stderr.decode().splitlines()
        assert [line.count("cut.wav: the file is cut or damaged; ") for line in sorted(lines)] == [0, 1, 0]
        assert (folder / "whole.lam").exists() and (folder / "cut.lam").exists()

    def test_recovery_of_nothing_is_an_error(self, folder: Path, wav: Path, tiny_preset: Path) -> None:
        (folder / "cut.wav").write_bytes(wav.read_bytes()[:44])
        line = fails("compress", "-m", tiny_preset, "--recover", folder / "cut.wav", folder / "cut.lam")
        assert line.endswith("nothing is left of it\n")
        assert not (folder / "cut.lam").exists()

    @pytest.mark.parametrize(("rate", "channels"), [(4000, 1), (384000, 1), (48000, 9)])
    def test_an_unsupported_format_is_an_error_with_the_supported_ones(
        self, rate: int, channels: int, folder: Path, tiny_preset: Path
    ) -> None:
        soundfile.write(folder / "odd.wav", np.zeros((100, channels)), rate)
        line = fails("compress", "-m", tiny_preset, folder / "odd.wav", folder / "odd.lam")
        assert "expected" in line

    def test_missing_files_and_folders_are_errors(self, folder: Path, tiny_preset: Path) -> None:
        assert "No such file" in fails("compress", "-m", tiny_preset, folder / "no.wav", folder / "no.lam")
        assert "s a directory" in fails("compress", "-m", tiny_preset, folder, folder / "no.lam")

    def test_an_unknown_model_is_an_error(self, folder: Path, wav: Path) -> None:
        assert "nobody" in fails("compress", "-m", "nobody", wav, folder / "no.lam")
        assert "model" in fails("compress", "-m", folder, wav, folder / "no.lam")


def test_a_packet_cannot_have_another_length(folder: Path, wav: Path) -> None:
    packet = ("--packet", "--chunk-ms", 100)
    assert "--packet is one frame" in refuses("compress", *packet, wav, folder / "no.lam")


def test_quiet_prints_nothing(folder: Path, wav: Path, tiny_preset: Path) -> None:
    assert works("compress", "-q", "-m", tiny_preset, wav, folder / "talk.lam").output == ""
