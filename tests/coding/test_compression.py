"""Whole files through the codec: exact lengths, everything at its time, the same codes from files and pipes."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from support.coding import NUM_CODEBOOKS, codes_of, compressed, fake, sound_of, through, wav_of
from support.sounds import tone
from support.streams import Pipe

from codec import bitstream
from codec.audio import AudioReader, RawReader, RawWriter
from codec.coding.compression import CompressionReport, compress, decompress
from codec.config import CodecConfig
from codec.network.codec import Codec
from codec.runtime.codec import NumpyCodec

__all__ = ["through"]  # a fixture


@settings(max_examples=80, deadline=None)
@given(
    num_samples=st.one_of(st.integers(0, 3), st.integers(0, 40_000)),
    sample_rate=st.sampled_from((8000, 11025, 16000, 22050, 44100, 48000, 96000, 192_000)),
    channels=st.integers(1, 8),
    piped=st.booleans(),
)
def test_length_rate_and_channels_come_back(
    num_samples: int, sample_rate: int, channels: int, piped: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        codec = fake(patch)
        source = wav_of(np.zeros((num_samples, channels), np.float32), sample_rate)
        lam = compressed(source, codec, 32)
        samples, rate = sound_of(cast(BinaryIO, Pipe(lam, 1000)) if piped else io.BytesIO(lam), codec)
    assert (samples.shape, rate) == ((num_samples, channels), sample_rate)


@pytest.mark.parametrize("num_samples", (0, 1, 319, 320, 16_001))
@pytest.mark.parametrize(("sample_rate", "channels"), [(16000, 1), (44100, 2), (8000, 3)])
def test_a_real_codec_gives_the_length_back(
    keras_codec: Codec, num_samples: int, sample_rate: int, channels: int, tmp_path: Path
) -> None:
    source, lam, back = tmp_path / "a.wav", tmp_path / "a.lam", tmp_path / "b.flac"
    soundfile.write(source, tone(2.1, sample_rate, channels)[:num_samples], sample_rate)
    report = compress(source, lam, keras_codec, NUM_CODEBOOKS)
    expected = len(soundfile.read(source)[0])
    assert report[:4] == (expected / sample_rate, sample_rate, channels, expected)
    assert report.bytes == lam.stat().st_size
    decompress(lam, back, keras_codec)
    with AudioReader(
        back
    ) as reader:  # and not soundfile: an empty FLAC looks to it like one of unknown length
        assert (reader.sample_rate, reader.channels) == (sample_rate, channels)
        assert sum(map(len, reader.blocks(1000))) == expected
    assert sorted(tmp_path.iterdir()) == [lam, source, back]


@pytest.mark.parametrize("channels", (1, 2, 5))
@pytest.mark.parametrize("sample_rate", (16000, 44100, 8000))
def test_sound_stands_where_it_stood(through: Codec, sample_rate: int, channels: int) -> None:
    """With codes that hold the samples themselves, what comes back is the source, sample for sample."""
    pitch = 300.0 * np.arange(1, channels + 1)
    samples = 0.4 * np.sin(2 * np.pi * pitch * np.arange(3 * sample_rate + 7)[:, None] / sample_rate)
    found, _ = sound_of(io.BytesIO(compressed(wav_of(samples, sample_rate), through, 32)), through)
    edge = 0 if sample_rate == 16000 else sample_rate // 20
    np.testing.assert_allclose(
        found[edge : len(found) - edge], samples[edge : len(samples) - edge], atol=5e-4
    )


def test_mid_and_side(through: Codec) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (100, 2)).astype(np.float32)
    mid, side = (
        codes_of(compressed(wav_of(samples, 16000), through, 32)).reshape(2, -1)[:, :100] - 32768
    ) / 32768
    np.testing.assert_allclose(mid, samples.mean(axis=1), atol=1e-4)
    np.testing.assert_allclose(side, (samples[:, 0] - samples[:, 1]) / 2, atol=1e-4)


def test_codes_of_a_lower_bitrate_are_a_prefix_although_its_chunks_are_longer(
    numpy_codec: NumpyCodec,
) -> None:
    source = wav_of(tone(5.0, 16000), 16000)
    low, high = compressed(source, numpy_codec, 3), compressed(source, numpy_codec, 12)
    assert bitstream.Reader(io.BytesIO(low)).header.frames_per_chunk == 200
    assert bitstream.Reader(io.BytesIO(high)).header.frames_per_chunk == 50
    np.testing.assert_array_equal(codes_of(low), codes_of(high)[..., :3])


def test_two_runs_give_the_same_bytes(keras_codec: Codec, wav: Path, tmp_path: Path) -> None:
    lams, backs = [], []
    for run in ("a", "b"):
        lam, back = tmp_path / f"{run}.lam", tmp_path / f"{run}.wav"
        compress(wav, lam, keras_codec, NUM_CODEBOOKS)
        decompress(lam, back, keras_codec)
        lams.append(lam.read_bytes())
        backs.append(back.read_bytes())
    assert lams[0] == lams[1] and backs[0] == backs[1]


def test_a_path_a_stream_and_a_pipe_give_the_same(keras_codec: Codec, wav: Path, tmp_path: Path) -> None:
    compress(wav, tmp_path / "a.lam", keras_codec, NUM_CODEBOOKS)
    lam = (tmp_path / "a.lam").read_bytes()
    assert compressed(wav.read_bytes(), keras_codec, NUM_CODEBOOKS) == lam
    endless = bytearray(wav.read_bytes())
    endless[4:8] = endless[40:44] = b"\xff" * 4
    target = io.BytesIO()
    compress(cast(BinaryIO, Pipe(bytes(endless), 999)), target, keras_codec, NUM_CODEBOOKS)
    assert bitstream.Reader(cast(BinaryIO, Pipe(target.getvalue()))).num_samples is None
    np.testing.assert_array_equal(codes_of(target.getvalue()), codes_of(lam))
    expected, _ = sound_of(io.BytesIO(lam), keras_codec)
    for source in (io.BytesIO(target.getvalue()), Pipe(target.getvalue(), 777)):
        found, _ = sound_of(cast(BinaryIO, source), keras_codec)
        np.testing.assert_array_equal(found, expected)


def test_raw_pcm_in_and_out(through: Codec) -> None:
    samples = np.random.default_rng(0).integers(-9000, 9000, (1000, 3)).astype("<i2")
    lam, back = io.BytesIO(), io.BytesIO()
    compress(RawReader(io.BytesIO(samples.tobytes()), 16000, 3), lam, through, 32)
    decompress(io.BytesIO(lam.getvalue()), back, through, open_writer=RawWriter)
    assert back.getvalue() == samples.tobytes()


def test_progress_and_reports(through: Codec) -> None:
    told: list[float] = []
    lam, back = io.BytesIO(), io.BytesIO()
    report = compress(io.BytesIO(wav_of(np.full((40_000, 2), 0.9), 8000)), lam, through, 32, told.append)
    assert report == CompressionReport(5.0, 8000, 2, 40_000, len(lam.getvalue()), 8 * len(lam.getvalue()) / 5)
    assert told == [1.0, 2.0, 3.0, 4.0, 5.0]
    told.clear()
    done = decompress(io.BytesIO(lam.getvalue()), back, through, told.append)
    assert done == (5.0, 8000, 2, 40_000, 0)
    assert told == sorted(told) and told[-1] == 5.0


def test_memory_does_not_grow_with_length(through: Codec, tmp_path: Path) -> None:
    def peak(seconds: int) -> int:
        path, lam = tmp_path / "a.wav", tmp_path / "a.lam"
        soundfile.write(path, np.zeros((seconds * 8000, 1), np.int16), 8000)
        tracemalloc.start()
        compress(path, lam, through, 32)
        decompress(lam, path, through)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(2)
    assert peak(60) < peak(6) + 300_000  # bytes


def test_framing_is_at_most_two_percent_at_the_lowest_rate() -> None:
    """A minute of mono at 1.5 kbit/s with the sizes of the default model: 11,250 bytes of codes."""
    config = CodecConfig()
    frames = bitstream.default_frames_per_chunk(
        channels=1, num_codebooks=3, bits_per_code=10, hop_length=960, model_sample_rate=48000
    )
    header = bitstream.Header(
        48000, 1, 60 * 48000, bytes(8), 3, 10, frames, config.sample_rate, config.hop_length
    )
    file = io.BytesIO()
    writer = bitstream.Writer(file, header)
    for start in range(0, 3001, frames):  # one frame more for what the decoder lags behind
        writer.write_chunk(np.zeros((1, min(frames, 3001 - start), 3), int))
    writer.close()
    assert len(file.getvalue()) <= 11_250 * 1.02
