"""Live streams through the codec: the codes and the sound of files, whatever the pieces."""

from __future__ import annotations

import io
import itertools
import os
import threading

import numpy as np
import pytest
from support.coding import NUM_CODEBOOKS, codes_of, compressed, sound_of, through, wav_of
from support.sounds import tone
from support.streams import Pipe

from codec import bitstream
from codec.audio import RawWriter
from codec.coding.compression import EncoderStream, compress, decompress
from codec.coding.decoder_stream import DecoderStream
from codec.errors import Truncated
from codec.network.codec import Codec
from codec.presets import load
from codec.runtime.codec import NumpyCodec

__all__ = ["through"]  # a fixture


def encode_live(stream: EncoderStream, samples: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    chunks, start, turn = [], 0, 0
    while start < len(samples):
        chunks += stream.push(samples[start : start + sizes[turn % len(sizes)]])
        start, turn = start + sizes[turn % len(sizes)], turn + 1
    return chunks + stream.flush()


@pytest.mark.parametrize("sizes", ([441], [100_000], [1, 2000, 7, 30_000]))
def test_live_codes_are_those_of_the_file(keras_codec: Codec, sizes: list[int]) -> None:
    samples = tone(2.3, 22050, 2)
    lam = compressed(wav_of(samples, 22050), keras_codec, NUM_CODEBOOKS)
    stream = EncoderStream(keras_codec, 22050, 2, NUM_CODEBOOKS)
    chunks = encode_live(stream, samples, sizes)
    assert all(chunk.dtype == np.int32 and chunk.shape[1] == stream.frames_per_chunk for chunk in chunks[:-1])
    np.testing.assert_array_equal(np.concatenate(chunks, axis=1), codes_of(lam))
    assert stream.num_samples == len(samples)


@pytest.mark.parametrize("frames", (9, 50, 150))
def test_the_prediction_begins_anew_each_second_and_each_chunk(keras_codec: Codec, frames: int) -> None:
    """The codes of chunks are those of steps that begin so; but for ties that rounding may decide in another way."""
    samples, hop = tone(3.2, 16000), keras_codec.config.hop_length
    found = np.concatenate(
        encode_live(EncoderStream(keras_codec, 16000, 1, NUM_CODEBOOKS, frames), samples, [5000]), axis=1
    )
    state, parts = keras_codec.encoder_state(1), []
    starts = [*range(0, 160, min(frames, 50)), 160]
    for start, end in itertools.pairwise(starts):
        block = samples[np.newaxis, start * hop : end * hop]
        codes, state = keras_codec.encode_step(block, keras_codec.reset_prediction(state), NUM_CODEBOOKS)
        parts.append(codes)
    assert np.mean(found[:, :160] == np.concatenate(parts, axis=1)) > 0.99


def test_live_sound_is_that_of_the_file(keras_codec: Codec) -> None:
    lam = compressed(wav_of(tone(1.3, 22050, 2), 22050), keras_codec, NUM_CODEBOOKS)
    expected, _ = sound_of(io.BytesIO(lam), keras_codec)
    stream = DecoderStream(keras_codec, 22050, 2)
    pieces = [stream.push(chunk.codes) for chunk in bitstream.Reader(io.BytesIO(lam))]
    found = np.concatenate([*pieces, stream.flush()])
    assert len(expected) <= len(found) <= len(expected) + 22050 // 50 + 1
    np.testing.assert_allclose(found[: len(expected)], expected, atol=1e-4)


@pytest.mark.parametrize("frames", (1, 7, 120))
def test_chunks_of_any_length_sound_the_same_from_both_forms_of_the_model(
    keras_codec: Codec, numpy_codec: NumpyCodec, frames: int
) -> None:
    chunks = encode_live(EncoderStream(numpy_codec, 16000, 1, 6, frames), tone(2.6, 16000), [800])
    streams = DecoderStream(numpy_codec, 16000, 1), DecoderStream(keras_codec, 16000, 1)
    ours, expected = (np.concatenate([*map(stream.push, chunks), stream.flush()]) for stream in streams)
    # random weights leave directions of nearly no length, which rounding turns
    np.testing.assert_allclose(ours, expected, atol=1e-2 * np.abs(expected).max())


def test_streams_that_share_a_codec_do_not_touch_each_other(keras_codec: Codec) -> None:
    first, second = tone(1.2, 16000), tone(1.2, 16000)[::-1]
    alone = encode_live(EncoderStream(keras_codec, 16000, 1, 3, 20), first, [6400])
    one, other = EncoderStream(keras_codec, 16000, 1, 3, 20), EncoderStream(keras_codec, 16000, 1, 3, 20)
    mixed = []
    for start in range(0, len(first), 6400):
        mixed += one.push(first[start : start + 6400])
        other.push(second[start : start + 6400])
    np.testing.assert_array_equal(np.concatenate(mixed + one.flush(), axis=1), np.concatenate(alone, axis=1))


@pytest.mark.parametrize("live", [True, False])
def test_only_a_file_tells_its_length_ahead(keras_codec: Codec, live: bool) -> None:
    samples, lam = tone(1.5, 16000), io.BytesIO()
    compress(io.BytesIO(wav_of(samples, 16000)), lam, keras_codec, NUM_CODEBOOKS, live=live)
    told = bitstream.Reader(Pipe(lam.getvalue())).num_samples
    assert told == (None if live else len(samples))
    assert bitstream.Reader(io.BytesIO(lam.getvalue())).num_samples == len(samples)


def test_a_file_sounds_the_same_through_a_pipe() -> None:
    numpy_codec, lam = load(), io.BytesIO()
    compress(io.BytesIO(wav_of(tone(10.6, 16000), 16000)), lam, numpy_codec, 6)
    results = [io.BytesIO(), io.BytesIO()]
    for source, result in zip((io.BytesIO(lam.getvalue()), Pipe(lam.getvalue(), 1000)), results, strict=True):
        decompress(source, result, numpy_codec, open_writer=RawWriter)
    assert results[0].getvalue() == results[1].getvalue()


@pytest.mark.parametrize("opened", [io.BytesIO, Pipe])
def test_what_comes_before_a_cut_is_heard(through: Codec, opened: type) -> None:
    """Also where it is fewer chunks than are decoded at once."""
    lam, results = compressed(wav_of(tone(2.9, 16000), 16000), through, 32), [io.BytesIO(), io.BytesIO()]
    decompress(io.BytesIO(lam), results[0], through, open_writer=RawWriter)
    with pytest.raises(Truncated, match="chunk 2 "):
        decompress(opened(lam[: len(lam) * 9 // 10]), results[1], through, open_writer=RawWriter)
    whole, heard = (result.getvalue() for result in results)
    assert len(heard) > 1.9 * 16000 * 2  # bytes
    assert whole.startswith(heard)


def test_live_from_pipe_to_pipe(through: Codec) -> None:
    """Sound comes out while more goes in, and neither end knows the length."""
    (heard, said), (received, sent) = os.pipe(), os.pipe()
    source, middle = open(heard, "rb"), open(sent, "wb")  # noqa: SIM115
    lam, mouth = open(received, "rb"), open(said, "wb", buffering=0)  # noqa: SIM115
    result = io.BytesIO()
    halfway = threading.Event()

    def send() -> None:
        with source, middle:
            compress(source, middle, through, 32)

    def receive() -> None:
        with lam:
            decompress(
                lam, result, through, lambda seconds: halfway.set() if seconds > 1 else None, RawWriter
            )

    threads = [threading.Thread(target=send), threading.Thread(target=receive)]
    for thread in threads:
        thread.start()
    samples = np.random.default_rng(0).integers(-9000, 9000, 16_000 * 4 + 5).astype("<i2")
    header = bytearray(wav_of(np.zeros((0, 1)), 16000, "PCM_16")[:44])
    header[4:8] = header[40:44] = b"\xff" * 4
    mouth.write(bytes(header) + samples[:48_000].tobytes())
    assert halfway.wait(timeout=20)
    mouth.write(samples[48_000:].tobytes())
    mouth.close()
    for thread in threads:
        thread.join(timeout=20)
    np.testing.assert_array_equal(np.frombuffer(result.getvalue(), "<i2"), samples)
