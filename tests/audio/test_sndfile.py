"""Truncated files, failing disks and wrong lengths are found, although libsndfile does not report them."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.sounds import audio_error, noise, one_line, read_all
from support.streams import Pipe

from codec.audio import AudioReader, AudioWriter
from codec.audio.sndfile import FORMATS
from codec.errors import AudioError, CodecError


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


@pytest.mark.parametrize("levels", ((1e-4, 1), (1, 1e-4)))
def test_mp3_without_a_length_is_read_whole(tmp_path: Path, levels: tuple[float, float]) -> None:
    """libsndfile estimates the length from the first frames: here too long and too short."""
    reader = AudioReader(io.BytesIO(without_xing(tmp_path / "a.mp3", levels)))
    assert reader.num_samples == len(read_all(reader)) == 601_344  # all frames, with the delay of the encoder


@pytest.mark.parametrize("error", (KeyboardInterrupt, MemoryError))
def test_an_exception_while_libsndfile_reads_is_not_lost(error: type[BaseException]) -> None:
    """Ctrl-C ends the run although it comes in a function that C code called."""

    class Interrupted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 1000:
                raise error
            return super().read(size)

    buffer = io.BytesIO()
    soundfile.write(buffer, noise(200_000), 8000, format="AIFF")
    with pytest.raises(error):
        read_all(AudioReader(Interrupted(buffer.getvalue())))


def test_a_signal_while_libsndfile_runs_is_raised_when_it_has_returned(tmp_path: Path) -> None:
    """An exception in a function that C code calls would be printed and lost."""
    armed, completed = [], []

    class Signals(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if armed:
                armed.clear()
                signal.raise_signal(signal.SIGINT)  # for this thread: another one might not hold it back
                completed.append(self.tell())
            return super().read(size)

    buffer = io.BytesIO()
    soundfile.write(buffer, noise(200_000), 8000, format="AIFF")
    with AudioReader(Signals(buffer.getvalue())) as reader:
        armed.append(True)
        with pytest.raises(KeyboardInterrupt):
            read_all(reader)
    assert completed


def test_standard_error_works_again_after_mp3(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with AudioWriter(tmp_path / "a.mp3", 48000, 1) as writer:
        writer.write(noise(50_000))
    data = bytearray((tmp_path / "a.mp3").read_bytes())
    for place in range(2000, len(data), 97):
        data[place] ^= 0x55
    with contextlib.suppress(AudioError):
        read_all(AudioReader(io.BytesIO(bytes(data))))
    os.write(2, b"seen")
    assert capfd.readouterr().err == "seen"


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


def test_flac_with_more_sound_than_it_states_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", noise(200_000), 44100)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[22:26] = (20_000).to_bytes(4, "big")  # STREAMINFO's number of samples
    assert "damaged: more follows after the 20000 samples that it states" in audio_error(io.BytesIO(data))


CONTAINERS = [
    (container, subtype, endian)
    for container, subtype in (
        ("WAV", "ALAW"),
        ("WAV", "IMA_ADPCM"),
        ("RF64", "PCM_16"),
        ("RF64", "ULAW"),
        ("W64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("AIFF", "ULAW"),
        ("AU", "PCM_16"),
        ("CAF", "PCM_16"),
        ("CAF", "ALAC_16"),
        ("SVX", "PCM_16"),
        ("NIST", "PCM_16"),
    )
    for endian in ("FILE", "LITTLE", "BIG")
    if soundfile.check_format(container, subtype, endian)
]


@pytest.mark.parametrize(("container", "subtype", "endian"), CONTAINERS)
def test_truncated_containers_are_refused(container: str, subtype: str, endian: str) -> None:
    """libsndfile reads a shorter sound from them."""
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(20_000), 8000, subtype, endian, container)
    data = buffer.getvalue()
    assert len(read_all(AudioReader(io.BytesIO(data)))) >= 20_000
    for size in (len(data) // 2, len(data) - 600):
        assert "truncated" in audio_error(io.BytesIO(data[:size]))
        assert "truncated" in audio_error(Pipe(data[:size], 1000))  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", FORMATS)
def test_truncated_files_are_refused(tmp_path: Path, ending: str) -> None:
    whole, cut = tmp_path / f"whole{ending}", tmp_path / f"cut{ending}"
    with AudioWriter(whole, 48000, 1) as writer:
        writer.write(noise(200_000))
    data = whole.read_bytes()
    for size in (len(data) // 2, len(data) - 600):
        cut.write_bytes(data[:size])
        assert "truncated" in audio_error(cut)
    assert "truncated" in audio_error(Pipe(data[: len(data) // 2], 1000))  # type: ignore[arg-type]
