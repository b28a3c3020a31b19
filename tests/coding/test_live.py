"""Live sound: it comes out while more goes in, and no later than the chunk and 30 ms."""

from __future__ import annotations

import io
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.command_line import refuses, works
from support.live import Listener, lamella
from support.sounds import tone

from codec.audio import RawReader, RawWriter
from codec.audio.wav import ENCODINGS, wav_header
from codec.bitstream import Reader
from codec.coding.compression import compress
from codec.coding.decoder_stream import DecoderStream
from codec.coding.decompression import decompress
from codec.coding.encoder_stream import EncoderStream
from codec.coding.packets import PacketDecoder, PacketEncoder
from codec.config import CodecConfig
from codec.runtime import NumpyCodec

RATE, CHUNK_MS = 16000, 100
PCM16 = ENCODINGS[1, 16]


@pytest.mark.parametrize("kind", ["raw", "wav"])  # the latter in packets
def test_sound_comes_through_two_pipes_while_more_goes_in(kind: str, tiny_preset: Path) -> None:
    shape = ("--raw", "--rate", RATE, "--channels", 1) if kind == "raw" else ()
    pace = ("--live", "--chunk-ms", CHUNK_MS) if kind == "raw" else ("--packet",)
    encoder = lamella("compress", "-q", "-m", tiny_preset, *shape, *pace, "-", "-", stdin=subprocess.PIPE)
    decoder = lamella(
        "decompress", "-q", "-m", tiny_preset, "--raw", "-", "-", stdin=cast(IO[bytes], encoder.stdout)
    )
    microphone, listener = cast(IO[bytes], encoder.stdin), Listener(cast(IO[bytes], decoder.stdout))
    samples = (tone(1.5, RATE)[:, 0] * 20_000).astype("<i2")
    if kind == "wav":
        microphone.write(wav_header(PCM16, RATE, 1, None))
    late, first = RATE * (CHUNK_MS + 30) // 1000, round(0.4 * RATE)
    for at in range(0, first, 317):
        microphone.write(samples[at : min(at + 317, first)].tobytes())
        time.sleep(0.002)
    assert listener.has(2 * (first - late), seconds=60)  # while nothing more goes in
    microphone.write(samples[first:].tobytes())
    assert listener.has(2 * (len(samples) - late), seconds=60)
    assert encoder.poll() is None and decoder.poll() is None
    microphone.close()
    assert encoder.wait(60) == decoder.wait(60) == 0
    listener.join(60)
    assert len(listener.received) == samples.nbytes


def live_pair(kind: str, model: NumpyCodec, frames: int) -> tuple[Callable, Callable]:
    """Return a function from samples to chunks or packets, and one from these to samples."""
    rate = model.config.sample_rate
    if kind == "packets":
        options = {"num_codebooks": 24, "frames_per_packet": frames}
        return PacketEncoder(model, rate, 1, **options).push, PacketDecoder(model, rate, 1, **options).push
    encoder = EncoderStream(model, rate, 1, num_codebooks=24, frames_per_chunk=frames)
    return encoder.push, DecoderStream(model, rate, 1).push


@pytest.mark.parametrize(
    ("kind", "frames"), [("chunks", 1), ("chunks", 3), ("chunks", 50), ("packets", 1), ("packets", 3)]
)
def test_the_delay_is_the_chunk_and_at_most_30_ms(default_codec: NumpyCodec, kind: str, frames: int) -> None:
    """An impulse goes in, half a millisecond in a block: it must come out in time, and at its place."""
    rate, block = default_codec.config.sample_rate, 24
    when = rate // 2 + 7
    sound = np.zeros((rate * 5 // 2, 1), np.float32)
    sound[when] = 0.9
    encode, decode = live_pair(kind, default_codec, frames)
    pushed, received = [], []
    for at in range(0, len(sound), block):
        for codes in encode(sound[at : at + block]):
            received.append(decode(codes))
            pushed += [at + block] * len(received[-1])  # for each sample that came out, how many had gone in
    decoded = np.concatenate(received)[:, 0]
    peak = int(np.abs(decoded).argmax())
    assert abs(peak - when) < rate // 200
    delay = max(count - number for number, count in enumerate(pushed))
    assert delay <= frames * default_codec.config.hop_length + 0.03 * rate
    assert pushed[peak] - peak <= delay


@settings(max_examples=20)
@given(st.integers(1, 90), st.integers(0, 30_000), st.integers(1, 3))
def test_a_live_file_has_the_length_of_its_source(
    numpy_codec: NumpyCodec, frames: int, count: int, channels: int
) -> None:
    samples = (tone(2, RATE, channels)[:count] * 9000).astype("<i2")
    lam, back = io.BytesIO(), io.BytesIO()
    source = RawReader(io.BytesIO(samples.tobytes()), RATE, channels)
    compress(source, lam, model=numpy_codec, num_codebooks=3, frames_per_chunk=frames, live=True)
    reader = Reader(io.BytesIO(lam.getvalue()))
    assert all(chunk.codes.shape[1] == frames for chunk in list(reader)[:-1])
    decompress(io.BytesIO(lam.getvalue()), back, model=numpy_codec, open_writer=RawWriter)
    assert len(back.getvalue()) == samples.nbytes


def test_the_options_set_the_length_of_chunks(wav: Path, tiny_preset: Path, tmp_path: Path) -> None:
    for ms, frames in ((20, 1), (39, 1), (100, 5), (2500, 125)):
        works("compress", "-m", tiny_preset, "-f", "--chunk-ms", ms, wav, tmp_path / "a.lam")
        with open(tmp_path / "a.lam", "rb") as file:
            assert Reader(file).header.frames_per_chunk == frames
    works("compress", "-m", tiny_preset, "-f", "--packet", wav, tmp_path / "a.lam")
    with open(tmp_path / "a.lam", "rb") as file:
        assert Reader(file).header.frames_per_chunk == 1
    assert "20<=x<=60000" in refuses("compress", "--chunk-ms", 19, wav, tmp_path / "b.lam")
    assert "--packet is one frame" in refuses(
        "compress", "--packet", "--chunk-ms", 40, wav, tmp_path / "b.lam"
    )


def test_frames_in_milliseconds() -> None:
    config = CodecConfig()
    assert [config.frames_in(ms) for ms in (0, 19, 20, 59.9, 60, 1000)] == [1, 1, 1, 2, 3, 50]
