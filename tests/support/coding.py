"""Sounds through a codec and back, in memory; and a codec whose codes are the samples, so that time can be tested."""

from __future__ import annotations

import dataclasses
import functools
import io
from typing import BinaryIO, cast

import numpy as np
import pytest
import soundfile

from codec import bitstream
from codec.audio import AudioReader, AudioWriter
from codec.coding import compression
from codec.coding.compression import compress, decompress
from codec.network.codec import Codec
from codec.runtime.codec import NumpyCodec

NUM_CODEBOOKS = 6


@dataclasses.dataclass(frozen=True)
class ThroughConfig:
    """The part of a CodecConfig that compression looks at."""

    sample_rate: int = 16000
    hop_length: int = 32
    num_codebooks: int = 32
    bits_per_code: int = 16
    reset_interval: int = 500
    run_in_frames: int = 1


class Through:
    """A codec whose codes are the samples themselves, 16 bits each, and whose decoder lags: so time can be tested."""

    config = ThroughConfig()
    latency, seconds_at_once, prior = 21, 3, None

    def encoder_state(self, batch: int) -> np.ndarray:
        return np.zeros((batch, 0))

    def reset_prediction(self, state: np.ndarray) -> np.ndarray:
        return state

    def encode_step(
        self, audio: np.ndarray, state: np.ndarray, num_codebooks: int
    ) -> tuple[np.ndarray, np.ndarray]:
        assert audio.dtype == np.float32 and num_codebooks == self.config.num_codebooks
        codes = np.clip(np.rint(audio * 32768) + 32768, 0, 65535).astype(np.int32)
        return codes.reshape(len(audio), -1, self.config.hop_length), state

    def decoder_state(self, batch: int, first_frame: int = 0) -> np.ndarray:
        return np.zeros((batch, self.latency, 1), np.float32)

    def decode_step(self, codes: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not codes.shape[-1]:  # lost frames
            codes = np.full((*codes.shape[:2], self.config.hop_length), 32768)
        sound = (codes.reshape(len(codes), -1, 1) - 32768).astype(np.float32) / 32768
        sound = np.concatenate([state, sound], axis=1)
        return sound[:, : -self.latency], sound[:, -self.latency :]


@pytest.fixture
def through(monkeypatch: pytest.MonkeyPatch) -> Codec:
    return fake(monkeypatch)


def fake(monkeypatch: pytest.MonkeyPatch) -> Codec:
    monkeypatch.setattr(compression, "model_id", lambda codec: b"through!")
    return cast(Codec, Through())


def wav_of(samples: np.ndarray, sample_rate: int, subtype: str = "FLOAT") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, subtype, format="WAV")
    return buffer.getvalue()


def compressed(source: bytes, codec: Codec | NumpyCodec, num_codebooks: int) -> bytes:
    target = io.BytesIO()
    compress(io.BytesIO(source), target, codec, num_codebooks)
    return target.getvalue()


def sound_of(lam: BinaryIO, codec: Codec | NumpyCodec, subtype: str = "FLOAT") -> tuple[np.ndarray, int]:
    """Decompress into a stream; float32 [time, channels] and the rate."""
    target = io.BytesIO()

    decompress(lam, target, codec, open_writer=functools.partial(AudioWriter, subtype=subtype))
    with AudioReader(io.BytesIO(target.getvalue())) as reader:
        blocks = [np.zeros((0, reader.channels), np.float32), *reader.blocks(10_000)]
        return np.concatenate(blocks), reader.sample_rate


def codes_of(lam: bytes) -> np.ndarray:
    return np.concatenate([chunk.codes for chunk in bitstream.Reader(io.BytesIO(lam))], axis=1)
