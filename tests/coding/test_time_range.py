"""A part of a file is, sample for sample, that part of the whole, and only what it needs is read."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.coding import fake, sound_of, wav_of
from support.damage import coded, part_of
from support.sounds import tone
from support.streams import Pipe

from codec import bitstream
from codec.audio import AudioReader
from codec.coding.compression import EncoderStream, compress, decompress
from codec.coding.decoder_stream import DecoderStream
from codec.coding.time_range import first_chunk, last_chunk
from codec.config import EXCITATION_PERIOD
from codec.errors import CodecError, Truncated
from codec.network.codec import Codec
from codec.presets import samples
from codec.runtime.codec import NumpyCodec

SECONDS = 6.3


@functools.cache
def file_and_sound(
    codec: NumpyCodec, rate: int, channels: int, frames: int | None, opened: type = io.BytesIO
) -> tuple[bytes, np.ndarray]:
    """A file, and its sound, in steps of some seconds from a file, of a chunk from a pipe: last bits may differ."""
    lam = coded(codec, tone(SECONDS, rate, channels), rate, frames)
    return lam, sound_of(opened(lam), codec)[0]


@settings(max_examples=60, deadline=None)
@given(
    rate=st.sampled_from((8000, 16000, 22050, 44100)),
    channels=st.sampled_from((1, 2)),
    frames=st.sampled_from((None, 7, 70, 120)),
    times=st.tuples(st.floats(0, 6.29), st.floats(0, 8)).filter(lambda pair: pair[1] - pair[0] > 1e-3),
    opened=st.sampled_from((io.BytesIO, functools.partial(Pipe, step=999))),
)
def test_a_part_is_that_of_the_whole(
    numpy_codec: NumpyCodec,
    rate: int,
    channels: int,
    frames: int | None,
    times: tuple[float, float],
    opened: type,
) -> None:
    lam, whole = file_and_sound(numpy_codec, rate, channels, frames, opened)
    found = part_of(opened(lam), numpy_codec, *times)
    expected = whole[round(times[0] * rate) : round(times[1] * rate)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (48000, 1)])
def test_real_sound_and_the_shipped_model(default_codec: NumpyCodec, rate: int, channels: int) -> None:
    with AudioReader(next(samples().glob("2-*"))) as reader:
        sound = reader.read(5 * reader.sample_rate)[:, :1]
    sound = np.concatenate([sound, 0.5 * sound[::-1]], axis=1)[:, :channels]
    lam = coded(default_codec, sound, rate)
    whole, _ = sound_of(io.BytesIO(lam), default_codec)
    for start, end in ((0.5, 1.25), (2.7, 3.1), (3.3, None)):
        stop = None if end is None else round(end * rate)
        np.testing.assert_array_equal(
            part_of(io.BytesIO(lam), default_codec, start, end), whole[round(start * rate) : stop]
        )


def test_the_keras_model_seeks_too(keras_codec: Codec) -> None:
    lam = coded(keras_codec, tone(4.3, 16000), 16000)
    whole, _ = sound_of(io.BytesIO(lam), keras_codec)
    np.testing.assert_array_equal(part_of(io.BytesIO(lam), keras_codec, 2.5, 3.75), whole[40_000:60_000])


def test_the_sound_hangs_on_no_more_frames_than_the_config_says(numpy_codec: NumpyCodec) -> None:
    """Nothing is voiced here: then the pulses, whose phase begins anew now and then, hang on nothing."""
    run_in, hop = numpy_codec.config.run_in_frames - EXCITATION_PERIOD // 2, numpy_codec.config.hop_length
    codes = np.random.default_rng(0).integers(0, 1024, (1, run_in + 4, 24)).astype(np.int32)
    other = codes.copy()
    other[:, 0, 3:] = (other[:, 0, 3:] + 512) % 1024  # not the base, which is predicted from frame to frame
    one, two = (numpy_codec.decode_step(c, numpy_codec.decoder_state(1))[0][0, :, 0] for c in (codes, other))
    changed = np.flatnonzero(one != two)
    assert run_in * hop <= changed[-1] < (run_in + 1) * hop


class Counting(io.BytesIO):
    """A file that counts the bytes read from it."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def test_only_the_chunks_that_are_needed_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = fake(monkeypatch)
    target = io.BytesIO()
    compress(io.BytesIO(wav_of(np.zeros((60 * 16000, 1)), 16000)), target, codec, 32)
    lam = target.getvalue()
    size = bitstream.Reader(io.BytesIO(lam)).chunk_offsets
    assert size is not None
    chunk = size[1] - size[0]
    # Three seconds are decoded at once, and in the same three whatever is wanted.
    for start, end, chunks in ((30.5, 31.5, 6), (0.0, 0.5, 3), (59.5, None, 3)):
        file = Counting(lam)
        assert len(part_of(file, codec, start, end)) == round(((end or 60.0) - start) * 16000)
        spare = (
            43 + 2**16 + len(lam) - size[-1] if end is None else 43 + 2**16
        )  # header, index; the short last chunk
        assert file.count <= spare + chunks * chunk


