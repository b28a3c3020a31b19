"""Whole files: exact lengths, samples at their times, the same codes from files and pipes, and what is refused."""

from __future__ import annotations

import io
import math
import os
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from support.coding import (
    NUM_CODEBOOKS,
    codes_of,
    compressed,
    decompressed,
    pushed,
    sample_codec,
    sound_of,
    wav_of,
)
from support.sounds import tone
from support.streams import Pipe

from codec import bitstream
from codec.audio import AudioReader, RawReader, RawWriter
from codec.coding.compression import CompressionReport, compress
from codec.coding.decompression import decompress
from codec.coding.encoder_stream import EncoderStream
from codec.config import CodecConfig
from codec.errors import AudioError, CodecError, PresetError
from codec.network import Codec
from codec.protocol import StreamingCodec
from codec.runtime import NumpyCodec


@given(
    num_samples=st.one_of(st.integers(0, 3), st.integers(0, 40_000)),
    sample_rate=st.sampled_from((8000, 11025, 16000, 22050, 44100, 48000, 96000, 192_000)),
    channels=st.integers(1, 8),
    piped=st.booleans(),
)
def test_length_rate_and_channels_come_back(
    num_samples: int, sample_rate: int, channels: int, piped: bool
) -> None:
    model = sample_codec()
    lam = compressed(wav_of(np.zeros((num_samples, channels), np.float32), sample_rate), model, 32)
    file = cast(BinaryIO, Pipe(lam, 1000)) if piped else io.BytesIO(lam)
    sound, report = decompressed(file, model)
    assert (sound.shape, report.sample_rate) == ((num_samples, channels), sample_rate)


@pytest.mark.parametrize("num_samples", (0, 1, 319, 320, 16_001))
@pytest.mark.parametrize(("sample_rate", "channels"), [(16000, 1), (44100, 2), (8000, 3)])
def test_a_real_codec_gives_the_length_back(
    numpy_codec: NumpyCodec, num_samples: int, sample_rate: int, channels: int, tmp_path: Path
) -> None:
    source, lam, back = tmp_path / "a.wav", tmp_path / "a.lam", tmp_path / "b.flac"
    soundfile.write(source, tone(2.1, sample_rate, channels)[:num_samples], sample_rate)
    report = compress(source, lam, model=numpy_codec, num_codebooks=NUM_CODEBOOKS)
    expected = len(soundfile.read(source)[0])
    assert report[:4] == (expected / sample_rate, sample_rate, channels, expected)
    assert report.bytes == lam.stat().st_size
    decompress(lam, back, model=numpy_codec)
    with AudioReader(back) as reader:  # soundfile takes an empty FLAC for one of unknown length
        assert (reader.sample_rate, reader.channels) == (sample_rate, channels)
        assert sum(map(len, reader.blocks(1000))) == expected
    assert sorted(tmp_path.iterdir()) == [lam, source, back]


def test_the_keras_model_codes_files_too(keras_codec: Codec, wav: Path, tmp_path: Path) -> None:
    compress(wav, tmp_path / "a.lam", model=keras_codec, num_codebooks=NUM_CODEBOOKS)
    report = decompress(tmp_path / "a.lam", tmp_path / "b.wav", model=keras_codec)
    assert report.num_samples == len(soundfile.read(wav)[0])


@pytest.mark.parametrize("channels", (1, 2, 5))
@pytest.mark.parametrize("sample_rate", (16000, 44100, 8000))
def test_each_sample_comes_back_at_its_time(
    samples_as_codes: StreamingCodec, sample_rate: int, channels: int
) -> None:
    pitch = 300.0 * np.arange(1, channels + 1)
    samples = 0.4 * np.sin(2 * np.pi * pitch * np.arange(3 * sample_rate + 7)[:, None] / sample_rate)
    lam = compressed(wav_of(samples, sample_rate), samples_as_codes, 32)
    found = sound_of(io.BytesIO(lam), samples_as_codes)
    edge = 0 if sample_rate == 16000 else sample_rate // 20
    np.testing.assert_allclose(
        found[edge : len(found) - edge], samples[edge : len(samples) - edge], atol=5e-4
    )


def test_two_channels_are_coded_as_mid_and_side(samples_as_codes: StreamingCodec) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (100, 2)).astype(np.float32)
    codes = codes_of(compressed(wav_of(samples, 16000), samples_as_codes, 32))
    mid, side = (codes.reshape(2, -1)[:, :100] - 32768) / 32768
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


def test_a_bitrate_is_its_number_of_codebooks(numpy_codec: NumpyCodec) -> None:
    source = wav_of(tone(1.0, 16000), 16000)
    assert compressed(source, numpy_codec, bitrate=3000) == compressed(source, numpy_codec, 6)
    assert compressed(source, numpy_codec) == compressed(source, numpy_codec, bitrate=6000)


