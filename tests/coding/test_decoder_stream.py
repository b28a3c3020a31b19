"""Live codes to sound: the sound of files, in steps of any length, across gaps."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from support.coding import NUM_CODEBOOKS, compressed, file_of, pushed, sound_of, wav_of
from support.damage import coded
from support.sounds import tone

from codec import bitstream
from codec.audio import AudioReader
from codec.coding.decoder_stream import DecoderStream
from codec.coding.encoder_stream import EncoderStream
from codec.config import EXCITATION_PERIOD
from codec.errors import BitstreamError
from codec.network import Codec
from codec.presets import samples
from codec.runtime import NumpyCodec


def test_live_sound_is_that_of_the_file(keras_codec: Codec) -> None:
    lam = compressed(wav_of(tone(1.3, 22050, 2), 22050), keras_codec, NUM_CODEBOOKS)
    expected = sound_of(io.BytesIO(lam), keras_codec)
    stream = DecoderStream(keras_codec, 22050, 2)
    pieces = [stream.push(chunk.codes) for chunk in bitstream.Reader(io.BytesIO(lam))]
    found = np.concatenate([*pieces, stream.flush()])
    assert len(expected) <= len(found) <= len(expected) + 22050 // 50 + 1
    np.testing.assert_allclose(found[: len(expected)], expected, atol=1e-4)


@pytest.mark.parametrize("frames", (1, 7, 120))
def test_both_forms_of_the_model_decode_chunks_of_any_length_the_same(
    keras_codec: Codec, numpy_codec: NumpyCodec, frames: int
) -> None:
    encoder = EncoderStream(numpy_codec, 16000, 1, num_codebooks=6, frames_per_chunk=frames)
    chunks = pushed(encoder, tone(2.6, 16000), [800])
    streams = DecoderStream(numpy_codec, 16000, 1), DecoderStream(keras_codec, 16000, 1)
    found, expected = (np.concatenate([*map(stream.push, chunks), stream.flush()]) for stream in streams)
    # Random weights leave phasors of nearly no length, which rounding turns.
    np.testing.assert_allclose(found, expected, atol=1e-2 * np.abs(expected).max())


@pytest.mark.parametrize("frames", [70, 120])
def test_chunks_of_odd_length_decode_in_a_file_as_live(numpy_codec: NumpyCodec, frames: int) -> None:
    """Filling up the step that ends a chunk, although more chunks followed, once changed the sound after it."""
    lam = coded(numpy_codec, tone(6.3, 16000), 16000, frames)
    whole = sound_of(io.BytesIO(lam), numpy_codec)
    stream = DecoderStream(numpy_codec, 16000, 1)
    live = [stream.push(chunk.codes) for chunk in bitstream.Reader(io.BytesIO(lam))]
    np.testing.assert_allclose(np.concatenate(live)[: 6 * 16000], whole[: 6 * 16000], atol=5e-5)


@pytest.mark.parametrize("clip", sorted(samples().glob("*.flac")), ids=lambda path: path.stem)
def test_the_default_preset_gives_the_same_sound_in_steps_of_any_length(
    clip: Path, default_codec: NumpyCodec
) -> None:
    with AudioReader(clip) as reader:
        sound, rate = reader.read(3 * reader.sample_rate), reader.sample_rate
    encoder = EncoderStream(default_codec, rate, 1, num_codebooks=24, seconds_per_step=3)
    codes = np.concatenate(pushed(encoder, sound, [rate]), axis=1)

    def decoded(frames: int) -> np.ndarray:
        stream, count = DecoderStream(default_codec, default_codec.config.sample_rate, 1), codes.shape[1]
        parts = [stream.push(codes[:, start : start + frames]) for start in range(0, count, frames)]
        return np.concatenate([*parts, stream.flush()])

    np.testing.assert_allclose(decoded(50), decoded(150), atol=1e-5)


def test_the_sound_depends_on_no_more_frames_than_the_model_says(numpy_codec: NumpyCodec) -> None:
    """Nothing is voiced here, so the excitation, whose phase starts again now and then, depends on nothing."""
    run_in = numpy_codec.run_in_frames - EXCITATION_PERIOD // 2
    hop = numpy_codec.config.hop_length
    codes = np.random.default_rng(0).integers(0, 1024, (1, run_in + 4, 24)).astype(np.int32)
    other = codes.copy()
    other[:, 0, 3:] = (other[:, 0, 3:] + 512) % 1024  # not the base, which is predicted from frame to frame
    one, two = (numpy_codec.decode_step(c, numpy_codec.decoder_state(1))[0][0, :, 0] for c in (codes, other))
    changed = np.flatnonzero(one != two)
    assert run_in * hop <= changed[-1] < (run_in + 1) * hop


def test_concealment_is_as_long_as_the_loss(numpy_codec: NumpyCodec) -> None:
    for frames, rate in itertools.product((1, 4, 50), (16000, 22050)):
        stream = DecoderStream(numpy_codec, rate, 2)
        codes = np.zeros((2, 50, 6), np.int32)
        pieces = [stream.push(codes), stream.conceal(frames), stream.push(codes), stream.flush()]
        length = (100 + frames) * 320 - numpy_codec.latency
        assert sum(map(len, pieces)) == -(-length * rate // 16000)


def test_a_failed_decode_does_not_change_the_next(numpy_codec: NumpyCodec) -> None:
    sound = tone(4.0, 16000, 2)
    encoder = EncoderStream(numpy_codec, 16000, 2, num_codebooks=6, frames_per_chunk=50)
    lam = file_of(encoder, sound, len(sound))
    before = sound_of(io.BytesIO(lam), numpy_codec)
    for bad in (lam[:-100], lam[: len(lam) // 2], lam[:1000] + b"\xff" + lam[1001:]):
        with pytest.raises(BitstreamError):
            sound_of(io.BytesIO(bad), numpy_codec)
        np.testing.assert_array_equal(sound_of(io.BytesIO(lam), numpy_codec), before)


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (np.zeros((1, 5, 6)), "`codes` must be integers .*, found float64"),
        (np.zeros((2, 5, 6), int), "`codes` must be of 1 channels, found 2"),
        (np.zeros((5, 6), int), r"found int64 of shape \[5, 6\]"),
        (np.zeros((1, 5, 25), int), "`codes` has 25 codebooks, this model has 24"),
        (np.full((1, 5, 6), 1024), "`codes` must be 0 to 1023, found 1024 to 1024"),
        (np.full((1, 5, 6), -1), "`codes` must be 0 to 1023, found -1 to -1"),
    ],
)
def test_codes_that_are_refused_change_nothing(
    numpy_codec: NumpyCodec, codes: np.ndarray, words: str
) -> None:
    stream, other = DecoderStream(numpy_codec, 16000, 1), DecoderStream(numpy_codec, 16000, 1)
    with pytest.raises(ValueError, match=words):
        stream.push(codes)
    good = np.ones((1, 7, 6), np.uint16)
    np.testing.assert_array_equal(stream.push(good), other.push(good))


def test_a_gap_of_no_frames_is_refused(numpy_codec: NumpyCodec) -> None:
    with pytest.raises(ValueError, match="`frames` must be a whole number from 1"):
        DecoderStream(numpy_codec, 16000, 1).conceal(0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 1), "`sample_rate` must be"),
        ((16000, 9), "`channels` must be"),
        ((16000, 1, -1), "`first_frame` must be"),
    ],
)
def test_formats_that_are_not_supported(
    numpy_codec: NumpyCodec, arguments: tuple[int, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        DecoderStream(numpy_codec, *arguments)
