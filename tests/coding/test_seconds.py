"""Several seconds in one step: the codes and the sound of steps of a second, in any order of pushes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from support.contract import white
from support.sounds import tone
from support.streams import Pipe

from codec.audio import AudioReader
from codec.coding.compression import DecoderStream, EncoderStream, compress, decompress
from codec.presets import load, samples
from codec.runtime.codec import NumpyCodec


def codes_of(stream: EncoderStream, sound: np.ndarray, sizes: list[int]) -> np.ndarray:
    chunks, start, turn = [], 0, 0
    while start < len(sound):
        chunks += stream.push(sound[start : start + sizes[turn % len(sizes)]])
        start, turn = start + sizes[turn % len(sizes)], turn + 1
    return np.concatenate(chunks + stream.flush(), axis=1)


def sound_of(codec: NumpyCodec, codes: np.ndarray, frames: int) -> np.ndarray:
    """Decoded, so many frames at a time."""
    stream, count = DecoderStream(codec, codec.config.sample_rate, len(codes)), codes.shape[1]
    parts = [stream.push(codes[:, start : start + frames]) for start in range(0, count, frames)]
    return np.concatenate([*parts, stream.flush()])


@pytest.mark.parametrize("frames", (30, 50, 100, 130, 201))
def test_a_long_step_is_steps_that_begin_anew_each_second(numpy_codec: NumpyCodec, frames: int) -> None:
    hop = numpy_codec.config.hop_length
    audio = 0.1 * white(2, frames * hop, 1)
    whole, after = numpy_codec.encode_step(audio, numpy_codec.encoder_state(2), 6)
    sound, last = numpy_codec.decode_step(whole, numpy_codec.decoder_state(2))
    before, begun, codes, decoded = numpy_codec.encoder_state(2), numpy_codec.decoder_state(2), [], []
    for start in range(0, frames, 50):
        block = audio[:, start * hop : (start + 50) * hop]
        found, before = numpy_codec.encode_step(block, numpy_codec.reset_prediction(before), 6)
        piece, begun = numpy_codec.decode_step(
            whole[:, start : start + 50], numpy_codec.reset_prediction(begun)
        )
        codes.append(found)
        decoded.append(piece)
    assert np.mean(np.concatenate(codes, axis=1) == whole) > 0.99  # ties of random codewords
    # random weights leave directions of nearly no length, which rounding turns
    np.testing.assert_allclose(np.concatenate(decoded, axis=1), sound, atol=1e-2 * np.abs(sound).max())
    np.testing.assert_allclose(begun["base"], last["base"], atol=1e-5)
    assert before.keys() == after.keys() and before["base"].shape == after["base"].shape


@pytest.mark.parametrize("clip", sorted(samples().glob("*.flac")), ids=lambda path: path.stem)
def test_the_shipped_preset_gives_the_same_codes_and_sound_in_steps_of_any_length(
    clip: Path, default_codec: NumpyCodec
) -> None:
    with AudioReader(clip) as reader:
        sound, rate = reader.read(5 * reader.sample_rate), reader.sample_rate
    (each, several), (plain, other) = (
        [
            codes_of(EncoderStream(codec, rate, 1, 24, seconds_per_step=seconds), sound, [rate])
            for seconds in (1, 3)
        ]
        for codec in (default_codec, load(candidates=1))
    )
    assert np.mean(plain != other) < 1e-3
    assert np.mean(np.any(each != several, axis=-1)) < 1e-2  # a near tie may change a row that is searched
    np.testing.assert_allclose(
        sound_of(default_codec, each, 50), sound_of(default_codec, each, 250), atol=1e-5
    )


@settings(max_examples=25, deadline=None)
@given(
    seconds=st.floats(0.01, 5.0),
    channels=st.integers(1, 3),
    frames=st.sampled_from([7, 50, 70, 100, 150]),
    together=st.integers(1, 4),
    sizes=st.lists(st.integers(1, 30_000), min_size=1, max_size=4),
)
def test_pushes_of_any_size_give_the_same_codes(
    numpy_codec: NumpyCodec, seconds: float, channels: int, frames: int, together: int, sizes: list[int]
) -> None:
    sound = tone(seconds, 16000, channels)
    at_once, pushed = (
        codes_of(EncoderStream(numpy_codec, 16000, channels, 4, frames, together), sound, pushes)
        for pushes in ([len(sound)], [max(sizes), *sizes])
    )
    np.testing.assert_array_equal(at_once, pushed)
    least = len(sound) + numpy_codec.latency
    assert at_once.shape[1] == -(-least // numpy_codec.config.hop_length)


def test_chunks_have_their_length_whatever_the_steps(numpy_codec: NumpyCodec) -> None:
    stream = EncoderStream(numpy_codec, 16000, 1, 4, frames_per_chunk=150, seconds_per_step=4)
    chunks = [*stream.push(tone(7.3, 16000)), *stream.flush()]
    assert [chunk.shape[1] for chunk in chunks] == [150, 150, 66]


def test_a_pipe_gives_the_samples_of_the_file_but_for_rounding(numpy_codec: NumpyCodec) -> None:
    """A pipe is decoded chunk by chunk, a file several seconds at a time."""
    sound, lam = io.BytesIO(), io.BytesIO()
    soundfile.write(sound, tone(5.2, 16000), 16000, format="WAV")
    sound.seek(0)
    compress(sound, lam, numpy_codec, 12)
    found = [io.BytesIO(), io.BytesIO()]
    decompress(io.BytesIO(lam.getvalue()), found[0], numpy_codec)
    decompress(Pipe(lam.getvalue(), 1000), found[1], numpy_codec)  # type: ignore[arg-type]
    file, pipe = (np.frombuffer(target.getvalue()[44:], "<i2").astype(int) for target in found)
    assert file.shape == pipe.shape == (5.2 * 16000,)
    assert np.abs(file - pipe).max() <= 1 + 0.01 * np.abs(file).max()  # of the untrained model


def test_memory_is_that_of_a_few_seconds_of_one_channel(default_codec: NumpyCodec) -> None:
    """Steps have fewer seconds where there are more channels."""
    sizes = []

    class Recorder(NumpyCodec):
        def encode_step(self, audio, state, num_codebooks):  # type: ignore[no-untyped-def]
            sizes.append(audio.shape[0] * audio.shape[1] / self.config.sample_rate)
            return np.zeros(
                (len(audio), audio.shape[1] // self.config.hop_length, num_codebooks), np.int32
            ), state

    codec = Recorder(default_codec.config, default_codec.weights)
    for channels in (1, 2, 3, 8):
        sound = io.BytesIO()
        soundfile.write(sound, np.zeros((20 * 8000, channels), np.int16), 8000, format="WAV")
        sound.seek(0)
        compress(sound, io.BytesIO(), codec, 12)
    assert max(sizes) == NumpyCodec.seconds_at_once
