"""The fuzz target for WAV: any bytes give finite samples or an AudioError, the same from a file and from a pipe.

The first byte selects how the others are read:

    bit 0       put the beginning of a WAV file before them, since random bytes would hardly have it
    bits 1..3   the number of samples that are read at a time, and of bytes that the pipe gives at a time
    bits 4..7   if all 0, also read what is not plain WAV, through libsndfile
"""

from __future__ import annotations

import io
import struct

import numpy as np
from support.streams import Pipe

from codec.audio import AudioReader, SampleReader
from codec.audio.wav import ENCODINGS, open_wav, wav_header
from codec.errors import AudioError

BEGIN = 1
MAX_SAMPLES = 1_000_000  # of one input; compressed WAV files hold more samples than bytes
RIFF = struct.pack("<4sI4s", b"RIFF", 0xFFFFFFFF, b"WAVE")


def check(data: bytes) -> None:
    """Try one input. A fault of the reader raises AssertionError, or anything but an AudioError."""
    if not data:
        return
    mode, content = data[0], data[1:]
    if mode & BEGIN:
        content = RIFF + content
    if mode >= 16 and _refused(content):
        return
    size = 13 + 97 * (mode >> 1 & 7)
    from_file = _read(io.BytesIO(content), size)
    if from_file is not None:  # a pipe shows only later that it is truncated, and then it is refused too
        from_pipe = _read(Pipe(content, size), size)
        assert from_pipe is not None and np.array_equal(from_file, from_pipe)


def seeds() -> list[bytes]:
    """Return the first inputs: a WAV file of each encoding, with and without known sizes, and with other chunks."""
    files = []
    for encoding in ENCODINGS.values():
        for channels, num_samples in ((1, 50), (2, None), (3, 20)):
            samples = bytes(range(encoding.size * channels)) * 50
            files.append(wav_header(encoding, 8000, channels, num_samples) + samples)
    other = struct.pack("<4sI4s", b"LIST", 4, b"abcd")
    files.append(files[0][:12] + other + files[0][12:] + other + files[0])
    files.append(files[0][:40] + bytes(4) + files[0][44:])  # a data chunk of size 0
    return [
        bytes([mode]) + (file[12:] if mode & BEGIN else file) for mode in range(0, 16, 5) for file in files
    ]


def _refused(content: bytes) -> bool:
    """Return True if the reader of plain WAV does not take this file."""
    try:
        return open_wav(io.BytesIO(content), "the stream")[0] is None
    except AudioError:
        return True


def _read(stream: io.IOBase, size: int) -> np.ndarray | None:
    """Return all samples; None if the stream is refused."""
    try:
        with AudioReader(stream) as reader:  # type: ignore[arg-type]
            blocks = [np.zeros((0, reader.channels), np.float32), *_blocks(reader, size)]
    except AudioError as error:
        assert str(error) and "\n" not in str(error)
        return None
    samples = np.concatenate(blocks)
    assert np.isfinite(samples).all()
    if len(samples) < MAX_SAMPLES:
        assert reader.num_samples in (None, len(samples))
    return samples


def _blocks(reader: SampleReader, size: int):
    for block in reader.blocks(size):
        assert block.dtype == np.float32 and 0 < len(block) <= size and block.shape[1] == reader.channels
        yield block
        if reader.position >= MAX_SAMPLES:
            return
