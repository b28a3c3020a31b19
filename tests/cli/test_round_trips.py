"""Compress and decompress as people meet them: round trips, bitrates, qualities."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile
from support.command_line import folder, lam, refuses, shell, works
from support.sounds import tone

from cli.options import Rate, choose_codebooks, parse_bitrate
from codec.bitstream import Reader
from codec.config import CodecConfig

__all__ = ["folder", "lam"]  # fixtures


class TestRoundTrip:
    @pytest.mark.parametrize("ending", [".wav", ".flac", ".ogg"])
    def test_length_rate_and_channels_come_back(
        self, ending: str, folder: Path, wav: Path, lam: Path, tiny_preset: Path
    ) -> None:
        target = folder / f"again{ending}"
        said = works("decompress", "-m", tiny_preset, lam, target)
        before, after = soundfile.info(wav), soundfile.info(target)
        assert (after.frames, after.samplerate, after.channels) == (
            before.frames, before.samplerate, before.channels
        )  # fmt: skip
        assert said.stdout == ""
        assert "1.50 s, 22050 Hz, 2 channels" in said.stderr

    @pytest.mark.parametrize(("bitrate", "count"), [("1.5k", 3), ("3k", 6), ("6000", 12), ("12K", 24)])
    def test_bitrates(self, bitrate: str, count: int, folder: Path, wav: Path, tiny_preset: Path) -> None:
        by_rate, by_count = folder / "rate.lam", folder / "count.lam"
        works("compress", "-m", tiny_preset, "--bitrate", bitrate, wav, by_rate)
        works("compress", "-m", tiny_preset, "--codebooks", count, wav, by_count)
        assert by_rate.read_bytes() == by_count.read_bytes()
        assert f"{count * 0.5:g}kbit/s a channel ({count} codebooks)" in works("info", by_rate).stdout

    def test_six_is_the_default(self, folder: Path, wav: Path, lam: Path, tiny_preset: Path) -> None:
        works("compress", "-m", tiny_preset, "-b", "6k", wav, folder / "six.lam")
        assert (folder / "six.lam").read_bytes() == lam.read_bytes()

    def test_standard_input_and_output(self, folder: Path, wav: Path, lam: Path, tiny_preset: Path) -> None:
        packed = works("compress", "-m", tiny_preset, "-", "-", input=wav.read_bytes())
        sound = works("decompress", "-m", tiny_preset, "-", "-", input=packed.stdout_bytes).stdout_bytes
        works("decompress", "-m", tiny_preset, lam, folder / "file.wav")
        from_pipe, from_file = soundfile.read(io.BytesIO(sound)), soundfile.read(folder / "file.wav")
        np.testing.assert_array_equal(from_pipe[0], from_file[0])
        assert from_pipe[1] == from_file[1]

    def test_raw_samples(self, folder: Path, wav: Path, tiny_preset: Path) -> None:
        samples, _ = soundfile.read(wav, dtype="int16")
        shape = ("--raw", "--rate", 22050, "--channels", 2)
        packed = works("compress", "-m", tiny_preset, *shape, "-", "-", input=samples.tobytes())
        raw = works("decompress", "-m", tiny_preset, "--raw", "-", "-", input=packed.stdout_bytes)
        assert len(raw.stdout_bytes) == samples.nbytes

    @pytest.mark.parametrize("length", [0, 1, 321])
    def test_short_sounds(self, length: int, folder: Path, tiny_preset: Path) -> None:
        soundfile.write(folder / "in.wav", np.zeros(length, np.float32), 8000)
        works("compress", "-m", tiny_preset, folder / "in.wav", folder / "in.lam")
        works("decompress", "-m", tiny_preset, folder / "in.lam", folder / "out.wav")
        assert soundfile.info(folder / "out.wav").frames == length
        works("info", folder / "in.lam")

    def test_quiet(self, folder: Path, wav: Path, tiny_preset: Path) -> None:
        result = works("compress", "-q", "-m", tiny_preset, wav, folder / "talk.lam")
        result = works("decompress", "-q", "-m", tiny_preset, folder / "talk.lam", folder / "talk.wav")
        assert result.output == ""


@pytest.mark.parametrize(
    ("size", "most", "count"), [(1024, 24, 12), (1024, 4, 3), (16, 24, 24), (2**16, 24, 6)]
)
def test_without_a_bitrate_it_is_what_is_nearest_to_6k(
    tiny_config: CodecConfig, size: int, most: int, count: int
) -> None:
    config = dataclasses.replace(tiny_config, codebook_size=size, num_codebooks=most)
    assert choose_codebooks(config, Rate(None, None)) == count


@pytest.mark.parametrize(
    ("text", "bitrate"), [("6k", 6000), ("1.5K", 1500), ("12000", 12000), (" 3k ", 3000)]
)
def test_bitrates_as_people_write_them(text: str, bitrate: int) -> None:
    assert parse_bitrate(text) == bitrate


@pytest.mark.parametrize("text", ["", "k", "-6k", "6m", "1e3", "6k6", "9" * 30])
def test_what_is_no_bitrate(text: str) -> None:
    with pytest.raises(click.BadParameter):
        parse_bitrate(text)


class TestQuality:
    @pytest.fixture
    def talk(self, folder: Path) -> Path:
        sound = tone(5.0, 16000)
        sound[16000:64000] = 0
        soundfile.write(folder / "talk.wav", sound, 16000)
        return folder / "talk.wav"

    def test_a_file_and_a_pipe(self, talk: Path, folder: Path, tiny_preset: Path) -> None:
        lam, command = folder / "a.lam", f"lamella compress -q -m {tiny_preset} --quality 6"
        said = works("compress", "-m", tiny_preset, "--quality", 6, talk, lam).stderr
        assert re.search(r"a\.lam: 5\.00 s in \d+ bytes, \d+\.\d\d kbit/s", said)
        assert re.search(r"of 24 codebooks on average, 2 of 6 chunks silent", works("info", lam).stdout)
        assert "whole" in works("verify", lam).stdout
        piped = shell(f"{command} {talk} - | lamella decompress -q -m {tiny_preset} - -", check=True)
        works("decompress", "-m", tiny_preset, lam, folder / "a.wav")
        expected, found = soundfile.read(folder / "a.wav")[0], soundfile.read(io.BytesIO(piped.stdout))[0]
        assert len(found) == len(expected) == 80_000
        assert np.abs(found[36_000:60_000]).max() == 0
        np.testing.assert_allclose(found, expected, atol=1e-3)
        live = shell(f"{command} --live --chunk-ms 100 - - < {talk} | lamella info -", check=True)
        assert b"of 50 chunks silent" in live.stdout or b"of 51 chunks silent" in live.stdout

    def test_thinned(self, talk: Path, folder: Path, tiny_preset: Path) -> None:
        works("compress", "-m", tiny_preset, "--quality", 9, talk, folder / "a.lam")
        works("thin", "-m", tiny_preset, "--codebooks", 4, folder / "a.lam", folder / "b.lam")
        with open(folder / "a.lam", "rb") as one, open(folder / "b.lam", "rb") as other:
            pairs = list(zip(Reader(one), Reader(other), strict=True))
        assert {thin.codes.shape[2] for _, thin in pairs} == {0, 4}
        for whole, thin in pairs:
            np.testing.assert_array_equal(thin.codes, whole.codes[..., :4])

    def test_what_is_refused(self, talk: Path, folder: Path, tiny_preset: Path) -> None:
        names = ("-m", tiny_preset, talk, folder / "a.lam")
        assert "not two of them" in refuses("compress", "--quality", 4, "--bitrate", "6k", *names)
        assert "0<=x<=10" in refuses("compress", "--quality", 11, *names)
        assert "No such option" in refuses("thin", "--quality", 4, *names)
