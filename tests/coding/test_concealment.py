"""Damaged files as sound: the right length, no click, every loss reported, and undamaged parts unchanged."""

from __future__ import annotations

import dataclasses
import functools
import io
import math
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.coding import decompressed, file_of, sample_codec, sound_of
from support.damage import coded, damaged, offsets, recover
from support.sounds import tone
from support.streams import Pipe

from codec import architecture, bitstream
from codec.audio import AudioReader
from codec.coding.concealment import Loss, show_time
from codec.coding.decompression import decompress
from codec.coding.encoder_stream import EncoderStream
from codec.config import CodecConfig
from codec.errors import BitstreamError, ChecksumMismatch, CodecError, TooLong
from codec.presets import samples
from codec.protocol import StreamingCodec
from codec.runtime import NumpyCodec

ROUNDING = 5e-5  # of matrix products of other sizes, in the tiny model's sound, which is up to 10 loud


@functools.cache
def speech(codec: NumpyCodec, rate: int, channels: int) -> tuple[bytes, np.ndarray]:
    """Return a file of six seconds in chunks of a second, and its sound."""
    with AudioReader(next(samples().glob("1-speech.*"))) as reader:
        sound = reader.read(6 * reader.sample_rate)[:, :1]
    sound = np.concatenate([sound, sound[::-1]], axis=1)[: 6 * rate, :channels]
    stream = EncoderStream(codec, rate, channels, num_codebooks=12, frames_per_chunk=50)
    lam = file_of(stream, sound, len(sound))
    return lam, sound_of(io.BytesIO(lam), codec)


def test_an_undamaged_file_is_unchanged(default_codec: NumpyCodec) -> None:
    lam, whole = speech(default_codec, 48000, 2)
    for opened in (io.BytesIO, functools.partial(Pipe, step=999)):
        found, losses = recover(lam, default_codec, opened=cast(type, opened))
        np.testing.assert_allclose(found, whole, atol=1e-6)
        assert losses == []


@pytest.mark.parametrize(("rate", "channels"), [(48000, 1), (48000, 2), (44100, 1)])
@pytest.mark.parametrize("lost", [(0,), (2,), (2, 3), (5, 6), (0, 2, 4)])
def test_lost_chunks_are_concealed(
    default_codec: NumpyCodec, rate: int, channels: int, lost: tuple[int, ...]
) -> None:
    lam, whole = speech(default_codec, rate, channels)
    found, losses = recover(damaged(lam, *lost), default_codec)
    seconds = len(whole) / rate
    assert found.shape == whole.shape
    reported = [chunk for loss in losses for chunk in range(loss.first, (loss.last or 0) + 1)]
    assert reported == [chunk for chunk in lost if chunk < len(offsets(lam))]
    for loss in losses:
        assert (loss.start, loss.end) == (loss.first, min((loss.last or 0) + 1, seconds))
    check_undamaged(found, whole, rate, set(lost))
    for chunk in lost:
        quiet = found[round((chunk + 0.2) * rate) : round((chunk + 0.95) * rate)]
        assert np.abs(quiet).max(initial=0) < 1e-6


def check_undamaged(found: np.ndarray, whole: np.ndarray, rate: int, lost: set[int]) -> None:
    """Check that seconds without a loss next to them are unchanged; those before one nearly to their end.

    For the decoder's run-in after a loss, the excitation may have other phases than before.
    """
    run_in = architecture.run_in_frames(CodecConfig()) / CodecConfig().frame_rate
    for second in range(6):
        if {second - 1, second} & lost:
            continue
        end = 0.98 if second + 1 in lost else 1.0
        span = slice(second * rate, round((second + end) * rate))
        settled = all(second >= chunk + 1 + run_in for chunk in lost if chunk < second)
        np.testing.assert_allclose(found[span], whole[span], atol=1e-6 if settled else 2e-3)


@pytest.mark.parametrize("clip", ["1-*", "2-*", "3-*"])
def test_nothing_clicks(default_codec: NumpyCodec, clip: str) -> None:
    """Around a loss, the largest step between samples is that of the sound, or a little more after an attack."""
    with AudioReader(next(samples().glob(clip))) as reader:
        sound = reader.read(4 * 48000)[:, :1]
    lam = coded(default_codec, sound, 48000, 50)
    whole = sound_of(io.BytesIO(lam), default_codec)
    for chunk in (1, 2):
        found, _ = recover(damaged(lam, chunk), default_codec)
        for border in (chunk, chunk + 1):
            near = slice(round((border - 0.1) * 48000), round((border + 0.15) * 48000))
            largest = np.abs(np.diff(whole[:, 0])).max()
            assert np.abs(np.diff(found[near, 0])).max() <= 1.1 * largest


