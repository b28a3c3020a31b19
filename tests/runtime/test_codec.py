"""The codec in numpy: equal to the Keras model, the same in blocks and in one step, whole arrays."""

from __future__ import annotations

import dataclasses
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from support.contract import white
from support.models import random_codec
from support.sounds import speech, tone

from codec.coding.encoder_stream import EncoderStream
from codec.config import CodecConfig
from codec.dsp import NOISE_PERIOD
from codec.network.codec import Codec
from codec.presets import load, load_keras, model_id
from codec.runtime.codec import NumpyCodec
from codec.runtime.layers import Step


@pytest.mark.parametrize("num_codebooks", [1, 3, 24])
def test_codes_and_sound_of_the_keras_codec(
    numpy_codec: NumpyCodec, keras_codec: Codec, num_codebooks: int
) -> None:
    audio = 0.1 * white(2, 40 * numpy_codec.config.hop_length, 1)
    codes, _ = numpy_codec.encode_step(audio, numpy_codec.encoder_state(2), num_codebooks)
    expected = keras_codec.encode(audio, num_codebooks).numpy()
    assert codes.dtype == np.int32 and codes.shape == expected.shape
    assert np.mean(codes != expected) < 0.02  # random codewords have many near ties
    decoded, _ = numpy_codec.decode_step(expected, numpy_codec.decoder_state(2))
    sound = keras_codec.decode(expected).numpy()
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, sound, atol=1e-4 * np.abs(sound).max())


def test_adding_codewords_takes_little_memory_whatever_the_sizes(tiny_config: CodecConfig) -> None:
    sizes = {"num_codebooks": 255, "codebook_size": 2, "envelope_dim": 400, "core_codebooks": 200}
    model = random_codec(dataclasses.replace(tiny_config, **sizes))
    codes = np.random.default_rng(0).integers(0, 2, (1, 400, 255), dtype=np.int32)
    tracemalloc.start()
    try:
        whole, _ = model.decode_step(codes, model.decoder_state(1))
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("codec.runtime.quantizer.MAX_SUMMANDS", 1)
        in_parts, _ = model.decode_step(codes, model.decoder_state(1))
    np.testing.assert_array_equal(in_parts, whole)


def test_lost_frames_follow_the_predicted_base(numpy_codec: NumpyCodec, keras_codec: Codec) -> None:
    codes = np.random.default_rng(4).integers(0, 1024, (2, 4, 6)).astype(np.int32)
    _, state = numpy_codec.decode_step(codes, numpy_codec.decoder_state(2))
    _, keras_state = keras_codec.decode_step(codes, keras_codec.decoder_state(2))
    sound, after = numpy_codec.decode_step(codes[..., :0], state)
    expected, _ = keras_codec.decode_step(codes[..., :0], keras_state)
    np.testing.assert_allclose(sound, expected, atol=1e-4 * np.abs(sound).max())
    predicted = state["base"] @ np.linalg.matrix_power(numpy_codec._quantizer.prediction, 4)
    np.testing.assert_allclose(after["base"], predicted, rtol=1e-4, atol=1e-5)


def test_the_shipped_preset_codes_speech_as_the_keras_codec_does() -> None:
    numpy_codec, keras_codec = load(effort=0), load_keras()
    audio = speech(50, numpy_codec.config.hop_length)
    codes, _ = numpy_codec.encode_step(audio, numpy_codec.encoder_state(1), 24)
    expected = keras_codec.encode_step(audio, keras_codec.encoder_state(1), 24)[0].numpy()
    assert np.mean(codes != expected) < 1e-3
    decoded, _ = numpy_codec.decode_step(codes, numpy_codec.decoder_state(1))
    sound = keras_codec.decode_step(codes, keras_codec.decoder_state(1))[0].numpy()
    np.testing.assert_allclose(decoded, sound, atol=1e-4)


def test_blocks_are_the_whole(numpy_codec: NumpyCodec) -> None:
    """With one candidate only: with more, the frames of a step are searched together."""
    hop = numpy_codec.config.hop_length
    audio = 0.1 * white(2, 20 * hop, 1)
    whole, _ = numpy_codec.encode_step(audio, numpy_codec.encoder_state(2), 24)
    sound, _ = numpy_codec.decode_step(whole, numpy_codec.decoder_state(2))
    before, after, codes, decoded = numpy_codec.encoder_state(2), numpy_codec.decoder_state(2), [], []
    for start, end in ((0, 1), (1, 3), (3, 9), (9, 20)):
        found, before = numpy_codec.encode_step(audio[:, start * hop : end * hop], before, 24)
        piece, after = numpy_codec.decode_step(found, after)
        codes.append(found)
        decoded.append(piece)
    np.testing.assert_array_equal(np.concatenate(codes, axis=1), whole)
    np.testing.assert_allclose(np.concatenate(decoded, axis=1), sound, atol=1e-5 * np.abs(sound).max())


def test_a_step_does_not_change_its_input_state(numpy_codec: NumpyCodec) -> None:
    audio, state = 0.1 * white(1, 4 * numpy_codec.config.hop_length, 1), numpy_codec.encoder_state(1)
    first, after = numpy_codec.encode_step(audio, state, 6)
    again, _ = numpy_codec.encode_step(audio, state, 6)
    np.testing.assert_array_equal(first, again)
    assert set(state) == {"base"} and not state["base"].any()
    one, _ = numpy_codec.encode_step(audio, after, 6)
    other, _ = numpy_codec.encode_step(audio, after, 6)
    np.testing.assert_array_equal(one, other)


