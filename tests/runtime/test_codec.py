"""The codec in numpy gives what the Keras model gives, in blocks as in one step, and loads no framework."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.contract import white
from support.sounds import speech

from codec.architecture import weight_shapes
from codec.bitstream import Reader
from codec.config import CodecConfig
from codec.dsp import NOISE_PERIOD
from codec.network.codec import Codec
from codec.presets import DEFAULT_PRESET, load, load_keras, model_id, samples, shipped_weights
from codec.runtime.codec import NumpyCodec
from codec.runtime.layers import Step


@pytest.fixture(scope="module")
def keras_model(tiny_preset: Path) -> Codec:
    return load_keras(tiny_preset)


@pytest.mark.parametrize("num_codebooks", [1, 3, 24])
def test_codes_and_sound_of_the_keras_model(
    numpy_codec: NumpyCodec, keras_model: Codec, num_codebooks: int
) -> None:
    audio = 0.1 * white(2, 40 * numpy_codec.config.hop_length, 1)
    codes, _ = numpy_codec.encode_step(audio, numpy_codec.encoder_state(2), num_codebooks)
    expected = keras_model.encode(audio, num_codebooks).numpy()
    assert codes.dtype == np.int32 and codes.shape == expected.shape
    assert (
        np.mean(codes != expected) < 0.02
    )  # of random codewords many are near ties, and a frame follows the last
    decoded, _ = numpy_codec.decode_step(expected, numpy_codec.decoder_state(2))
    sound = keras_model.decode(expected).numpy()
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, sound, atol=1e-4 * np.abs(sound).max())


def test_lost_frames_of_which_no_code_is_left(numpy_codec: NumpyCodec, keras_model: Codec) -> None:
    """What the base predicts alone goes on."""
    codes = np.random.default_rng(4).integers(0, 1024, (2, 4, 6)).astype(np.int32)
    _, state = numpy_codec.decode_step(codes, numpy_codec.decoder_state(2))
    _, keras_state = keras_model.decode_step(codes, keras_model.decoder_state(2))
    sound, after = numpy_codec.decode_step(codes[..., :0], state)
    expected, _ = keras_model.decode_step(codes[..., :0], keras_state)
    np.testing.assert_allclose(sound, expected, atol=1e-4 * np.abs(sound).max())
    predicted = state["base"] @ np.linalg.matrix_power(numpy_codec._quantizer.prediction, 4)
    np.testing.assert_allclose(after["base"], predicted, rtol=1e-4, atol=1e-5)


def test_the_shipped_preset_codes_speech_as_the_keras_model_does() -> None:
    numpy_codec, keras_model = load(DEFAULT_PRESET, candidates=1), load_keras(DEFAULT_PRESET)
    audio = speech(50, numpy_codec.config.hop_length)
    codes, _ = numpy_codec.encode_step(audio, numpy_codec.encoder_state(1), 24)
    expected = keras_model.encode_step(audio, keras_model.encoder_state(1), 24)[0].numpy()
    assert np.mean(codes != expected) < 1e-3
    decoded, _ = numpy_codec.decode_step(codes, numpy_codec.decoder_state(1))
    sound = keras_model.decode_step(codes, keras_model.decoder_state(1))[0].numpy()
    np.testing.assert_allclose(decoded, sound, atol=1e-4)


def test_blocks_are_the_whole(numpy_codec: NumpyCodec) -> None:
    """With one candidate: with more the frames of a step are searched together, see `test_seconds`."""
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


def test_a_step_leaves_the_state_it_was_given(numpy_codec: NumpyCodec) -> None:
    audio, state = 0.1 * white(1, 4 * numpy_codec.config.hop_length, 1), numpy_codec.encoder_state(1)
    first, after = numpy_codec.encode_step(audio, state, 6)
    again, _ = numpy_codec.encode_step(audio, state, 6)
    np.testing.assert_array_equal(first, again)
    assert set(state) == {"base"} and not state["base"].any()
    one, _ = numpy_codec.encode_step(audio, after, 6)
    other, _ = numpy_codec.encode_step(audio, after, 6)
    np.testing.assert_array_equal(one, other)


def test_nothing_depends_on_what_is_to_come(numpy_codec: NumpyCodec) -> None:
    hop = numpy_codec.config.hop_length
    audio = 0.1 * white(1, 12 * hop, 1)
    spoiled = audio.copy()
    spoiled[:, 8 * hop :] = np.nan
    before, _ = numpy_codec.encode_step(audio, numpy_codec.encoder_state(1), 6)
    after, _ = numpy_codec.encode_step(spoiled, numpy_codec.encoder_state(1), 6)
    np.testing.assert_array_equal(before[:, :8], after[:, :8])


def test_a_restart_forgets_the_base_alone(numpy_codec: NumpyCodec) -> None:
    codes = np.random.default_rng(3).integers(0, 1024, (1, 5, 6)).astype(np.int32)
    _, state = numpy_codec.decode_step(codes, numpy_codec.decoder_state(1))
    begun = numpy_codec.reset_prediction(state)
    assert state["base"].any() and not begun["base"].any()
    assert begun.keys() == state.keys() and begun["synthesis"] is state["synthesis"]


def test_the_noise_goes_round(numpy_codec: NumpyCodec, keras_model: Codec) -> None:
    codes = np.zeros((1, 3, 3), np.int32)
    state = {**numpy_codec.decoder_state(1), "noise": np.array([NOISE_PERIOD - 2])}
    base = keras_model.quantizer.initial_state(1)
    theirs = keras_model.decoder_state(1)._replace(
        network=keras_model.decoder.initial_state(1, NOISE_PERIOD - 2), base=base
    )
    ours, after = numpy_codec.decode_step(codes, state)
    expected, _ = keras_model.decode_step(codes, theirs)
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())
    assert after["noise"].tolist() == [4]


def test_names_and_shapes_are_those_of_the_keras_model(keras_codec: Codec) -> None:
    found = {name: tuple(weight.shape) for name, weight in shipped_weights(keras_codec).items()}
    assert weight_shapes(keras_codec.config) == found
    total = sum(int(np.prod(shape)) for shape in weight_shapes(CodecConfig()).values())
    assert total == pytest.approx(8.9e6, rel=0.03)


def test_has_the_identity_of_its_preset(numpy_codec: NumpyCodec, keras_model: Codec) -> None:
    assert model_id(numpy_codec) == model_id(keras_model)
    assert numpy_codec.latency == keras_model.latency


def test_compressing_loads_no_framework(tiny_preset: Path, wav: Path, tmp_path: Path) -> None:
    code = """