def test_the_same_samples_give_the_same_codes_whatever_is_coded_before_and_beside_them(
    numpy_codec: NumpyCodec,
) -> None:
    sounds = [tone(2.3, 16000, 2) / np.float32(1 + number) for number in range(4)]

    def codes(sound: np.ndarray) -> tuple[np.ndarray, ...]:
        stream = EncoderStream(numpy_codec, 16000, 2, num_codebooks=12)
        return (
            codes_of(compressed(wav_of(sound, 16000), numpy_codec, 12)),
            np.concatenate(pushed(stream, sound, [3000]), axis=1),
            numpy_codec.encode(sound, 16000, num_codebooks=12),
        )

    first = [codes(sound) for sound in sounds]
    again = [codes(sound) for sound in reversed(sounds)][::-1]
    with ThreadPoolExecutor(len(sounds)) as threads:
        beside = list(threads.map(codes, sounds))
    for expected, *others in zip(first, again, beside, strict=True):
        for found in others:
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other)


def test_two_runs_give_the_same_bytes(numpy_codec: NumpyCodec, wav: Path, tmp_path: Path) -> None:
    files = []
    for run in ("a", "b"):
        lam, back = tmp_path / f"{run}.lam", tmp_path / f"{run}.wav"
        compress(wav, lam, model=numpy_codec, num_codebooks=NUM_CODEBOOKS)
        decompress(lam, back, model=numpy_codec)
        files.append((lam.read_bytes(), back.read_bytes()))
    assert files[0] == files[1]


def test_a_path_a_stream_and_a_pipe_give_the_same(numpy_codec: NumpyCodec, wav: Path, tmp_path: Path) -> None:
    compress(wav, tmp_path / "a.lam", model=numpy_codec, num_codebooks=NUM_CODEBOOKS)
    lam = (tmp_path / "a.lam").read_bytes()
    assert compressed(wav.read_bytes(), numpy_codec, NUM_CODEBOOKS) == lam
    endless = bytearray(wav.read_bytes())
    endless[4:8] = endless[40:44] = b"\xff" * 4
    target = io.BytesIO()
    source = cast(BinaryIO, Pipe(bytes(endless), 999))
    compress(source, target, model=numpy_codec, num_codebooks=NUM_CODEBOOKS)
    assert bitstream.Reader(cast(BinaryIO, Pipe(target.getvalue()))).num_samples is None
    np.testing.assert_array_equal(codes_of(target.getvalue()), codes_of(lam))
    expected = sound_of(io.BytesIO(lam), numpy_codec)
    np.testing.assert_array_equal(sound_of(io.BytesIO(target.getvalue()), numpy_codec), expected)
    piped = sound_of(cast(BinaryIO, Pipe(target.getvalue(), 777)), numpy_codec)
    np.testing.assert_allclose(piped, expected, atol=1e-6)  # a live pipe is decoded chunk by chunk


@pytest.mark.parametrize("live", [True, False])
def test_only_a_file_gives_its_length_in_the_header(numpy_codec: NumpyCodec, live: bool) -> None:
    samples = tone(1.5, 16000)
    lam = compressed(wav_of(samples, 16000), numpy_codec, NUM_CODEBOOKS, live=live)
    assert bitstream.Reader(Pipe(lam)).num_samples == (None if live else len(samples))
    assert bitstream.Reader(io.BytesIO(lam)).num_samples == len(samples)


def test_raw_pcm_in_and_out(samples_as_codes: StreamingCodec) -> None:
    samples = np.random.default_rng(0).integers(-9000, 9000, (1000, 3)).astype("<i2")
    lam, back = io.BytesIO(), io.BytesIO()
    source = RawReader(io.BytesIO(samples.tobytes()), 16000, 3)
    compress(source, lam, model=samples_as_codes, num_codebooks=32)
    decompress(io.BytesIO(lam.getvalue()), back, model=samples_as_codes, open_writer=RawWriter)
    assert back.getvalue() == samples.tobytes()


def test_progress_and_report(samples_as_codes: StreamingCodec) -> None:
    times: list[float] = []
    source, lam = io.BytesIO(wav_of(np.full((40_000, 2), 0.9), 8000)), io.BytesIO()
    report = compress(source, lam, model=samples_as_codes, num_codebooks=32, progress=times.append)
    assert report == CompressionReport(5.0, 8000, 2, 40_000, len(lam.getvalue()), 8 * len(lam.getvalue()) / 5)
    assert times == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_what_is_left_of_a_truncated_sound_is_compressed_and_reported(
    samples_as_codes: StreamingCodec, wav: Path
) -> None:
    cut = wav.read_bytes()[:-1000]
    length = soundfile.info(wav).frames
    with pytest.raises(AudioError, match="--recover compresses what is left"):
        compress(io.BytesIO(cut), io.BytesIO(), model=samples_as_codes)
    for source in (io.BytesIO(cut), Pipe(cut, 1000)):
        report = compress(cast(BinaryIO, source), io.BytesIO(), model=samples_as_codes, recover=True)
        assert report.num_samples == length - 250
        assert report.damage == "the file is cut or damaged; 1.49 s of 1.50 s are left"
    assert compress(wav, io.BytesIO(), model=samples_as_codes, recover=True).damage == ""
    with pytest.raises(ValueError, match="give it to the reader"):
        compress(AudioReader(wav), io.BytesIO(), model=samples_as_codes, recover=True)


