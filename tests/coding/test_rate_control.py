"""Rate control: silence costs next to nothing, each chunk is a prefix, and such files work like others."""

from __future__ import annotations

import dataclasses
import functools
import io
import tracemalloc
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.coding import compressed, part_of, pushed, sound_of, wav_of
from support.damage import damaged, offsets, recover
from support.sounds import tone
from support.streams import Pipe

from codec import bitstream
from codec.audio import AudioReader, RawWriter
from codec.coding.decoder_stream import DecoderStream
from codec.coding.decompression import decompress
from codec.coding.encoder_stream import EncoderStream
from codec.coding.rate_control import LEVELS, Quality, Rate, RateControl, errors_after, flatness
from codec.config import CodecConfig
from codec.network import Codec
from codec.presets import samples
from codec.protocol import StreamingCodec
from codec.runtime import NumpyCodec

RATE = 16000


def with_pauses(rate: int = RATE, channels: int = 1) -> np.ndarray:
    """Return eight seconds of tones, silent from 1.9 to 5.3."""
    sound = tone(8.0, rate, channels)
    sound[round(1.9 * rate) : round(5.3 * rate)] = 0
    return sound


def at_quality(sound: np.ndarray, model: StreamingCodec, quality: float, **options: Any) -> bytes:
    return compressed(wav_of(sound, RATE), model, quality=quality, **options)


def chunks_of(lam: bytes) -> list[np.ndarray]:
    return [chunk.codes for chunk in bitstream.Reader(io.BytesIO(lam))]


def counts(lam: bytes) -> list[int]:
    """Return the number of codebooks of each chunk."""
    return [chunk.codebooks for chunk in bitstream.Reader(io.BytesIO(lam)).stored_chunks()]


@pytest.mark.parametrize("level", [-0.1, 10.5, float("nan")])
def test_a_quality_outside_the_limits(level: float) -> None:
    with pytest.raises(ValueError, match="`quality` must be from 0 to 10, found"):
        Quality(level)


def test_without_an_argument_the_rate_is_the_nearest_to_6000(tiny_config: CodecConfig) -> None:
    assert Rate.of(CodecConfig()) == Rate.of(CodecConfig(), bitrate=6000) == Rate(12)
    coarse = dataclasses.replace(tiny_config, num_codebooks=6, core_codebooks=6)
    assert Rate.of(coarse) == Rate(6)


def test_a_rate_has_one_argument_that_the_model_offers(tiny_config: CodecConfig) -> None:
    assert Rate.of(tiny_config, num_codebooks=7) == Rate(7)
    assert Rate.of(tiny_config, quality=5) == Rate(24, Quality(5))
    with pytest.raises(ValueError, match="`bitrate` and `quality` and `num_codebooks` are given"):
        Rate.of(tiny_config, 6000, 5, 12)
    with pytest.raises(ValueError, match=r"5000 .* one of 1500, 3000, 6000, 12000"):
        Rate.of(tiny_config, bitrate=5000)


def test_higher_quality_costs_less_a_codebook_and_calls_less_silence() -> None:
    for one, other in zip(np.arange(0, 10, 0.5), np.arange(0.5, 10.5, 0.5), strict=True):
        assert Quality(one).price > Quality(other).price
        assert Quality(one).silence > Quality(other).silence
    assert Quality(0).silence == pytest.approx(1e-3)


def test_errors_are_those_of_prefixes(numpy_codec: NumpyCodec) -> None:
    """The latents of all 24 codes, less those of the first n."""
    codes = np.random.default_rng(0).integers(0, 1024, (2, 5, 24))
    words = np.stack([numpy_codec.codebooks[n, codes[..., n]] for n in range(24)], axis=2)
    found = errors_after(codes, numpy_codec.codebooks)
    for count in (0, 3, 23):
        np.testing.assert_allclose(
            found[..., count], np.mean(words[:, :, count:].sum(axis=2) ** 2, axis=-1), rtol=1e-4
        )


def test_flatness_is_that_of_tones_and_noise() -> None:
    time = np.arange(20 * 960).reshape(1, 20, 960) / 48000
    pure = flatness(np.sin(2 * np.pi * 1000 * time), 48000)
    noise = flatness(np.random.default_rng(0).standard_normal((1, 20, 960)), 48000)
    assert pure.max() < -40 and -4 < noise.mean() < -2
    np.testing.assert_allclose(flatness(np.zeros((1, 20, 960)), 48000), 0, atol=1e-6)


