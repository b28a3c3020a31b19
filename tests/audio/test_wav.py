"""Plain WAV from pipes, with the headers of programs that do not know the length in advance."""

from __future__ import annotations

import io
import os
import struct

import numpy as np
import pytest
from support.sounds import read_all
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
