"""Reading sound from files and pipes: what is in them comes out, and what is broken says so in one line."""

from __future__ import annotations

import contextlib
import io
import math
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sounds import noise, one_line, read_all
from support.streams import Pipe

from codec.audio import MAX_CHANNELS, AudioReader, AudioWriter, RawReader
from codec.audio.sndfile import FORMATS
from codec.errors import AudioError

SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "IMA_ADPCM")


def fails(source: Path | BinaryIO) -> str:
    with pytest.raises(AudioError) as error:
        read_all(AudioReader(source))
    return one_line(error)


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
def test_containers_and_channels_from_path_stream_and_pipe(container: str, channels: int) -> None:
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
def test_the_shortest_sounds(tmp_path: Path, ending: str, num_samples: int) -> None:
    path = tmp_path / f"a{ending}"
    if not num_samples and ending in (".mp3", ".opus"):
        with pytest.raises(AudioError, match="cannot hold a sound of no samples") as error:
            AudioWriter(path, 48000, 2).close()
        assert one_line(error) and not path.exists()
        return
    with AudioWriter(path, 48000, 2) as writer:
        writer.write(noise(num_samples, 2))
    assert read_all(AudioReader(path)).shape == (num_samples, 2)


def test_reading_starts_where_the_stream_stands() -> None:
    for container in ("WAV", "FLAC"):
        buffer = io.BytesIO()
        soundfile.write(buffer, noise(100), 8000, format=container)
        stream = io.BytesIO(b"junk" + buffer.getvalue())
        stream.seek(4)
        assert len(read_all(AudioReader(stream))) == 100


def streaming_wav(riff_size: int, data_size: int, samples: bytes) -> bytes:
    """As ffmpeg, sox and others write into a pipe, with a chunk between the format and the samples."""
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, 16000, 64000, 4, 16)
    extra = struct.pack("<4sI", b"LIST", 3) + b"abc\0"
    head = struct.pack("<4sI4s", b"RIFF", riff_size, b"WAVE")
    return head + layout + extra + struct.pack("<4sI", b"data", data_size) + samples


@pytest.mark.parametrize(
    ("riff_size", "data_size"),
    [
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x7FFFF024, 0x7FFFF000),
        (0, 0),
        (36, 0),
        (0xFFFFFFFF, 0),
        (0x80000024, 0x80000000),
    ],
)
def test_streaming_wav_headers(riff_size: int, data_size: int) -> None:
    samples = np.arange(-2000, 2000, dtype="<i2")
    data = streaming_wav(riff_size, data_size, samples.tobytes())
    assert AudioReader(io.BytesIO(data)).num_samples == 2000
    reader = AudioReader(Pipe(data, 1000))  # type: ignore[arg-type]
    assert reader.num_samples is None
    np.testing.assert_array_equal(read_all(reader), samples.reshape(-1, 2) / np.float32(32768))


def test_an_empty_wav_with_more_behind_it_is_empty() -> None:
    data = streaming_wav(36 + 12 + 12, 0, b"LIST\4\0\0\0abcd")
    assert AudioReader(io.BytesIO(data)).num_samples == 0
    assert len(read_all(AudioReader(Pipe(data, 1000)))) == 0  # type: ignore[arg-type]


def test_a_wav_pipe_is_read_only_as_far_as_it_is_used() -> None:
    """Live input: a block comes out before the pipe ends, so nothing waits for the whole of it."""
    receive, send = os.pipe()
    with open(receive, "rb", buffering=0) as source, open(send, "wb", buffering=0) as sink:
        sink.write(streaming_wav(0xFFFFFFFF, 0xFFFFFFFF, bytes(4 * 100)))
        reader = AudioReader(source)
        assert len(reader.read(100)) == 100
        sink.write(bytes(4 * 50))
        sink.close()
        assert len(reader.read(100)) == 50