@pytest.mark.parametrize("frames", [None, 7])
def test_each_chunk_is_the_beginning_of_that_of_a_constant_bitrate(
    numpy_codec: NumpyCodec, frames: int | None
) -> None:
    found = chunks_of(at_quality(with_pauses(), numpy_codec, 5, frames_per_chunk=frames))
    whole = chunks_of(compressed(wav_of(with_pauses(), RATE), numpy_codec, 24, frames_per_chunk=frames))
    numbers = {codes.shape[2] for codes in found}
    assert 0 in numbers and len(numbers) > 1 and not numbers & {1, 2}
    for codes, all_codes in zip(found, whole, strict=True):
        np.testing.assert_array_equal(codes, all_codes[..., : codes.shape[2]])


def test_loud_and_tonal_sounds_get_more_codebooks(default_codec: NumpyCodec) -> None:
    """Louder sounds get more until they are loud, tones more than noise, and silence none."""

    def chosen(sound: np.ndarray) -> int:
        control, state = RateControl(Quality(5), default_codec), default_codec.encoder_state(1)
        block = sound.astype(np.float32)[None]
        codes, _ = default_codec.encode_step(block[..., None], state, 24)
        control.observe(block, codes)
        return control.choose(50)

    with AudioReader(next(samples().glob("1-*"))) as reader:
        speech = reader.read(2 * reader.sample_rate)[48000:96000, 0]
    speech *= 0.1 / np.abs(speech).max()
    assert chosen(speech) == pytest.approx(chosen(speech * 4), abs=1)
    assert chosen(speech) > chosen(speech * 0.01) >= 3
    assert chosen(speech * 1e-5) == chosen(np.zeros(48000)) == 0
    noise = 0.05 * np.random.default_rng(0).standard_normal(48000)
    assert chosen(speech) > chosen(noise) >= 3


def test_silence_costs_next_to_nothing_and_comes_back_as_silence(numpy_codec: NumpyCodec) -> None:
    dither = np.random.default_rng(0).integers(-1, 2, (10 * RATE, 2)).astype(np.float32) / 2**15
    for sound, level in ((0 * dither, 10), (dither, 8)):
        lam = at_quality(sound, numpy_codec, level)
        assert counts(lam) == [0] * 11
        assert len(lam) == 43 + 10 * (8 + 1) + (7 + 1) + 17  # header, chunks with the index, trailer
        assert np.abs(sound_of(io.BytesIO(lam), numpy_codec)).max() == 0


@pytest.mark.parametrize("level", [0, 10])
def test_pauses_save_bits_and_are_silent(numpy_codec: NumpyCodec, level: float) -> None:
    sound = with_pauses()
    lam = at_quality(sound, numpy_codec, level)
    assert [number for number, count in enumerate(counts(lam)) if not count] == [2, 3, 4]
    found = sound_of(io.BytesIO(lam), numpy_codec)
    assert found.shape == sound.shape
    assert np.abs(found[2 * RATE + numpy_codec.latency : 5 * RATE - numpy_codec.latency]).max() == 0
    assert np.abs(found[5 * RATE : 6 * RATE]).max() > 0


def test_nothing_clicks_where_a_pause_begins_and_ends(default_codec: NumpyCodec) -> None:
    """The largest step between samples is that of the sound, which starts and is cut off at chunks."""
    with AudioReader(next(samples().glob("1-*"))) as reader:
        sound = reader.read(4 * 48000)[:, :1]
    sound[48000 : 3 * 48000] = 0
    encoder, decoder = (
        EncoderStream(default_codec, 48000, 1, quality=6),
        DecoderStream(default_codec, 48000, 1),
    )
    chunks = encoder.push(sound) + encoder.flush()
    assert [codes.shape[2] > 0 for codes in chunks] == [True, True, False, True, True]
    found = np.concatenate([*map(decoder.push, chunks), decoder.flush()])[: len(sound)]
    largest = np.abs(np.diff(found[3 * 48000 :, 0])).max()
    assert np.abs(np.diff(found[2 * 48000 - 4800 : 3 * 48000 + 4800, 0])).max() <= largest
    assert np.abs(found[2 * 48000 + 480 : 3 * 48000 - 480]).max() == 0


def test_average_bitrates_of_speech(default_codec: NumpyCodec) -> None:
    """The bitrates of one speaker are near those of many, which the documentation gives."""
    with AudioReader(next(samples().glob("1-*"))) as reader:
        sound = reader.read(9 * reader.sample_rate)[:, :1]
    found = []
    for level in LEVELS[1:-1]:
        encoder = EncoderStream(default_codec, 48000, 1, quality=level)
        chunks = encoder.push(sound) + encoder.flush()
        found.append(sum(codes.size for codes in chunks) * 10 / len(sound) * 48)
    np.testing.assert_allclose(found, [1.5, 3, 6, 10], rtol=0.3)


