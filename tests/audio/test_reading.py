"""Readers give the samples of files and pipes, and a one-line error for what is broken or unsupported."""

from __future__ import annotations

import contextlib
import io
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sounds import audio_error, noise, one_line, read_all
from support.streams import Pipe

from codec.audio import MAX_CHANNELS, AudioReader, AudioWriter, RawReader
from codec.audio.sndfile import FORMATS
from codec.audio.wav import RAW, wav_header
from codec.errors import AudioError, CodecError

CONTAINERS = ("WAV", "FLAC", "OGG", "AIFF", "MP3", "CAF")
SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "IMA_ADPCM")


@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("channels", (1, 2))
def test_wav_reads_as_libsndfile_reads_it(tmp_path: Path, subtype: str, channels: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(3000, channels), 22050, subtype=subtype)
    expected = soundfile.read(path, dtype="float32", always_2d=True)[0]
    for source in (path, path.read_bytes()):
        reader = AudioReader(source if isinstance(source, Path) else Pipe(source, 1000))  # type: ignore[arg-type]
        assert (reader.sample_rate, reader.channels, reader.num_samples) == (22050, channels, len(expected))
        np.testing.assert_array_equal(read_all(reader), expected)


@pytest.mark.parametrize("channels", range(1, MAX_CHANNELS + 1))
@pytest.mark.parametrize("container", ("WAV", "WAVEX", "RF64", "W64", "FLAC", "AIFF", "CAF", "OGG"))
def test_containers_and_channels_read_from_streams_and_pipes(container: str, channels: int) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(2000, channels), 48000, format=container)
    data = buffer.getvalue()
    expected = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]
    for stream in (io.BytesIO(data), Pipe(data, 1000)):
        np.testing.assert_array_equal(read_all(AudioReader(stream)), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", (".mp3", ".ogg", ".opus", ".flac", ".aif"))
def test_compressed_formats_keep_the_number_of_samples(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    with AudioWriter(path, 48000, 2) as writer:
        writer.write(noise(50_001, 2))
    reader = AudioReader(path)
    assert (reader.sample_rate, reader.channels, reader.num_samples) == (48000, 2, 50_001)
    assert read_all(reader).shape == (50_001, 2)


@pytest.mark.parametrize("num_samples", (0, 1, 10))
@pytest.mark.parametrize("ending", FORMATS)
def test_the_shortest_sounds_are_written_and_read(tmp_path: Path, ending: str, num_samples: int) -> None:
    path = tmp_path / f"a{ending}"
    if not num_samples and ending in (".mp3", ".opus"):
        with pytest.raises(AudioError, match="cannot hold a sound of no samples") as error:
            AudioWriter(path, 48000, 2).close()
        assert one_line(error) and not path.exists()
        return
    with AudioWriter(path, 48000, 2) as writer:
        writer.write(noise(num_samples, 2))
    assert read_all(AudioReader(path)).shape == (num_samples, 2)


def test_reading_starts_at_the_position_of_the_stream() -> None:
    for container in ("WAV", "FLAC"):
        buffer = io.BytesIO()
        soundfile.write(buffer, noise(100), 8000, format=container)
        stream = io.BytesIO(b"junk" + buffer.getvalue())
        stream.seek(4)
        assert len(read_all(AudioReader(stream))) == 100


def test_a_path_may_be_a_named_pipe(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    data = wav_header(RAW, 16000, 2, None) + bytes(400)
    thread = threading.Thread(target=path.write_bytes, args=(data,))
    thread.start()
    assert len(read_all(AudioReader(path))) == 100
    thread.join()


@pytest.mark.parametrize("name", ("nan.wav", "nan.aiff", "nan.pipe"))
@pytest.mark.parametrize("subtype", ("FLOAT", "DOUBLE"))
@pytest.mark.parametrize("value", (math.nan, math.inf, -math.inf, 1e30, 1e300))
def test_the_first_sample_that_is_not_finite_is_named(
    tmp_path: Path, name: str, subtype: str, value: float
) -> None:
    samples = noise(2000, 2).astype(np.float64)
    samples[1234, 1] = samples[1500, 0] = value
    path = tmp_path / name
    soundfile.write(path, samples, 8000, subtype, format="AIFF" if name == "nan.aiff" else "WAV")
    message = audio_error(Pipe(path.read_bytes(), 1000) if name == "nan.pipe" else path)  # type: ignore[arg-type]
    assert "sample 1234 (0.154 s) of channel 2" in message


def test_files_that_are_not_audio_are_refused(tmp_path: Path) -> None:
    def file(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    assert "is empty" in audio_error(file("empty.wav", b""))
    assert "is empty" in audio_error(Pipe(b"", 1000))  # type: ignore[arg-type]
    assert "not a sound file" in audio_error(file("text.wav", b"hello, world\n" * 100))
    assert "not a sound file" in audio_error(Pipe(b"x", 1000))  # type: ignore[arg-type]
    assert "not a sound file" in audio_error(file("head.wav", b"RIFF\0\0\0\0WAVE"))
    assert str(tmp_path / "text.wav") in audio_error(tmp_path / "text.wav")


def test_files_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "missing.wav", "No such file"), (tmp_path, "directory")):
        with pytest.raises(CodecError, match=words) as error:
            AudioReader(path)
        assert str(path) in one_line(error)


@settings(max_examples=150)
@given(st.sampled_from(CONTAINERS), st.integers(0, 3000), st.integers(0, 7))
def test_a_flipped_bit_is_audio_or_an_audio_error(container: str, byte: int, bit: int) -> None:
    data = bytearray(FLIPPABLE[container])
    data[byte % len(data)] ^= 1 << bit
    with contextlib.suppress(AudioError):
        read_all(AudioReader(Pipe(bytes(data), 1000)))  # type: ignore[arg-type]


def _flippable() -> Iterator[tuple[str, bytes]]:
    for container in CONTAINERS:
        buffer = io.BytesIO()
        soundfile.write(buffer, noise(1000), 8000, format=container)
        yield container, buffer.getvalue()


FLIPPABLE = dict(_flippable())


def test_unsupported_rates_and_channels_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "slow.wav", noise(10), 4000)
    soundfile.write(tmp_path / "fast.wav", noise(10), 384_000)
    soundfile.write(tmp_path / "many.wav", noise(10, 9), 48000)
    assert "4000 Hz is not supported, expected 8000 to 192000 Hz" in audio_error(tmp_path / "slow.wav")
    assert "384000 Hz" in audio_error(tmp_path / "fast.wav")
    assert "9 channels are not supported, expected 1 to 8" in audio_error(tmp_path / "many.wav")
    with pytest.raises(AudioError, match="0 channels"):
        RawReader(io.BytesIO(), 48000, 0)
