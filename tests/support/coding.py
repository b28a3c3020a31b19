"""A codec whose codes are the samples, and sounds through a codec and back in memory."""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Iterable
from typing import Any, BinaryIO, cast

import numpy as np
import soundfile

from codec import bitstream
from codec.audio import AudioReader, AudioWriter
from codec.coding.compression import compress
from codec.coding.decompression import DecompressionReport, decompress
from codec.coding.encoder_stream import EncoderStream
from codec.protocol import StreamingCodec

NUM_CODEBOOKS = 6


@dataclasses.dataclass(frozen=True)
class SampleConfig:
    """The part of a CodecConfig that coding needs."""

    sample_rate: int = 16000
    hop_length: int = 32
    num_codebooks: int = 32
    bits_per_code: int = 16
    reset_interval: int = 500
    codebook_size: int = 2**16

    def choose_codebooks(self, bitrate: int | None, num_codebooks: int | None) -> int:
        return num_codebooks or self.num_codebooks

    def codes_json(self) -> str:
        return str(dataclasses.asdict(self))


class SampleCodec:
    """A codec whose codes are the samples, 16 bits each, and whose decoder lags.

    So a test sees at which time each sample comes out.

    Args:
        number: gives it another identity.
        gain: of the decoded sound.
    """

    latency, run_in_frames, seconds_per_step, prior = 21, 1, 3, None

    def __init__(self, number: int = 0, gain: float = 1.0) -> None:
        self.config, self.gain = SampleConfig(), np.float32(gain)
        self.parts = {"quantizer": {"codebooks": np.full((1, 1, 1), number, np.float16)}}

    def encoder_state(self, batch_size: int) -> np.ndarray:
        return np.zeros((batch_size, 0))

    def reset_prediction(self, state: np.ndarray) -> np.ndarray:
        return state

    def encode_step(
        self, audio: np.ndarray, state: np.ndarray, num_codebooks: int
    ) -> tuple[np.ndarray, np.ndarray]:
        assert audio.dtype == np.float32 and num_codebooks == self.config.num_codebooks
        codes = np.clip(np.rint(audio * 32768) + 32768, 0, 65535).astype(np.int32)
        return codes.reshape(len(audio), -1, self.config.hop_length), state

    def decoder_state(self, batch_size: int, first_frame: int = 0) -> np.ndarray:
        return np.zeros((batch_size, self.latency, 1), np.float32)

    def decode_step(self, codes: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not codes.shape[-1]:  # lost frames
            codes = np.full((*codes.shape[:2], self.config.hop_length), 32768)
        sound = (codes.reshape(len(codes), -1, 1) - 32768).astype(np.float32) * (self.gain / 32768)
        sound = np.concatenate([state, sound], axis=1)
        return sound[:, : -self.latency], sound[:, -self.latency :]


def sample_codec(number: int = 0, gain: float = 1.0) -> StreamingCodec:
    """Return a SampleCodec as the type that coding expects."""
    return cast(StreamingCodec, SampleCodec(number, gain))


def wav_of(samples: np.ndarray, sample_rate: int, subtype: str = "FLOAT") -> bytes:
    """Return a WAV file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, subtype, format="WAV")
    return buffer.getvalue()


def compressed(wav: bytes, model: StreamingCodec, num_codebooks: int | None = None, **options: Any) -> bytes:
    """Return the .lam file that `compress` makes of a WAV file."""
    target = io.BytesIO()
    compress(io.BytesIO(wav), target, model=model, num_codebooks=num_codebooks, **options)
    return target.getvalue()


def file_of(stream: EncoderStream, sound: np.ndarray, num_samples: int | None) -> bytes:
    """Return a packed .lam file of the codes of a stream; its header has `num_samples`, or no length."""
    file = io.BytesIO()
    writer = bitstream.Writer(file, stream.header(num_samples))
    for codes in stream.push(sound) + stream.flush():
        writer.write_chunk(codes)
    writer.close(len(sound))
    return file.getvalue()


def decompressed(
    lam: BinaryIO, model: StreamingCodec, subtype: str = "FLOAT", **options: Any
) -> tuple[np.ndarray, DecompressionReport]:
    """Return the sound of a .lam file, float32 [time, channels], and the report."""
    target = io.BytesIO()
    open_writer = functools.partial(AudioWriter, subtype=subtype)
    report = decompress(lam, target, model=model, open_writer=open_writer, **options)
    with AudioReader(io.BytesIO(target.getvalue())) as reader:
        sound = np.concatenate([np.zeros((0, reader.channels), np.float32), *reader.blocks(10_000)])
    assert report.num_samples == len(sound)
    return sound, report


def sound_of(lam: BinaryIO, model: StreamingCodec) -> np.ndarray:
    """Return the sound of a .lam file, float32 [time, channels]."""
    return decompressed(lam, model)[0]


def part_of(lam: BinaryIO, model: StreamingCodec, start: float, end: float | None) -> np.ndarray:
    """Return the sound of a part of a .lam file, between two times in seconds."""
    return decompressed(lam, model, start=start, end=end)[0]


def codes_of(lam: bytes) -> np.ndarray:
    """Return all codes of a packed .lam file, [channel, frame, codebook]."""
    return np.concatenate([chunk.codes for chunk in bitstream.Reader(io.BytesIO(lam))], axis=1)


def pushed(stream: EncoderStream, sound: np.ndarray, sizes: Iterable[int]) -> list[np.ndarray]:
    """Return the chunks of a stream that gets blocks of these sizes, over and over."""
    sizes, chunks, start, turn = list(sizes), list[np.ndarray](), 0, 0
    while start < len(sound):
        size = sizes[turn % len(sizes)]
        chunks += stream.push(sound[start : start + size])
        start, turn = start + size, turn + 1
    return chunks + stream.flush()