def test_a_named_pipe_as_path(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    data = streaming_wav(0xFFFFFFFF, 0xFFFFFFFF, bytes(400))
    thread = threading.Thread(target=path.write_bytes, args=(data,))
    thread.start()
    assert len(read_all(AudioReader(path))) == 100
    thread.join()


def test_flac_of_unknown_length(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(30_000), 44100)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # STREAMINFO's 36-bit number of samples: as from an encoder that wrote to a pipe
    data[22:26] = bytes(4)
    reader = AudioReader(io.BytesIO(bytes(data)))
    assert reader.num_samples is None
    assert len(read_all(reader)) == 30_000


def without_xing(path: Path, levels: tuple[float, float]) -> bytes:
    """A variable-rate MP3 without its first frame, which holds the length; 600,000 samples."""
    with soundfile.SoundFile(path, "w", 44100, 1, compression_level=0.3, bitrate_mode="VARIABLE") as file:
        file.write(np.concatenate([noise(300_000) * level for level in levels]))
    data = path.read_bytes()
    return data[data.index(data[:2], 4) :]


def test_mp3_of_guessed_length_is_never_cut_in_silence(tmp_path: Path) -> None:
    """libsndfile guesses from the first frames: too much is harmless, too little would lose the end."""
    reader = AudioReader(io.BytesIO(without_xing(tmp_path / "a.mp3", (1e-4, 1))))
    assert reader.num_samples is None
    assert len(read_all(reader)) >= 600_000
    assert "MP3 without a length" in fails(io.BytesIO(without_xing(tmp_path / "b.mp3", (1, 1e-4))))


@pytest.mark.parametrize("name", ("nan.wav", "nan.aiff", "nan.pipe"))
@pytest.mark.parametrize("value", (math.nan, math.inf, -math.inf, 1e30))
def test_samples_that_are_no_numbers_are_named(tmp_path: Path, name: str, value: float) -> None:
    samples = noise(2000, 2)
    samples[1234, 1] = samples[1500, 0] = value
    path = tmp_path / name
    soundfile.write(path, samples, 8000, "FLOAT", format="AIFF" if name == "nan.aiff" else "WAV")
    message = fails(Pipe(path.read_bytes(), 1000) if name == "nan.pipe" else path)  # type: ignore[arg-type]
    assert "sample 1234 (0.154 s) of channel 2" in message


def test_bad_files(tmp_path: Path) -> None:
    def file(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    assert "is empty" in fails(file("empty.wav", b""))
    assert "is empty" in fails(Pipe(b"", 1000))  # type: ignore[arg-type]
    assert "not a sound file" in fails(file("text.wav", b"hello, world\n" * 100))
    assert "not a sound file" in fails(Pipe(b"x", 1000))  # type: ignore[arg-type]
    assert "not a sound file" in fails(file("head.wav", b"RIFF\0\0\0\0WAVE"))
    assert "No such file" in fails(tmp_path / "missing.wav")
    assert "directory" in fails(tmp_path)
    assert str(tmp_path / "text.wav") in fails(tmp_path / "text.wav")


@pytest.mark.parametrize("ending", (".wav", ".flac", ".ogg", ".opus", ".mp3"))
def test_truncated_files(tmp_path: Path, ending: str) -> None:
    whole, cut = tmp_path / f"whole{ending}", tmp_path / f"cut{ending}"
    with AudioWriter(whole, 48000, 1) as writer:
        writer.write(noise(200_000))
    data = whole.read_bytes()
    for size in (len(data) // 2, len(data) - 600):
        cut.write_bytes(data[:size])
        assert "truncated" in fails(cut)
    assert "truncated" in fails(Pipe(data[: len(data) // 2], 1000))  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(("WAV", "FLAC", "OGG", "AIFF")), st.integers(0, 3000), st.integers(0, 7))
def test_a_flipped_bit_is_audio_or_an_audio_error(container: str, byte: int, bit: int) -> None:
    data = bytearray(FLIPPABLE[container])
    data[byte % len(data)] ^= 1 << bit
    with contextlib.suppress(AudioError):
        read_all(AudioReader(Pipe(bytes(data), 1000)))  # type: ignore[arg-type]


def _flippable() -> Iterator[tuple[str, bytes]]:
    for container in ("WAV", "FLAC", "OGG", "AIFF"):
        buffer = io.BytesIO()
        soundfile.write(buffer, noise(1000), 8000, format=container)
        yield container, buffer.getvalue()


FLIPPABLE = dict(_flippable())


def test_unsupported_rates_and_channels_are_listed(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "slow.wav", noise(10), 4000)
    soundfile.write(tmp_path / "fast.wav", noise(10), 384_000)
    soundfile.write(tmp_path / "many.wav", noise(10, 9), 48000)
    assert "4000 Hz is not supported, expected 8000 to 192000 Hz" in fails(tmp_path / "slow.wav")
    assert "384000 Hz" in fails(tmp_path / "fast.wav")
    assert "9 channels are not supported, expected 1 to 8" in fails(tmp_path / "many.wav")
    with pytest.raises(AudioError, match="0 channels"):
        RawReader(io.BytesIO(), 48000, 0)