import sys
from cli.main import lamella
wav, lam, again, model = sys.argv[1:]
lamella(["compress", "-q", "-m", model, wav, lam], standalone_mode=False)
lamella(["decompress", "-q", "-m", model, lam, again], standalone_mode=False)
print(sorted({"tensorflow", "keras", "jax", "librosa", "scipy", "numba"} & set(sys.modules)))
"""
    paths = [str(wav), str(tmp_path / "a.lam"), str(tmp_path / "a.wav"), str(tiny_preset)]
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code, *paths], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr[-2000:]


def test_more_candidates_find_closer_codes_that_any_decoder_reads(
    tiny_preset: Path, numpy_codec: NumpyCodec
) -> None:
    audio = 0.1 * white(2, 120 * numpy_codec.config.hop_length, 1)  # begins anew twice
    errors = []
    for candidates in (1, 2, 8):
        codec = load(tiny_preset, candidates)
        codes, _ = codec.encode_step(audio, codec.encoder_state(2), 12)
        latents = codec._encoder.latents(Step(codec._encoder.weights, {}), audio)
        quantized = numpy_codec._quantizer.decode(codes, Step({}, numpy_codec.decoder_state(2)))
        errors.append(float(np.mean((latents - quantized) ** 2)))
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("clip", [path.name for path in sorted(samples().glob("*.flac"))])
def test_one_thread_and_two_give_the_same_codes(clip: str, tmp_path: Path) -> None:
    """Latents differ by 2e-6 of their size: at most two near ties fall differently, and their seconds with them."""
    root = Path(__file__).parents[2]
    for threads in ("1", "2"):
        command = [
            sys.executable,
            "-m",
            "cli.main",
            "compress",
            "-q",
            "-b",
            "12k",
            "--effort",
            "0",
            str(samples() / clip),
        ]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        subprocess.run([*command, str(tmp_path / threads)], cwd=root, env=environment, check=True)
    prior, ones_and_twos = load().prior, []
    for threads in ("1", "2"):
        with (tmp_path / threads).open("rb") as file:
            ones_and_twos.append([chunk.codes for chunk in Reader(file, prior)])
    one, two = ones_and_twos
    assert len(one) > 2 and sum(np.any(a != b) for a, b in zip(one, two, strict=True)) <= 2