@settings(max_examples=30)
@given(
    count=st.integers(0, 2 * RATE),
    quiet=st.integers(0, 2 * RATE),
    channels=st.integers(1, 3),
    frames=st.integers(1, 70),
    live=st.booleans(),
)
def test_length_and_channels_come_back(
    numpy_codec: NumpyCodec, count: int, quiet: int, channels: int, frames: int, live: bool
) -> None:
    sound = tone(2.0, RATE, channels)[:count]
    sound[quiet:] = 0
    lam = at_quality(sound, numpy_codec, 4, frames_per_chunk=frames, live=live)
    for opened in (io.BytesIO(lam), Pipe(lam, 999)):
        assert sound_of(cast(BinaryIO, opened), numpy_codec).shape == sound.shape


def test_live_codes_are_those_of_the_file(numpy_codec: NumpyCodec) -> None:
    sound = with_pauses(channels=2)
    expected = chunks_of(at_quality(sound, numpy_codec, 4))
    for size in (441, 33_333):
        found = pushed(EncoderStream(numpy_codec, RATE, 2, quality=4), sound, [size])
        assert [codes.shape for codes in found] == [codes.shape for codes in expected]
        assert np.mean([np.mean(a == b) for a, b in zip(found, expected, strict=True) if a.size]) > 0.99


def test_both_forms_of_the_model_choose_and_decode_the_same(
    keras_codec: Codec, numpy_codec: NumpyCodec
) -> None:
    lam = at_quality(with_pauses(), numpy_codec, 3)
    assert counts(at_quality(with_pauses(), keras_codec, 3)) == counts(lam)
    found, expected = (sound_of(io.BytesIO(lam), model) for model in (numpy_codec, keras_codec))
    np.testing.assert_allclose(found, expected, atol=1e-2 * np.abs(expected).max())


@functools.cache
def file_and_sound(
    codec: NumpyCodec, frames: int | None, opened: type = io.BytesIO
) -> tuple[bytes, np.ndarray]:
    lam = at_quality(with_pauses(), codec, 5, frames_per_chunk=frames)
    return lam, sound_of(opened(lam), codec)


@given(
    frames=st.sampled_from((None, 7, 12, 25, 70)),
    times=st.tuples(st.floats(0, 7.99), st.floats(0, 9)).filter(lambda pair: pair[1] - pair[0] > 1e-3),
    opened=st.sampled_from((io.BytesIO, Pipe)),
)
def test_a_part_is_that_of_the_whole(
    numpy_codec: NumpyCodec, frames: int | None, times: tuple[float, float], opened: type
) -> None:
    lam, whole = file_and_sound(numpy_codec, frames, opened)
    found = part_of(opened(lam), numpy_codec, *times)
    np.testing.assert_array_equal(found, whole[round(times[0] * RATE) : round(times[1] * RATE)])


def test_lost_chunks_are_concealed(numpy_codec: NumpyCodec) -> None:
    lam, whole = file_and_sound(numpy_codec, None)
    for lost in range(len(offsets(lam)) - 1):
        bad = bytearray(lam)
        bad[offsets(lam)[lost] + 5] ^= 0x55
        found, losses = recover(bytes(bad), numpy_codec)
        assert found.shape == whole.shape
        assert [(loss.first, loss.last) for loss in losses] == [(lost, lost)]
        far = [second for second in range(8) if not {second - 1, second, second + 1} & {lost}]
        for second in far:
            span = slice(second * RATE, (second + 1) * RATE)
            np.testing.assert_allclose(found[span], whole[span], atol=1e-5 * np.abs(whole).max())
    assert recover(lam, numpy_codec)[1] == []
    without_index = damaged(lam, 1)[:-1]
    assert [(loss.first, loss.last) for loss in recover(without_index, numpy_codec)[1]] == [(1, 1)]


@pytest.mark.parametrize("kind", ["silent", "sounding", "lost"])
def test_a_chunk_of_a_minute_takes_no_more_memory_than_others(numpy_codec: NumpyCodec, kind: str) -> None:
    """Eight channels are 92 MB of sound; a silent chunk of them takes 8 bytes in the file."""
    encoder = EncoderStream(numpy_codec, 48_000, 8, quality=5, frames_per_chunk=60 * 50)
    file, codes = io.BytesIO(), np.zeros((8, 3000, 0 if kind == "silent" else 3), np.int32)
    writer = bitstream.Writer(file, encoder.header(60 * 48_000))
    writer.write_chunk(codes)
    writer.write_chunk(codes[:, :1])
    writer.close()
    lam = bytearray(file.getvalue())
    if kind == "lost":
        lam[60] ^= 1
    tracemalloc.start()
    with open("/dev/null", "wb") as nowhere:
        report = decompress(
            io.BytesIO(bytes(lam)),
            nowhere,
            model=numpy_codec,
            open_writer=RawWriter,
            start=50.0,
            recover=kind == "lost",
        )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.num_samples == 10 * 48_000
    assert peak < 64 * 2**20
