"""Truncated files, failing disks and wrong lengths are found, although libsndfile does not report them."""

from __future__ import annotations

import errno
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.sounds import audio_error, noise, one_line, read_all
from support.streams import Pipe

from codec.audio import AudioReader, AudioWriter
from codec.errors import CodecError


def test_flac_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(30_000), 44100)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # STREAMINFO's 36-bit number of samples: as from an encoder that wrote to a pipe
    data[22:26] = bytes(4)
    reader = AudioReader(io.BytesIO(bytes(data)))
    assert reader.num_samples is None
    assert len(read_all(reader)) == 30_000


def without_xing(path: Path, levels: tuple[float, float]) -> bytes:
    """Return a variable-rate MP3 of 600,000 samples without its first frame, which states the length."""
    with soundfile.SoundFile(path, "w", 44100, 1, compression_level=0.3, bitrate_mode="VARIABLE") as file:
        file.write(np.concatenate([noise(300_000) * level for level in levels]))
    data = path.read_bytes()
    return data[data.index(data[:2], 4) :]


def test_mp3_of_estimated_length_never_loses_its_end_without_an_error(tmp_path: Path) -> None:
    """libsndfile estimates from the first frames. Too long does no harm; too short would lose the end."""
    reader = AudioReader(io.BytesIO(without_xing(tmp_path / "a.mp3", (1e-4, 1))))
    assert reader.num_samples is None
    assert len(read_all(reader)) >= 600_000
    assert "MP3 without a length" in audio_error(io.BytesIO(without_xing(tmp_path / "b.mp3", (1, 1e-4))))


class FailsLater(io.BytesIO):
    """A file on a disk that fails beyond the first 1,000 bytes."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 1000:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(size)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@pytest.mark.parametrize("container", ("WAV", "FLAC"))
def test_a_disk_that_fails_is_reported_as_such(container: str) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(200_000), 8000, format=container)
    with pytest.raises(CodecError, match="cannot be read: Input/output error") as error:
        read_all(AudioReader(FailsLater(buffer.getvalue())))
    one_line(error)


@pytest.mark.parametrize("ending", (".wav", ".flac", ".ogg", ".opus", ".mp3"))
def test_truncated_files_are_refused(tmp_path: Path, ending: str) -> None:
    whole, cut = tmp_path / f"whole{ending}", tmp_path / f"cut{ending}"
    with AudioWriter(whole, 48000, 1) as writer:
        writer.write(noise(200_000))
    data = whole.read_bytes()
    for size in (len(data) // 2, len(data) - 600):
        cut.write_bytes(data[:size])
        assert "truncated" in audio_error(cut)
    assert "truncated" in audio_error(Pipe(data[: len(data) // 2], 1000))  # type: ignore[arg-type]