def test_a_part_of_a_damaged_file(numpy_codec: NumpyCodec) -> None:
    lam = coded(numpy_codec, tone(6.3, 16000), 16000, 50)
    whole = sound_of(io.BytesIO(lam), numpy_codec)
    found, losses = recover(damaged(lam, 1, 4), numpy_codec, 2.5, 3.5)
    np.testing.assert_allclose(found[8000:], whole[48_000:56_000], atol=ROUNDING)
    assert losses == []
    found, losses = recover(damaged(lam, 1, 4), numpy_codec, 3.5, 5.25)
    assert [str(loss) for loss in losses] == ["0:04.00 to 0:05.00 (chunk 4)"]
    assert len(found) == 1.75 * 16000


def test_cut_files_have_their_length_back_where_the_header_knows_it(numpy_codec: NumpyCodec) -> None:
    lam = coded(numpy_codec, tone(6.3, 16000), 16000, 50)
    whole = sound_of(io.BytesIO(lam), numpy_codec)
    found, losses = recover(lam[: offsets(lam)[4] + 7], numpy_codec)
    np.testing.assert_allclose(found[: 4 * 16000 - 160], whole[: 4 * 16000 - 160], atol=ROUNDING)
    assert len(found) == len(whole)
    assert [str(loss) for loss in losses] == ["0:04.00 to 0:06.30 (chunks 4 to 6)"]


def live(model: StreamingCodec, sound: np.ndarray) -> bytes:
    """Return a file that has its length only at the end."""
    return file_of(EncoderStream(model, 16000, 1, num_codebooks=6, frames_per_chunk=50), sound, None)


def test_cut_files_of_unknown_length_have_what_is_left(numpy_codec: NumpyCodec) -> None:
    lam = live(numpy_codec, tone(6.3, 16000))
    whole = sound_of(io.BytesIO(lam), numpy_codec)
    found, losses = recover(lam[: offsets(lam)[4]], numpy_codec)
    np.testing.assert_allclose(found, whole[: 4 * 16000 - 160], atol=ROUNDING)
    assert [str(loss) for loss in losses] == ["0:04.00 to an unknown end (chunk 4 and all after it)"]
    found, losses = recover(damaged(lam, 6), numpy_codec)
    assert (len(found), len(losses)) == (len(whole), 1)


def test_a_damaged_file_is_recovered_from_a_pipe(numpy_codec: NumpyCodec) -> None:
    lam = bytearray(live(numpy_codec, tone(6.3, 16000)))
    lam[offsets(bytes(lam))[3]] ^= 0x40  # a length
    expected, losses = recover(bytes(lam), numpy_codec)
    found, same = recover(bytes(lam), numpy_codec, opened=cast(type, functools.partial(Pipe, step=100)))
    np.testing.assert_array_equal(found, expected)
    assert losses == same == [Loss(3, 3, 3.0, 4.0)]


def test_a_file_without_a_chunk_is_an_error(numpy_codec: NumpyCodec, tmp_path: Path) -> None:
    lam = coded(numpy_codec, tone(2.0, 16000), 16000, 50)
    for data in (damaged(lam, 0, 1, 2), lam[:60], live(numpy_codec, tone(1.0, 16000))[:43]):
        with pytest.raises(BitstreamError, match="the stream: no chunk is left"):
            recover(data, numpy_codec)
    with pytest.raises(ChecksumMismatch, match="the stream: header at byte 0"):
        recover(lam[:20] + b"\x05\x05" + lam[22:], numpy_codec)
    with pytest.raises(CodecError):
        decompress(io.BytesIO(lam[:60]), tmp_path / "a.wav", model=numpy_codec, recover=True)
    assert list(tmp_path.iterdir()) == []


def test_no_sound_is_no_loss(numpy_codec: NumpyCodec) -> None:
    lam = coded(numpy_codec, tone(0.0, 16000), 16000)
    assert recover(lam[:-1], numpy_codec)[1] == []
    assert len(recover(lam, numpy_codec)[0]) == 0


def test_an_absurd_length_is_not_made_of_silence(numpy_codec: NumpyCodec) -> None:
    lam = bytearray(coded(numpy_codec, tone(2.0, 16000), 16000))
    lam[31:39] = (2**47).to_bytes(8, "little")
    lam[39:43] = zlib.crc32(lam[:39]).to_bytes(4, "little")
    with pytest.raises(TooLong, match=r"the stream: \d+ s of sound in \d+ bytes, expected at most"):
        recover(bytes(lam), numpy_codec)
    with pytest.raises(BitstreamError, match="is lost, expected at most 24:00:00"):
        decompressed(io.BytesIO(lam), numpy_codec, recover=True, max_duration=math.inf)


