"""Plain WAV from pipes, with the headers of programs that do not know the length in advance."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.sounds import audio_error, read_all
from support.streams import Pipe

from codec.audio import AudioReader


def streaming_wav(riff_size: int, data_size: int, samples: bytes) -> bytes:
    """Return a 16 kHz stereo WAV file with a chunk between the format and the samples."""
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
def test_streams_of_unknown_length_are_read_to_their_end(riff_size: int, data_size: int) -> None:
    samples = np.arange(-2000, 2000, dtype="<i2")
    data = streaming_wav(riff_size, data_size, samples.tobytes())
    assert AudioReader(io.BytesIO(data)).num_samples == 2000
    reader = AudioReader(Pipe(data, 1000))  # type: ignore[arg-type]
    assert reader.num_samples is None
    np.testing.assert_array_equal(read_all(reader), samples.reshape(-1, 2) / np.float32(32768))


@pytest.mark.parametrize("first", (0, -3000, 0x4141))
def test_a_data_chunk_of_size_0_is_not_empty_where_samples_follow(first: int) -> None:
    """The program that wrote it stated the size of the RIFF chunk only."""
    samples = np.arange(first, first + 4000).astype("<i2")
    data = streaming_wav(36 + 12 + len(samples.tobytes()), 0, samples.tobytes())
    for stream in (io.BytesIO(data), Pipe(data, 1000)):
        read = read_all(AudioReader(stream))  # type: ignore[arg-type]
        np.testing.assert_array_equal(read, samples.reshape(-1, 2) / np.float32(32768))


@pytest.mark.parametrize("after", (b"", b"LIST\3\0\0\0abc\0"))
def test_a_wav_file_that_follows_another_is_not_lost_silently(after: bytes) -> None:
    for samples in (bytes(400), bytes(402)):  # the second: half a sample too much
        one = streaming_wav(0, len(samples), samples) + after
        for stream in (io.BytesIO(one + one), Pipe(one + one, 1000)):
            assert "another WAV file follows after sample 100" in audio_error(stream)  # type: ignore[arg-type]
        assert len(read_all(AudioReader(io.BytesIO(one)))) == 100


def test_wav_above_4_gib_is_read_whole_or_refused(tmp_path: Path) -> None:
    """The files are sparse: they take no room on the disk."""
    path = tmp_path / "a.wav"
    path.write_bytes(streaming_wav(0xFFFFFFFF, 0xFFFFFFFF, b""))
    size = path.stat().st_size
    os.truncate(path, size + 5 * 2**30)
    assert AudioReader(path).num_samples == 5 * 2**28
    path.write_bytes(streaming_wav(2**30 + 40, 2**30, b""))  # its size lost the 33rd bit
    os.truncate(path, size + 5 * 2**30)
    assert "but states 1073741824, expected RF64" in audio_error(path)
    soundfile.write(path, np.zeros((10, 1)), 8000, "ALAW", format="WAV")  # libsndfile reads 4 GiB of it
    os.truncate(path, 5 * 2**30)
    assert "expected at most 4 GiB, or RF64" in audio_error(path)


@pytest.mark.parametrize("large", (0, 8000))
def test_rf64_streams_through_pipes_with_and_without_its_size(large: int) -> None:
    """ffmpeg writes a size of 0 into a pipe."""
    samples = np.arange(-2000, 2000, dtype="<i2")
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, 0, large, 0, 0)
    data = streaming_wav(0xFFFFFFFF, 0xFFFFFFFF, samples.tobytes())
    data = b"RF64" + data[4:12] + sizes + data[12:]
    assert AudioReader(io.BytesIO(data)).num_samples == 2000
    reader = AudioReader(Pipe(data, 1000))  # type: ignore[arg-type]
    assert reader.num_samples == (2000 if large else None)
    np.testing.assert_array_equal(read_all(reader), samples.reshape(-1, 2) / np.float32(32768))


def test_an_empty_wav_followed_by_another_chunk_is_empty() -> None:
    data = streaming_wav(36 + 12 + 12, 0, b"LIST\4\0\0\0abcd")
    assert AudioReader(io.BytesIO(data)).num_samples == 0
    assert len(read_all(AudioReader(Pipe(data, 1000)))) == 0  # type: ignore[arg-type]


def test_a_pipe_gives_samples_before_it_ends() -> None:
    """Live input: reading a block needs only the bytes of that block."""
    receive, send = os.pipe()
    with open(receive, "rb", buffering=0) as source, open(send, "wb", buffering=0) as sink:
        sink.write(streaming_wav(0xFFFFFFFF, 0xFFFFFFFF, bytes(4 * 100)))
        reader = AudioReader(source)
        assert len(reader.read(100)) == 100
        sink.write(bytes(4 * 50))
        sink.close()
        assert len(reader.read(100)) == 50
