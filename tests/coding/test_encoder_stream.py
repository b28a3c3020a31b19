"""Live sound to codes: the codes of files, whatever the blocks and the steps."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.coding import NUM_CODEBOOKS, codes_of, compressed, pushed, wav_of
from support.contract import white
from support.sounds import tone

from codec.audio import AudioReader
from codec.coding.encoder_stream import EncoderStream
from codec.config import CodecConfig
from codec.network import Codec
from codec.presets import DEFAULT_PRESET, load, samples
from codec.runtime import NumpyCodec


def codes_from(stream: EncoderStream, sound: np.ndarray, *sizes: int) -> np.ndarray:
    return np.concatenate(pushed(stream, sound, sizes), axis=1)


@pytest.mark.parametrize("sizes", ([441], [100_000], [1, 2000, 7, 30_000]))
def test_live_codes_are_those_of_the_file(keras_codec: Codec, sizes: list[int]) -> None:
    sound = tone(2.3, 22050, 2)
    lam = compressed(wav_of(sound, 22050), keras_codec, NUM_CODEBOOKS)
    stream = EncoderStream(keras_codec, 22050, 2, num_codebooks=NUM_CODEBOOKS)
    chunks = pushed(stream, sound, sizes)
    assert all(chunk.dtype == np.int32 and chunk.shape[1] == stream.frames_per_chunk for chunk in chunks[:-1])
    np.testing.assert_array_equal(np.concatenate(chunks, axis=1), codes_of(lam))
    assert stream.num_samples == len(sound)


@pytest.mark.parametrize("frames", (9, 50, 150))
def test_each_second_and_each_chunk_resets_the_prediction(keras_codec: Codec, frames: int) -> None:
    """The codes are those of steps that reset it, but for ties that rounding may decide differently."""
    sound, hop = tone(3.2, 16000), keras_codec.config.hop_length
    stream = EncoderStream(keras_codec, 16000, 1, num_codebooks=NUM_CODEBOOKS, frames_per_chunk=frames)
    found = codes_from(stream, sound, 5000)
    state, parts = keras_codec.encoder_state(1), []
    starts = [*range(0, 160, min(frames, 50)), 160]
    for start, end in itertools.pairwise(starts):
        block = sound[np.newaxis, start * hop : end * hop]
        codes, state = keras_codec.encode_step(block, keras_codec.reset_prediction(state), NUM_CODEBOOKS)
        parts.append(codes)
    assert np.mean(found[:, :160] == np.concatenate(parts, axis=1)) > 0.99


@settings(max_examples=20)
@given(
    seconds=st.floats(0.01, 3.0),
    channels=st.integers(1, 3),
    frames=st.sampled_from([7, 50, 70, 100]),
    seconds_per_step=st.integers(1, 3),
    sizes=st.lists(st.integers(1, 30_000), min_size=1, max_size=4),
)
def test_blocks_of_any_size_give_the_same_codes(
    numpy_codec: NumpyCodec,
    seconds: float,
    channels: int,
    frames: int,
    seconds_per_step: int,
    sizes: list[int],
) -> None:
    sound = tone(seconds, 16000, channels)
    whole, pieces = (
        codes_from(
            EncoderStream(
                numpy_codec,
                16000,
                channels,
                num_codebooks=4,
                frames_per_chunk=frames,
                seconds_per_step=seconds_per_step,
            ),
            sound,
            *blocks,
        )
        for blocks in ([len(sound)], [*sizes, 4000])  # a large one too: thousands of pushes take long
    )
    np.testing.assert_array_equal(whole, pieces)
    least = len(sound) + numpy_codec.latency
    assert whole.shape[1] == -(-least // numpy_codec.config.hop_length)


@pytest.mark.parametrize("frames", (30, 50, 100, 130, 201))
def test_a_long_step_equals_steps_of_a_second(numpy_codec: NumpyCodec, frames: int) -> None:
    hop = numpy_codec.config.hop_length
    audio = 0.1 * white(2, frames * hop, 1)
    whole, after = numpy_codec.encode_step(audio, numpy_codec.encoder_state(2), 6)
    sound, last = numpy_codec.decode_step(whole, numpy_codec.decoder_state(2))
    encoder, decoder = numpy_codec.encoder_state(2), numpy_codec.decoder_state(2)
    codes, decoded = [], []
    for start in range(0, frames, 50):
        block = audio[:, start * hop : (start + 50) * hop]
        found, encoder = numpy_codec.encode_step(block, numpy_codec.reset_prediction(encoder), 6)
        part = whole[:, start : start + 50]
        piece, decoder = numpy_codec.decode_step(part, numpy_codec.reset_prediction(decoder))
        codes.append(found)
        decoded.append(piece)
    assert np.mean(np.concatenate(codes, axis=1) == whole) > 0.99  # ties of random codewords
    # Random weights leave phasors of nearly no length, which rounding turns.
    np.testing.assert_allclose(np.concatenate(decoded, axis=1), sound, atol=1e-2 * np.abs(sound).max())
    np.testing.assert_allclose(decoder["base"], last["base"], atol=1e-5)
    assert encoder.keys() == after.keys() and encoder["base"].shape == after["base"].shape


@pytest.mark.parametrize("clip", sorted(samples().glob("*.flac")), ids=lambda path: path.stem)
def test_the_default_preset_gives_the_same_codes_in_steps_of_any_length(
    clip: Path, default_codec: NumpyCodec
) -> None:
    with AudioReader(clip) as reader:
        sound, rate = reader.read(3 * reader.sample_rate), reader.sample_rate
    (each, several), (greedy_each, greedy_several) = (
        [
            codes_from(EncoderStream(model, rate, 1, num_codebooks=12, seconds_per_step=seconds), sound, rate)
            for seconds in (1, 3)
        ]
        for model in (default_codec, load(DEFAULT_PRESET, effort=0))
    )
    assert np.mean(greedy_each != greedy_several) < 1e-3
    assert np.mean(np.any(each != several, axis=-1)) < 1e-2  # a near tie may change the whole row of a search


def test_chunks_have_their_length_whatever_the_steps(numpy_codec: NumpyCodec) -> None:
    stream = EncoderStream(numpy_codec, 16000, 1, num_codebooks=4, frames_per_chunk=150, seconds_per_step=4)
    chunks = [*stream.push(tone(7.3, 16000)), *stream.flush()]
    assert [chunk.shape[1] for chunk in chunks] == [150, 150, 66]


def test_streams_that_share_a_model_do_not_change_each_other(keras_codec: Codec) -> None:
    first, second = tone(1.2, 16000), tone(1.2, 16000)[::-1]
    alone, one, other = (
        EncoderStream(keras_codec, 16000, 1, num_codebooks=3, frames_per_chunk=20) for _ in range(3)
    )
    expected, mixed = codes_from(alone, first, 6400), []
    for start in range(0, len(first), 6400):
        mixed += one.push(first[start : start + 6400])
        other.push(second[start : start + 6400])
    np.testing.assert_array_equal(np.concatenate(mixed + one.flush(), axis=1), expected)


def test_a_channel_has_the_same_codes_alone_and_beside_others(default_codec: NumpyCodec) -> None:
    with AudioReader(next(samples().glob("1-speech.*"))) as reader:
        sound, rate = reader.read(2 * reader.sample_rate), reader.sample_rate
    together = np.concatenate([sound, sound[::-1], 0.3 * sound], axis=1)
    alone, beside = (
        codes_from(EncoderStream(default_codec, rate, block.shape[1], num_codebooks=6), block, rate)
        for block in (sound, together)
    )
    assert np.mean(alone[0] != beside[0]) < 1e-2  # near ties


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((7999, 1), "`sample_rate` must be a whole number from 8000 to 192000, found 7999"),
        ((16000.5, 1), "`sample_rate` must be a whole number from 8000 to 192000, found 16000.5"),
        ((16000, 0), "`channels` must be a whole number from 1 to 8, found 0"),
        ((16000, 9), "`channels` must be a whole number from 1 to 8, found 9"),
    ],
)
def test_formats_that_are_not_supported(
    numpy_codec: NumpyCodec, arguments: tuple[int, int], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        EncoderStream(numpy_codec, *arguments)


def test_rates_that_the_model_does_not_offer(numpy_codec: NumpyCodec, tiny_config: CodecConfig) -> None:
    for count in (0, tiny_config.num_codebooks + 1):
        with pytest.raises(ValueError, match="`num_codebooks` must be 1 to 24"):
            EncoderStream(numpy_codec, 16000, 1, num_codebooks=count)
    with pytest.raises(ValueError, match="frames_per_chunk 3001, expected an integer from 1 to 3000"):
        EncoderStream(numpy_codec, 16000, 1, frames_per_chunk=3001)
    with pytest.raises(ValueError, match="`seconds_per_step` must be"):
        EncoderStream(numpy_codec, 16000, 1, seconds_per_step=0)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.zeros((10, 2), np.int16), "floats .* found int16; divide 16-bit integers by 32768"),
        (np.zeros((10, 1)), r"must be \[time, 2\], found shape \[10, 1\]"),
        (np.zeros(10), r"must be \[time, 2\], found shape \[10\]"),
        (np.array([[0, 0], [0, np.nan]]), "found NaN or infinity"),
        (np.array([[0, 0], [np.inf, 0]]), "found NaN or infinity"),
    ],
)
def test_samples_that_are_refused_change_nothing(
    numpy_codec: NumpyCodec, samples: np.ndarray, words: str
) -> None:
    stream, other = (EncoderStream(numpy_codec, 16000, 2, num_codebooks=3) for _ in range(2))
    with pytest.raises(ValueError, match=words):
        stream.push(samples)
    sound = tone(0.3, 16000, 2)
    np.testing.assert_array_equal(codes_from(stream, sound, 5000), codes_from(other, sound, 5000))


def test_samples_in_double_precision_are_taken(numpy_codec: NumpyCodec) -> None:
    sound = tone(0.3, 16000)
    streams = [EncoderStream(numpy_codec, 16000, 1, num_codebooks=3) for _ in range(2)]
    single, double = (
        codes_from(stream, block, 5000)
        for stream, block in zip(streams, (sound, sound.astype(np.float64)), strict=True)
    )
    np.testing.assert_array_equal(single, double)