@pytest.mark.parametrize("frames", [1, 3])
def test_short_chunks(numpy_codec: NumpyCodec, frames: int) -> None:
    lam = coded(numpy_codec, tone(1.0, 16000), 16000, frames)
    whole = sound_of(io.BytesIO(lam), numpy_codec)
    found, losses = recover(damaged(lam, 7), numpy_codec)
    assert found.shape == whole.shape
    assert [(loss.first, loss.last) for loss in losses] == [(7, 7)]
    run_in = (8 * frames + numpy_codec.run_in_frames) * 320
    np.testing.assert_allclose(found[run_in:], whole[run_in:], atol=1e-6)


def test_a_recovered_file_does_not_change_the_next(numpy_codec: NumpyCodec) -> None:
    lam = coded(numpy_codec, tone(4.0, 16000, 2), 16000, 50)
    before = sound_of(io.BytesIO(lam), numpy_codec)
    for bad in (damaged(lam, 2), lam[:-100], lam[: len(lam) // 2]):
        recover(bad, numpy_codec)
        np.testing.assert_array_equal(sound_of(io.BytesIO(lam), numpy_codec), before)


def small_files(model: StreamingCodec) -> list[bytes]:
    """Return three files of 6 chunks: one of known length, one of unknown length, one with two silent chunks."""
    header = EncoderStream(model, 16000, 1, num_codebooks=32, frames_per_chunk=1).header(160)
    files = []
    for seed, known, silent in ((1, 160, ()), (2, None, ()), (3, 160, (1, 4))):
        file = io.BytesIO()
        writer = bitstream.Writer(file, dataclasses.replace(header, num_samples=known, varies=bool(silent)))
        chunks = np.random.default_rng(seed).integers(2**14, 3 * 2**14, (6, 1, 1, 32))
        for number, codes in enumerate(chunks):
            writer.write_chunk(codes[..., :0] if number in silent else codes)
        writer.close(160)
        files.append(file.getvalue())
    return files


@settings(max_examples=100)
@given(st.data())
def test_any_prefix_flip_or_splice_is_sound_or_a_bitstream_error(data: st.DataObject) -> None:
    model = sample_codec()
    one, two, _ = data.draw(st.permutations(small_files(model)))
    start, end = data.draw(st.tuples(st.integers(0, len(one)), st.integers(0, len(two))))
    flipped = bytearray(one)
    flipped[min(start, len(one) - 1)] ^= 1 << end % 8
    # No splice after all of a file: a pipe may rightly take its end for that file or for another, damaged one.
    spliced = one[: min(start, len(one) - 1)] + two[end:]
    lam = data.draw(st.sampled_from([one[:start], spliced, bytes(flipped)]))
    for opened in (io.BytesIO, Pipe):
        try:
            expected = sound_of(cast(BinaryIO, opened(lam)), model)
        except BitstreamError:
            expected = None
        try:
            found, losses = recover(lam, model, opened=opened)
        except BitstreamError:
            assert expected is None
            continue
        assert len(found) == 160 or any(loss.end is None for loss in losses) or one[31] == 0xFF
        if expected is not None:
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("file", [0, 2])
def test_a_damaged_byte_costs_at_most_one_chunk(samples_as_codes: StreamingCodec, file: int) -> None:
    lam = small_files(samples_as_codes)[file]
    ends = (*offsets(lam), len(lam) - 1 - 6 - 16)  # the trailer's first byte, index and footer
    for at in range(len(lam)):
        bad = lam[:at] + bytes([lam[at] ^ 0x21]) + lam[at + 1 :]
        with pytest.raises(BitstreamError):
            sound_of(io.BytesIO(bad), samples_as_codes)
        if at >= 43:
            found, losses = recover(bad, samples_as_codes)
            assert len(found) == 160
            hit = [chunk for chunk in range(6) if ends[chunk] <= at < ends[chunk + 1]]
            assert [(loss.first, loss.last) for loss in losses] == [(chunk, chunk) for chunk in hit]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00.00"), (62.5, "1:02.50"), (3599.999, "1:00:00.00"), (36_610.25, "10:10:10.25")],
)
def test_times_are_written_as_people_do(seconds: float, text: str) -> None:
    assert show_time(seconds) == text


def test_losses_are_described_by_time_and_chunks() -> None:
    assert str(Loss(3, 3, 3.0, 4.0)) == "0:03.00 to 0:04.00 (chunk 3)"
    assert str(Loss(3, 5, 3.0, 6.0)) == "0:03.00 to 0:06.00 (chunks 3 to 5)"
    assert str(Loss(3, None, 3.0, None)) == "0:03.00 to an unknown end (chunk 3 and all after it)"