def test_codes_do_not_depend_on_later_samples(numpy_codec: NumpyCodec) -> None:
    hop = numpy_codec.config.hop_length
    audio = 0.1 * white(1, 12 * hop, 1)
    changed = audio.copy()
    changed[:, 8 * hop :] = np.nan
    before, _ = numpy_codec.encode_step(audio, numpy_codec.encoder_state(1), 6)
    after, _ = numpy_codec.encode_step(changed, numpy_codec.encoder_state(1), 6)
    np.testing.assert_array_equal(before[:, :8], after[:, :8])


def test_a_reset_of_the_prediction_changes_the_base_alone(numpy_codec: NumpyCodec) -> None:
    codes = np.random.default_rng(3).integers(0, 1024, (1, 5, 6)).astype(np.int32)
    _, state = numpy_codec.decode_step(codes, numpy_codec.decoder_state(1))
    after = numpy_codec.reset_prediction(state)
    assert state["base"].any() and not after["base"].any()
    assert after.keys() == state.keys() and after["synthesis"] is state["synthesis"]


def test_the_noise_repeats_after_its_period(numpy_codec: NumpyCodec, keras_codec: Codec) -> None:
    codes = np.zeros((1, 3, 3), np.int32)
    state = {**numpy_codec.decoder_state(1), "frame": np.array([NOISE_PERIOD - 2])}
    base = keras_codec.quantizer.initial_state(1)
    theirs = keras_codec.decoder_state(1)._replace(
        network=keras_codec.decoder.initial_state(1, NOISE_PERIOD - 2), base=base
    )
    ours, after = numpy_codec.decode_step(codes, state)
    expected, _ = keras_codec.decode_step(codes, theirs)
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())
    assert after["frame"].tolist() == [4]


def test_numpy_and_keras_have_the_same_identity(numpy_codec: NumpyCodec, keras_codec: Codec) -> None:
    assert model_id(numpy_codec) == model_id(keras_codec)
    assert numpy_codec.latency == keras_codec.latency


def test_more_candidates_find_closer_codes_that_any_decoder_reads(
    tiny_preset: Path, numpy_codec: NumpyCodec
) -> None:
    audio = 0.1 * white(2, 120 * numpy_codec.config.hop_length, 1)  # the predictor is reset twice
    errors = []
    for effort in (0, 1, 3):
        codec = load(tiny_preset, effort)
        codes, _ = codec.encode_step(audio, codec.encoder_state(2), 12)
        latents = codec._encoder.latents(Step({}), audio)
        quantized = numpy_codec._quantizer.decode(codes, Step(numpy_codec.decoder_state(2)))
        errors.append(float(np.mean((latents - quantized) ** 2)))
    assert errors[0] > errors[1] > errors[2]


def test_whole_arrays_come_back_at_their_rate(default_codec: NumpyCodec) -> None:
    samples_in = tone(2.3, 44100, 2)
    codes = default_codec.encode(samples_in, 44100, bitrate=6000)
    assert codes.shape == (2, 116, 12) and codes.dtype == np.int32
    samples_out = default_codec.decode(codes, 44100)
    assert samples_out.dtype == np.float32 and samples_out.shape[1] == 2
    assert 0 <= len(samples_out) - len(samples_in) <= 2 * 882  # at most two frames more
    assert np.corrcoef(samples_out[: len(samples_in), 0], samples_in[:, 0])[0, 1] > 0.5


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_codes_of_an_array_are_those_of_a_stream(numpy_codec: NumpyCodec, channels: int) -> None:
    samples_in = tone(2.3, 22050, channels)
    stream = EncoderStream(numpy_codec, 22050, channels, num_codebooks=6)
    pieces = [
        chunk
        for start in range(0, len(samples_in), 5000)
        for chunk in stream.push(samples_in[start : start + 5000])
    ]
    expected = np.concatenate([*pieces, *stream.flush()], axis=1)
    np.testing.assert_array_equal(numpy_codec.encode(samples_in, 22050, num_codebooks=6), expected)


def test_one_channel_may_be_given_as_a_vector(numpy_codec: NumpyCodec) -> None:
    samples_in = tone(0.5, 16000)
    vector = numpy_codec.encode(samples_in[:, 0], 16000)
    np.testing.assert_array_equal(vector, numpy_codec.encode(samples_in, 16000))


def test_no_samples_have_no_codes_and_come_back_as_none(numpy_codec: NumpyCodec) -> None:
    codes = numpy_codec.encode(np.zeros((0, 2), np.float32), 16000)
    assert codes.shape == (2, 0, 12)
    assert numpy_codec.decode(codes, 16000).shape == (0, 2)


@pytest.mark.parametrize(
    ("samples_in", "message"),
    [
        (np.zeros(10, np.int16), "floats in -1 .. 1, found int16; divide 16-bit integers by 32768"),
        (np.zeros((10, 9), np.float32), "1 to 8 channels, found shape \\[10, 9\\]"),
        (np.full((10, 1), np.nan, np.float32), "finite numbers, found NaN or infinity"),
        (np.full((10, 1), 1e30, np.float32), "within -1 .. 1, found 1e\\+30"),
    ],
)
def test_samples_are_checked(numpy_codec: NumpyCodec, samples_in: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        numpy_codec.encode(samples_in, 16000)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((1, 2, 3)), "integers \\[channel, frame, codebook\\], found float64"),
        (np.zeros((2, 3), np.int32), "found int32 of shape \\[2, 3\\]"),
        (np.full((1, 2, 3), -1), "0 to 1023, found -1 to -1"),
        (np.full((1, 2, 3), 2**40), "0 to 1023"),
        (np.zeros((1, 2, 25), np.int32), "25 codebooks, this model has 24"),
    ],
)
def test_codes_are_checked(numpy_codec: NumpyCodec, codes: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        numpy_codec.decode(codes, 16000)
