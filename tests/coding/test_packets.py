"""Packets: each decodes alone, any of them may be lost, and streams do not change each other."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sounds import tone

from codec.audio import AudioReader
from codec.coding.decoder_stream import FADE_SECONDS, DecoderStream
from codec.coding.encoder_stream import EncoderStream
from codec.coding.packets import PacketDecoder, PacketEncoder
from codec.errors import BitstreamError
from codec.presets import load, samples
from codec.runtime import NumpyCodec


def encoder_of(model: NumpyCodec, rate: int, channels: int, codebooks: int, frames: int = 1) -> PacketEncoder:
    return PacketEncoder(model, rate, channels, num_codebooks=codebooks, frames_per_packet=frames)


def decoder_of(model: NumpyCodec, rate: int, channels: int, codebooks: int, frames: int = 1) -> PacketDecoder:
    return PacketDecoder(model, rate, channels, num_codebooks=codebooks, frames_per_packet=frames)


def sent(model: NumpyCodec, sound: np.ndarray, rate: int, codebooks: int, frames: int = 1) -> list[bytes]:
    encoder = encoder_of(model, rate, sound.shape[1], codebooks, frames)
    return encoder.push(sound) + encoder.flush()


def received(decoder: PacketDecoder, packets: list[bytes | None]) -> np.ndarray:
    return np.concatenate([*map(decoder.push, packets), decoder.flush()])


def without(packets: list[bytes], *lost: int) -> list[bytes | None]:
    return [None if number in lost else packet for number, packet in enumerate(packets)]


@pytest.mark.parametrize(
    ("codebooks", "channels", "frames", "size"), [(12, 1, 1, 15), (3, 1, 1, 4), (7, 2, 3, 53)]
)
def test_a_packet_holds_codes_and_nothing_else(
    numpy_codec: NumpyCodec, codebooks: int, channels: int, frames: int, size: int
) -> None:
    encoder = encoder_of(numpy_codec, 16000, channels, codebooks, frames)
    decoder = decoder_of(numpy_codec, 16000, channels, codebooks, frames)
    assert encoder.packet_size == decoder.packet_size == size
    packets = encoder.push(tone(1.0, 16000, channels))
    assert len(packets) == 50 // frames and {len(packet) for packet in packets} == {size}


@settings(max_examples=25)
@given(st.data())
def test_packets_hold_the_codes_of_streams_and_sound_like_them(
    numpy_codec: NumpyCodec, data: st.DataObject
) -> None:
    rate, channels = data.draw(st.sampled_from([(16000, 1), (22050, 2), (48000, 3)]))
    frames, codebooks = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 24))
    sound = tone(0.5, rate, channels)[: data.draw(st.integers(0, rate // 2))]
    encoder = encoder_of(numpy_codec, rate, channels, codebooks, frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sound)), max_size=3)))
    packets = [packet for block in np.split(sound, cuts) for packet in encoder.push(block)] + encoder.flush()
    found = received(decoder_of(numpy_codec, rate, channels, codebooks, frames), [*packets])
    stream, decoder = (
        EncoderStream(numpy_codec, rate, channels, num_codebooks=codebooks, frames_per_chunk=frames),
        DecoderStream(numpy_codec, rate, channels),
    )
    codes = [*stream.push(sound), *stream.flush()]
    expected = np.concatenate([*map(decoder.push, codes), decoder.flush()])
    assert {len(packet) for packet in packets} == {encoder.packet_size}
    assert len(found) >= len(sound)
    whole = min(len(expected), len(sound)) - rate // 10  # the end depends on the sound after it
    np.testing.assert_allclose(found[: max(0, whole)], expected[: max(0, whole)], atol=1e-3)


@settings(max_examples=25)
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 4), st.sampled_from([16000, 22050]))
def test_losses_do_not_change_the_length(
    numpy_codec: NumpyCodec, lost: list[bool], frames: int, rate: int
) -> None:
    packets = sent(numpy_codec, tone(len(lost) * frames / 50, rate, 2), rate, 6, frames)[: len(lost)]
    found = received(
        decoder_of(numpy_codec, rate, 2, 6, frames), without(packets, *itertools.compress(range(40), lost))
    )
    assert found.shape == received(decoder_of(numpy_codec, rate, 2, 6, frames), [*packets]).shape
    assert np.isfinite(found).all()


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("missed", [1, 7, 30])
def test_packets_decode_without_those_before(numpy_codec: NumpyCodec, frames: int, missed: int) -> None:
    packets = sent(numpy_codec, tone(2.0, 16000), 16000, 12, frames)
    whole = received(decoder_of(numpy_codec, 16000, 1, 12, frames), [*packets])
    found = received(decoder_of(numpy_codec, 16000, 1, 12, frames), without(packets, *range(missed)))
    settled = (missed * frames + numpy_codec.run_in_frames) * numpy_codec.config.hop_length
    np.testing.assert_allclose(found[settled:], whole[settled:], atol=1e-5)
    assert not found[: missed * frames * 320 - numpy_codec.latency].any()  # nothing before it to continue


def test_the_sound_continues_over_a_lost_packet_and_fades_in_a_long_loss(default_codec: NumpyCodec) -> None:
    sound = tone(1.5, 48000)
    packets = sent(default_codec, sound, 48000, 12)
    whole = received(decoder_of(default_codec, 48000, 1, 12), [*packets])
    found = received(decoder_of(default_codec, 48000, 1, 12), without(packets, 20, *range(40, 65)))
    loudness = [np.sqrt(np.mean(part[:, 0] ** 2)) for part in (found[19_200:20_160], whole[19_200:20_160])]
    assert 0.5 < loudness[0] / loudness[1] < 2
    assert not found[round(0.8 * 48000 + FADE_SECONDS * 48000) : round(1.29 * 48000)].any()


@pytest.mark.parametrize("clip", ["1-*", "2-*", "3-*"])
def test_nothing_clicks(default_codec: NumpyCodec, clip: str) -> None:
    """Around a loss, the largest step between samples is that of the sound near it."""
    with AudioReader(next(samples().glob(clip))) as reader:
        packets = sent(default_codec, reader.read(2 * 48000)[:, :1], 48000, 12)
    lost = [10, 30, 31, *range(50, 55), *range(70, 90)]
    whole = received(decoder_of(default_codec, 48000, 1, 12), [*packets])
    found = received(decoder_of(default_codec, 48000, 1, 12), without(packets, *lost))
    assert found.shape == whole.shape
    jumps, usual = (np.abs(np.diff(sound[:, 0])) for sound in (found, whole))
    for packet in lost:
        for border in ((packet - 0.5) * 960, (packet + 0.5) * 960):
            near = slice(int(border) - 96, int(border) + 96)  # 2 ms: an attack farther off is no click
            around = slice(max(0, int(border) - 9600), int(border) + 9600)
            assert jumps[near].max() <= usual[around].max()


def test_bytes_that_are_no_packet_change_nothing(numpy_codec: NumpyCodec) -> None:
    packets = sent(numpy_codec, tone(0.5, 16000), 16000, 3)
    decoder, other = decoder_of(numpy_codec, 16000, 1, 3), decoder_of(numpy_codec, 16000, 1, 3)
    for number, packet in enumerate(packets):
        for bad in (b"", packet[:-1], packet + b"\0"):
            with pytest.raises(
                BitstreamError, match=f"a packet of {len(bad)} bytes, expected 4: 1 channels, 1 frames"
            ):
                decoder.push(bad)
        with pytest.raises(BitstreamError, match="a packet with padding bits"):
            decoder.push(packet[:-1] + bytes([packet[-1] | 1]))
        given = packet if number % 3 else None
        np.testing.assert_array_equal(decoder.push(given), other.push(given))


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (0, {}, "`channels` must be a whole number from 1 to 8, found 0"),
        (9, {}, "`channels` must be a whole number from 1 to 8, found 9"),
        (1, {"bitrate": 5000}, "is not one of 1500, 3000"),
        (1, {"num_codebooks": 0}, "`num_codebooks` must be 1 to 24, found 0"),
        (1, {"bitrate": 3000, "num_codebooks": 6}, "`bitrate` and `num_codebooks` are given"),
        (1, {"frames_per_packet": 0}, "`frames_per_packet` must be a whole number from 1 to 50, found 0"),
        (1, {"frames_per_packet": 51}, "`frames_per_packet` must be a whole number from 1 to 50, found 51"),
    ],
)
def test_wrong_arguments(
    numpy_codec: NumpyCodec, channels: int, options: dict[str, int], message: str
) -> None:
    for kind in (PacketEncoder, PacketDecoder):
        with pytest.raises(ValueError, match=message):
            kind(numpy_codec, 16000, channels, **options)


def test_a_bitrate_is_its_number_of_codebooks(numpy_codec: NumpyCodec) -> None:
    assert PacketEncoder(numpy_codec, 16000, 1, bitrate=3000).packet_size == 8
    assert (
        PacketDecoder(numpy_codec, 16000, 1).packet_size
        == PacketEncoder(numpy_codec, 16000, 1).packet_size
        == 15
    )


def test_streams_in_threads_do_not_change_each_other(tiny_preset: Path) -> None:
    """Each codes and decodes its own sound, with losses, as it does alone."""

    def there_and_back(number: int, codec: NumpyCodec) -> np.ndarray:
        sound = tone(1.0, 16000) * np.float32(1 / (1 + number))
        encoder, decoder = (
            encoder_of(codec, 16000, 1, 1 + number),
            decoder_of(codec, 16000, 1, 1 + number),
        )
        packets = [packet for at in range(0, len(sound), 97) for packet in encoder.push(sound[at : at + 97])]
        return received(decoder, without(packets, number, 30, 31))

    alone = [there_and_back(number, load(tiny_preset)) for number in range(8)]
    shared = load(tiny_preset)  # fresh: the threads meet at what it makes on first use
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(there_and_back, range(8), [shared] * 8))
    for expected, found in zip(alone, together, strict=True):
        np.testing.assert_array_equal(found, expected)
