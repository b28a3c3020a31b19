"""A part of a file has exactly the samples of the whole, and only the chunks it needs are read."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.coding import compressed, file_of, part_of, sound_of, wav_of
from support.damage import coded
from support.sounds import tone
from support.streams import Pipe

from codec import bitstream
from codec.audio import AudioReader
from codec.coding.decoder_stream import DecoderStream
from codec.coding.decompression import decompress
from codec.coding.encoder_stream import EncoderStream
from codec.coding.time_range import first_chunk, last_chunk
from codec.errors import CodecError, Truncated
from codec.network import Codec
from codec.presets import samples
from codec.protocol import StreamingCodec
from codec.runtime import NumpyCodec

SECONDS = 6.3


@functools.cache
def file_and_sound(
    codec: NumpyCodec, rate: int, channels: int, frames: int | None, opened: type = io.BytesIO
) -> tuple[bytes, np.ndarray]:
    """Return a file and its sound, whose last bits depend on the steps: of a chunk from a pipe, else of seconds."""
    lam = coded(codec, tone(SECONDS, rate, channels), rate, frames)
    return lam, sound_of(opened(lam), codec)


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
    whole = sound_of(io.BytesIO(lam), default_codec)
    for start, end in ((0.5, 1.25), (2.7, 3.1), (3.3, None)):
        stop = None if end is None else round(end * rate)
        np.testing.assert_array_equal(
            part_of(io.BytesIO(lam), default_codec, start, end), whole[round(start * rate) : stop]
        )


def test_the_keras_model_seeks_too(keras_codec: Codec) -> None:
    lam = coded(keras_codec, tone(4.3, 16000), 16000)
    whole = sound_of(io.BytesIO(lam), keras_codec)
    np.testing.assert_array_equal(part_of(io.BytesIO(lam), keras_codec, 2.5, 3.75), whole[40_000:60_000])


class Counting(io.BytesIO):
    """A file that counts the bytes read from it."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def test_only_the_chunks_that_are_needed_are_read(samples_as_codes: StreamingCodec) -> None:
    lam = compressed(wav_of(np.zeros((60 * 16000, 1)), 16000), samples_as_codes, 32)
    size = bitstream.Reader(io.BytesIO(lam)).chunk_offsets
    assert size is not None
    chunk = size[1] - size[0]
    # A step decodes three seconds, and the same three whatever part is requested.
    for start, end, chunks in ((30.5, 31.5, 6), (0.0, 0.5, 3), (59.5, None, 3)):
        file = Counting(lam)
        assert len(part_of(file, samples_as_codes, start, end)) == round(((end or 60.0) - start) * 16000)
        spare = 43 + 2**16  # header and index
        if end is None:
            spare += len(lam) - size[-1]  # the short last chunk
        assert file.count <= spare + chunks * chunk


@pytest.mark.parametrize("rate", [8000, 44100, 48000, 47999])
@pytest.mark.parametrize("frames", [1, 9, 50, 70, 200])
def test_the_first_chunk_is_the_last_from_which_the_part_can_be_decoded(
    numpy_codec: NumpyCodec, rate: int, frames: int
) -> None:
    stream = EncoderStream(numpy_codec, rate, 1, num_codebooks=6, frames_per_chunk=frames)
    header = stream.header(None)
    for sample in range(0, 20 * rate, 3 * rate // 7):
        first = first_chunk(header, numpy_codec, sample)
        assert DecoderStream(numpy_codec, rate, 1, first * frames).first_sample <= sample
        assert DecoderStream(numpy_codec, rate, 1, (first + 1) * frames).first_sample > sample // rate * rate


@pytest.mark.parametrize("rate", [8000, 44100])
def test_nothing_after_the_last_chunk_is_needed(numpy_codec: NumpyCodec, rate: int) -> None:
    stop, frames = 5 * rate // 2, 9
    stream = EncoderStream(numpy_codec, rate, 1, num_codebooks=6, frames_per_chunk=frames)
    last = last_chunk(stream.header(None), numpy_codec, stop)
    sound = DecoderStream(numpy_codec, rate, 1).push(np.zeros((1, (last + 1) * frames, 6), np.int32))
    assert stop <= len(sound) < stop + 2 * rate


def test_a_cut_file_is_read_from_its_beginning(numpy_codec: NumpyCodec) -> None:
    lam, whole = file_and_sound(numpy_codec, 16000, 1, None, Pipe)  # without an index it is read as a pipe is
    cut = lam[: len(lam) * 4 // 5]
    np.testing.assert_array_equal(part_of(io.BytesIO(cut), numpy_codec, 2.5, 3.5), whole[40_000:56_000])
    with pytest.raises(Truncated, match=r"chunk 2 at byte \d+ \(4.00 s\)"):
        part_of(io.BytesIO(cut), numpy_codec, 2.5, None)


@pytest.mark.parametrize("opened", [io.BytesIO, Pipe])
def test_a_start_after_the_end(numpy_codec: NumpyCodec, opened: type, tmp_path: Path) -> None:
    lam = bytearray(file_and_sound(numpy_codec, 16000, 1, None)[0])
    for start in (SECONDS, 7, 1e9):
        with pytest.raises(
            CodecError, match=r"6\.300 s long, expected more than the .* where the part begins"
        ):
            part_of(opened(bytes(lam)), numpy_codec, start, None)
    target = tmp_path / "part.wav"
    with pytest.raises(CodecError):
        decompress(opened(bytes(lam)), target, model=numpy_codec, start=7)
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
    lam = file_of(EncoderStream(numpy_codec, 16000, 1, num_codebooks=6), sound, None)
    for opened in (io.BytesIO, functools.partial(Pipe, step=500)):
        whole = sound_of(cast(BinaryIO, opened(lam)), numpy_codec)
        for start, end in ((1.5, 2.0), (2.9, 9.0), (3.1, None)):
            found = part_of(cast(BinaryIO, opened(lam)), numpy_codec, start, end)
            stop = None if end is None else round(end * 16000)
            np.testing.assert_array_equal(found, whole[round(start * 16000) : stop])