def test_memory_does_not_grow_with_length(samples_as_codes: StreamingCodec, tmp_path: Path) -> None:
    def peak(seconds: int) -> int:
        path, lam = tmp_path / "a.wav", tmp_path / "a.lam"
        soundfile.write(path, np.zeros((seconds * 8000, 1), np.int16), 8000)
        tracemalloc.start()
        compress(path, lam, model=samples_as_codes, num_codebooks=32)
        decompress(lam, path, model=samples_as_codes)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(2)
    assert peak(60) < peak(6) + 300_000  # bytes


def test_steps_of_a_file_have_fewer_seconds_with_more_channels(default_codec: NumpyCodec) -> None:
    sizes = []

    class Recorder(NumpyCodec):
        def encode_step(self, audio, state, num_codebooks):  # type: ignore[no-untyped-def]
            sizes.append(audio.shape[0] * audio.shape[1] / self.config.sample_rate)
            shape = (len(audio), audio.shape[1] // self.config.hop_length, num_codebooks)
            return np.zeros(shape, np.int32), state

    model = Recorder(default_codec.config, default_codec.parts)
    for channels in (1, 2, 3, 8):
        compressed(wav_of(np.zeros((20 * 8000, channels)), 8000), model, 12)
    assert max(sizes) == NumpyCodec.seconds_per_step


def test_framing_is_at_most_two_percent_and_the_copy_of_the_header_at_the_lowest_rate() -> None:
    """A minute of mono at 1.5 kbit/s with the sizes of the default model has 11,250 bytes of codes."""
    config = CodecConfig()
    frames = bitstream.default_frames_per_chunk(
        channels=1, num_codebooks=3, bits_per_code=10, hop_length=960, model_sample_rate=48000
    )
    header = bitstream.Header(
        48000, 1, 60 * 48000, bytes(8), 3, 10, frames, config.sample_rate, config.hop_length
    )
    file = io.BytesIO()
    writer = bitstream.Writer(file, header)
    for start in range(0, 3001, frames):  # one frame more for the delay of the decoder
        writer.write_chunk(np.zeros((1, min(frames, 3001 - start), 3), int))
    writer.close()
    assert len(file.getvalue()) <= 11_250 * 1.02 + 43


def test_a_failure_overwrites_nothing(samples_as_codes: StreamingCodec, tmp_path: Path) -> None:
    bad, target = tmp_path / "bad", tmp_path / "old.lam"
    target.write_bytes(b"old")
    samples = np.zeros((50_000, 1), np.float32)
    samples[45_000] = math.nan
    for damaged in (wav_of(samples, 16000), wav_of(np.zeros((50_000, 1)), 16000)[:-1000]):
        bad.write_bytes(damaged)
        with pytest.raises(AudioError) as raised:
            compress(bad, target, model=samples_as_codes, num_codebooks=32)
        assert str(raised.value).startswith(str(bad)) and "\n" not in str(raised.value)
        assert sorted(tmp_path.iterdir()) == [bad, target]
        assert target.read_bytes() == b"old"


def test_a_failing_disk_or_folder(samples_as_codes: StreamingCodec, tmp_path: Path) -> None:
    source = io.BytesIO(wav_of(np.zeros((10, 1)), 16000))
    with pytest.raises(CodecError, match=r"no/a.lam: cannot be written: No such file"):
        compress(source, tmp_path / "no" / "a.lam", model=samples_as_codes, num_codebooks=32)
    if os.path.exists("/dev/full"):
        source.seek(0)
        with pytest.raises(CodecError, match=r"/dev/full: cannot be written: No space left"):
            compress(source, "/dev/full", model=samples_as_codes, num_codebooks=32)
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments_are_value_errors_and_write_nothing(
    tiny_preset: Path, wav: Path, tmp_path: Path
) -> None:
    wrong = {
        "one of 1500, 3000, 6000, 12000": {"bitrate": 5000},
        "`num_codebooks` must be 1 to 24, found 25": {"num_codebooks": 25},
        "`quality` must be from 0 to 10, found 11": {"quality": 11},
        "`bitrate` and `quality` are given, expected only one": {"bitrate": 6000, "quality": 5},
        "`effort` must be a whole number from 0 to 3, found 4": {"effort": 4},
        "frames_per_chunk 0, expected an integer from 1 to": {"frames_per_chunk": 0},
    }
    for words, options in wrong.items():
        with pytest.raises(ValueError, match=words):
            compress(wav, tmp_path / "a.lam", model=tiny_preset, **options)  # type: ignore[arg-type]
    with pytest.raises(PresetError, match="no model 'no-model'"):
        compress(wav, tmp_path / "a.lam", model="no-model")
    assert list(tmp_path.iterdir()) == []