@pytest.mark.parametrize("rate", [8000, 44100, 48000, 47999])
@pytest.mark.parametrize("frames", [1, 9, 50, 70, 200])
def test_the_first_chunk_is_the_last_that_will_do(numpy_codec: NumpyCodec, rate: int, frames: int) -> None:
    header = EncoderStream(numpy_codec, rate, 1, 6, frames).header(None)
    for sample in range(0, 20 * rate, 3 * rate // 7):
        first = first_chunk(header, numpy_codec, sample)
        assert DecoderStream(numpy_codec, rate, 1, first * frames).first_sample <= sample
        assert DecoderStream(numpy_codec, rate, 1, (first + 1) * frames).first_sample > sample // rate * rate


@pytest.mark.parametrize("rate", [8000, 44100])
def test_behind_the_last_chunk_nothing_is_needed(numpy_codec: NumpyCodec, rate: int) -> None:
    stop, frames = 5 * rate // 2, 9
    last = last_chunk(EncoderStream(numpy_codec, rate, 1, 6, frames).header(None), numpy_codec, stop)
    sound = DecoderStream(numpy_codec, rate, 1).push(np.zeros((1, (last + 1) * frames, 6), np.int32))
    assert stop <= len(sound) < stop + 2 * rate


def test_a_cut_file_is_read_from_its_beginning(numpy_codec: NumpyCodec) -> None:
    lam, whole = file_and_sound(numpy_codec, 16000, 1, None, Pipe)  # without an index it is read as a pipe is
    cut = lam[: len(lam) * 4 // 5]
    np.testing.assert_array_equal(part_of(io.BytesIO(cut), numpy_codec, 2.5, 3.5), whole[40_000:56_000])
    with pytest.raises(Truncated, match=r"chunk 2 at byte \d+ \(4.00 s\)"):
        part_of(io.BytesIO(cut), numpy_codec, 2.5, None)


@pytest.mark.parametrize("opened", [io.BytesIO, Pipe])
def test_a_start_behind_the_end(numpy_codec: NumpyCodec, opened: type, tmp_path: Path) -> None:
    lam = bytearray(file_and_sound(numpy_codec, 16000, 1, None)[0])
    for start in (SECONDS, 7, 1e9):
        with pytest.raises(
            CodecError, match=r"6\.300 s long, expected more than the .* where the part begins"
        ):
            part_of(opened(bytes(lam)), numpy_codec, start, None)
    target = tmp_path / "part.wav"
    with pytest.raises(CodecError):
        decompress(opened(bytes(lam)), target, numpy_codec, start=7)
    assert not target.exists()


@pytest.mark.parametrize(
    ("start", "end"), [(-1, None), (2, 1), (1, 1), (float("nan"), None), (0, float("nan"))]
)
def test_times_that_cannot_be(numpy_codec: NumpyCodec, start: float, end: float | None) -> None:
    lam, _ = file_and_sound(numpy_codec, 16000, 1, None)
    with pytest.raises(ValueError, match="0 <= start < end"):
        part_of(io.BytesIO(lam), numpy_codec, start, end)


def test_a_live_recording_of_unknown_length(numpy_codec: NumpyCodec) -> None:
    sound = tone(3.2, 16000)
    stream, file = EncoderStream(numpy_codec, 16000, 1, 6), io.BytesIO()
    writer = bitstream.Writer(file, stream.header(None))
    for codes in stream.push(sound) + stream.flush():
        writer.write_chunk(codes)
    writer.close(len(sound))
    for opened in (io.BytesIO, functools.partial(Pipe, step=500)):
        whole, _ = sound_of(cast(BinaryIO, opened(file.getvalue())), numpy_codec)
        for start, end in ((1.5, 2.0), (2.9, 9.0), (3.1, None)):
            found = part_of(cast(BinaryIO, opened(file.getvalue())), numpy_codec, start, end)
            stop = None if end is None else round(end * 16000)
            np.testing.assert_array_equal(found, whole[round(start * 16000) : stop])


@pytest.mark.parametrize("frames", [70, 120])
def test_chunks_of_odd_length_decode_in_a_file_as_live(numpy_codec: NumpyCodec, frames: int) -> None:
    """The step that ends a chunk was filled up although more chunks followed, which heard the filling."""
    lam, whole = file_and_sound(numpy_codec, 16000, 1, frames)
    stream = DecoderStream(numpy_codec, 16000, 1)
    live = [stream.push(chunk.codes) for chunk in bitstream.Reader(io.BytesIO(lam))]
    np.testing.assert_allclose(np.concatenate(live)[: 6 * 16000], whole[: 6 * 16000], atol=1e-5)
