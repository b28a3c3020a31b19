"""The limit of decompression: a small file cannot fill a disk, and a long recording needs no option."""

from __future__ import annotations

import dataclasses
import io
import math
import shutil
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
from support.coding import compressed, wav_of
from support.sounds import tone
from support.streams import Pipe

from codec import bitstream
from codec.coding.decompression import decompress
from codec.coding.encoder_stream import EncoderStream
from codec.errors import TooLong
from codec.presets import model_id
from codec.protocol import StreamingCodec


def silence(model: StreamingCodec, minutes: int, channels: int, *, live: bool) -> bytes:
    """Return a file of chunks of a minute of silence."""
    header = bitstream.Header(
        sample_rate=16000,
        channels=channels,
        num_samples=None if live else minutes * 60 * 16000,
        model_id=model_id(model),
        num_codebooks=2,
        bits_per_code=16,
        frames_per_chunk=30_000,
        model_sample_rate=16000,
        hop_length=32,
        varies=True,
    )
    file = io.BytesIO()
    writer = bitstream.Writer(file, header)
    for _ in range(minutes):
        writer.write_chunk(np.zeros((channels, 30_000, 0), int))
    writer.close(minutes * 60 * 16000)
    return file.getvalue()


def never_opened(*_: object, **__: object) -> Any:
    raise AssertionError("nothing is written")


class TestLimit:
    def test_refuses_a_file_for_much_more_than_its_size_lets_expect(
        self, samples_as_codes: StreamingCodec, tmp_path: Path
    ) -> None:
        lam = tmp_path / "bomb.lam"
        lam.write_bytes(silence(samples_as_codes, 1_000, 8, live=False))
        target = tmp_path / "bomb.wav"
        with pytest.raises(TooLong) as error:
            decompress(lam, target, model=samples_as_codes, open_writer=never_opened)
        message = str(error.value)
        assert message.startswith(f"{lam}: 60000 s of sound in {lam.stat().st_size} bytes, expected at most ")
        assert "--max-duration" in message and "\n" not in message
        assert list(tmp_path.iterdir()) == [lam]

    @pytest.mark.parametrize("live", (False, True))
    def test_stops_a_pipe_whose_sound_outgrows_its_bytes_and_removes_the_unfinished_file(
        self, samples_as_codes: StreamingCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, live: bool
    ) -> None:
        monkeypatch.setattr(bitstream.limits, "ALWAYS_ALLOWED", 20)
        pipe = Pipe(silence(samples_as_codes, 100, 8, live=live), step=100)
        with pytest.raises(TooLong, match=r"s of sound in \d+ bytes, expected at most \d+ s; "):
            decompress(cast(BinaryIO, pipe), tmp_path / "bomb.wav", model=samples_as_codes)
        assert len(pipe.data) > 100 and list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("piped", (False, True))
    def test_leaves_space_on_the_disk(
        self, samples_as_codes: StreamingCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piped: bool
    ) -> None:
        data = silence(samples_as_codes, 2, 1, live=piped)
        disk = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: disk._replace(free=2_000_000))
        lam = cast(BinaryIO, Pipe(data) if piped else io.BytesIO(data))
        with pytest.raises(
            TooLong, match=r"s of sound take up to .* MB, expected at most 2 MB: 95 % of the free"
        ):
            decompress(lam, tmp_path / "a.wav", model=samples_as_codes)
        assert list(tmp_path.iterdir()) == []
        decompress(io.BytesIO(data), tmp_path / "a.wav", model=samples_as_codes, max_duration=120)
        decompress(io.BytesIO(data), tmp_path / "a.mp3", model=samples_as_codes, end=100)  # takes less

    @pytest.mark.parametrize("opened", (io.BytesIO, Pipe))
    def test_is_what_the_caller_says(self, samples_as_codes: StreamingCodec, opened: Any) -> None:
        lam = compressed(wav_of(tone(1.5, 16000), 16000), samples_as_codes, 32)
        for most in (1.5, 1e6, math.inf):
            report = decompress(opened(lam), io.BytesIO(), model=samples_as_codes, max_duration=most)
            assert report.seconds == 1.5
        with pytest.raises(TooLong, match=r"the stream: more than 1.4 s of sound"):
            decompress(opened(lam), io.BytesIO(), model=samples_as_codes, max_duration=1.4)
        part = decompress(opened(lam), io.BytesIO(), model=samples_as_codes, max_duration=1, end=0.75)
        assert part.seconds == 0.75

    @pytest.mark.parametrize("most", (0, -1.0, math.nan))
    def test_must_be_a_positive_number(self, samples_as_codes: StreamingCodec, most: float) -> None:
        lam = compressed(wav_of(tone(0.5, 16000), 16000), samples_as_codes, 32)
        with pytest.raises(ValueError, match="`max_duration` must be a positive number of seconds"):
            decompress(io.BytesIO(lam), io.BytesIO(), model=samples_as_codes, max_duration=most)

    @pytest.mark.parametrize("channels", (1, 8))
    def test_allows_hours_of_silence_in_a_recording(
        self, samples_as_codes: StreamingCodec, channels: int
    ) -> None:
        """The chunks are those that `compress` writes. Three seconds of the three hours are not silent."""
        header = dataclasses.replace(
            EncoderStream(samples_as_codes, 16000, channels, num_codebooks=32).header(None),
            varies=True,
            frames_per_chunk=500,
        )
        file, length = io.BytesIO(), 3 * 3_600
        writer = bitstream.Writer(file, header)
        for second in range(length):
            writer.write_chunk(np.zeros((channels, 500, 32 if second % 3_600 == 1_800 else 0), int))
        writer.write_chunk(np.zeros((channels, 1, 0), int))
        writer.close(length * 16000)
        report = decompress(
            io.BytesIO(file.getvalue()), io.BytesIO(), model=samples_as_codes, start=length - 1.0
        )
        assert report.seconds == 1
        assert bitstream.plausible_seconds(len(file.getvalue()), channels) > length
