"""Whole files and live streams through the codec: exact lengths, the same codes, and no half-written files."""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools
import math
import os
import threading
import tracemalloc
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
import soundfile
from conftest import tone
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import Pipe

from codec import bitstream, compression
from codec.audio import AudioReader, AudioWriter, RawReader, RawWriter
from codec.compression import CompressionReport, EncoderStream, compress, decompress
from codec.config import CodecConfig
from codec.decoding import DecoderStream
from codec.errors import AudioError, BitstreamError, CodecError, Truncated, WrongModel
from codec.light import LightCodec
from codec.model import Codec

NUM_CODEBOOKS = 6


@dataclasses.dataclass(frozen=True)
class ThroughConfig:
    """The part of a CodecConfig that compression looks at."""

    sample_rate: int = 16000
    hop_length: int = 32
    num_codebooks: int = 32
    bits_per_code: int = 16
    restart_frames: int = 500
    run_in_frames: int = 1


class Through:
    """A codec whose codes are the samples themselves, 16 bits each, and whose decoder lags: so time can be tested."""

    config = ThroughConfig()
    latency, seconds_at_once, prior = 21, 3, None

    def encoder_state(self, batch: int) -> np.ndarray:
        return np.zeros((batch, 0))

    def restarted(self, state: np.ndarray) -> np.ndarray:
        return state

    def fast_encode_step(
        self, audio: np.ndarray, state: np.ndarray, num_codebooks: int
    ) -> tuple[np.ndarray, np.ndarray]:
        assert audio.dtype == np.float32 and num_codebooks == self.config.num_codebooks
        codes = np.clip(np.rint(audio * 32768) + 32768, 0, 65535).astype(np.int32)
        return codes.reshape(len(audio), -1, self.config.hop_length), state

    def decoder_state(self, batch: int, first_frame: int = 0) -> np.ndarray:
        return np.zeros((batch, self.latency, 1), np.float32)

    def fast_decode_step(self, codes: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not codes.shape[-1]:  # lost frames
            codes = np.full((*codes.shape[:2], self.config.hop_length), 32768)
        sound = (codes.reshape(len(codes), -1, 1) - 32768).astype(np.float32) / 32768
        sound = np.concatenate([state, sound], axis=1)
        return sound[:, : -self.latency], sound[:, -self.latency :]


@pytest.fixture
def through(monkeypatch: pytest.MonkeyPatch) -> Codec:
    return fake(monkeypatch)


def fake(monkeypatch: pytest.MonkeyPatch) -> Codec:
    monkeypatch.setattr(compression, "model_id", lambda codec: b"through!")
    return cast(Codec, Through())


def wav_of(samples: np.ndarray, sample_rate: int, subtype: str = "FLOAT") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, subtype, format="WAV")
    return buffer.getvalue()


def compressed(source: bytes, codec: Codec | LightCodec, num_codebooks: int) -> bytes:
    target = io.BytesIO()
    compress(io.BytesIO(source), target, codec, num_codebooks)
    return target.getvalue()


def sound_of(lam: BinaryIO, codec: Codec | LightCodec, subtype: str = "FLOAT") -> tuple[np.ndarray, int]:
    """Decompress into a stream; float32 [time, channels] and the rate."""
    target = io.BytesIO()

    decompress(lam, target, codec, open_writer=functools.partial(AudioWriter, subtype=subtype))
    with AudioReader(io.BytesIO(target.getvalue())) as reader:
        blocks = [np.zeros((0, reader.channels), np.float32), *reader.blocks(10_000)]
        return np.concatenate(blocks), reader.sample_rate


def codes_of(lam: bytes) -> np.ndarray:
    return np.concatenate([chunk.codes for chunk in bitstream.Reader(io.BytesIO(lam))], axis=1)


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
    tiny_codec: Codec, num_samples: int, sample_rate: int, channels: int, tmp_path: Path
) -> None:
    source, lam, back = tmp_path / "a.wav", tmp_path / "a.lam", tmp_path / "b.flac"
    soundfile.write(source, tone(2.1, sample_rate, channels)[:num_samples], sample_rate)
    report = compress(source, lam, tiny_codec, NUM_CODEBOOKS)
    expected = len(soundfile.read(source)[0])
    assert report[:4] == (expected / sample_rate, sample_rate, channels, expected)
    assert report.bytes == lam.stat().st_size
    decompress(lam, back, tiny_codec)
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


def encode_live(stream: EncoderStream, samples: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    chunks, start, turn = [], 0, 0
    while start < len(samples):
        chunks += stream.push(samples[start : start + sizes[turn % len(sizes)]])
        start, turn = start + sizes[turn % len(sizes)], turn + 1
    return chunks + stream.flush()


@pytest.mark.parametrize("sizes", ([441], [100_000], [1, 2000, 7, 30_000]))
def test_live_codes_are_those_of_the_file(tiny_codec: Codec, sizes: list[int]) -> None:
    samples = tone(2.3, 22050, 2)
    lam = compressed(wav_of(samples, 22050), tiny_codec, NUM_CODEBOOKS)
    stream = EncoderStream(tiny_codec, 22050, 2, NUM_CODEBOOKS)
    chunks = encode_live(stream, samples, sizes)
    assert all(chunk.dtype == np.int32 and chunk.shape[1] == stream.frames_per_chunk for chunk in chunks[:-1])
    np.testing.assert_array_equal(np.concatenate(chunks, axis=1), codes_of(lam))
    assert stream.num_samples == len(samples)


@pytest.mark.parametrize("frames", (9, 50, 150))
def test_the_prediction_begins_anew_each_second_and_each_chunk(tiny_codec: Codec, frames: int) -> None:
    """The codes of chunks are those of steps that begin so; but for ties that rounding may decide in another way."""
    samples, hop = tone(3.2, 16000), tiny_codec.config.hop_length
    found = np.concatenate(
        encode_live(EncoderStream(tiny_codec, 16000, 1, NUM_CODEBOOKS, frames), samples, [5000]), axis=1
    )
    state, parts = tiny_codec.encoder_state(1), []
    starts = [*range(0, 160, min(frames, 50)), 160]
    for start, end in itertools.pairwise(starts):
        block = samples[np.newaxis, start * hop : end * hop]
        codes, state = tiny_codec.encode_step(block, tiny_codec.restarted(state), NUM_CODEBOOKS)
        parts.append(codes)
    assert np.mean(found[:, :160] == np.concatenate(parts, axis=1)) > 0.99


def test_codes_of_a_lower_bitrate_are_a_prefix_although_its_chunks_are_longer(light: LightCodec) -> None:
    source = wav_of(tone(5.0, 16000), 16000)
    low, high = compressed(source, light, 3), compressed(source, light, 12)
    assert bitstream.Reader(io.BytesIO(low)).header.frames_per_chunk == 200
    assert bitstream.Reader(io.BytesIO(high)).header.frames_per_chunk == 50
    np.testing.assert_array_equal(codes_of(low), codes_of(high)[..., :3])


def test_live_sound_is_that_of_the_file(tiny_codec: Codec) -> None:
    lam = compressed(wav_of(tone(1.3, 22050, 2), 22050), tiny_codec, NUM_CODEBOOKS)
    expected, _ = sound_of(io.BytesIO(lam), tiny_codec)
    stream = DecoderStream(tiny_codec, 22050, 2)
    pieces = [stream.push(chunk.codes) for chunk in bitstream.Reader(io.BytesIO(lam))]
    found = np.concatenate([*pieces, stream.flush()])
    assert len(expected) <= len(found) <= len(expected) + 22050 // 50 + 1
    np.testing.assert_allclose(found[: len(expected)], expected, atol=1e-4)


@pytest.mark.parametrize("frames", (1, 7, 120))
def test_chunks_of_any_length_sound_the_same_from_both_forms_of_the_model(
    tiny_codec: Codec, light: LightCodec, frames: int
) -> None:
    chunks = encode_live(EncoderStream(light, 16000, 1, 6, frames), tone(2.6, 16000), [800])
    streams = DecoderStream(light, 16000, 1), DecoderStream(tiny_codec, 16000, 1)
    ours, expected = (np.concatenate([*map(stream.push, chunks), stream.flush()]) for stream in streams)
    # random weights leave directions of nearly no length, which rounding turns
    np.testing.assert_allclose(ours, expected, atol=1e-2 * np.abs(expected).max())


def test_streams_that_share_a_codec_do_not_touch_each_other(tiny_codec: Codec) -> None:
    first, second = tone(1.2, 16000), tone(1.2, 16000)[::-1]
    alone = encode_live(EncoderStream(tiny_codec, 16000, 1, 3, 20), first, [6400])
    one, other = EncoderStream(tiny_codec, 16000, 1, 3, 20), EncoderStream(tiny_codec, 16000, 1, 3, 20)
    mixed = []
    for start in range(0, len(first), 6400):
        mixed += one.push(first[start : start + 6400])
        other.push(second[start : start + 6400])
    np.testing.assert_array_equal(np.concatenate(mixed + one.flush(), axis=1), np.concatenate(alone, axis=1))


def test_two_runs_give_the_same_bytes(tiny_codec: Codec, wav: Path, tmp_path: Path) -> None:
    lams, backs = [], []
    for run in ("a", "b"):
        lam, back = tmp_path / f"{run}.lam", tmp_path / f"{run}.wav"
        compress(wav, lam, tiny_codec, NUM_CODEBOOKS)
        decompress(lam, back, tiny_codec)
        lams.append(lam.read_bytes())
        backs.append(back.read_bytes())
    assert lams[0] == lams[1] and backs[0] == backs[1]


def test_a_path_a_stream_and_a_pipe_give_the_same(tiny_codec: Codec, wav: Path, tmp_path: Path) -> None:
    compress(wav, tmp_path / "a.lam", tiny_codec, NUM_CODEBOOKS)
    lam = (tmp_path / "a.lam").read_bytes()
    assert compressed(wav.read_bytes(), tiny_codec, NUM_CODEBOOKS) == lam
    endless = bytearray(wav.read_bytes())
    endless[4:8] = endless[40:44] = b"\xff" * 4
    target = io.BytesIO()
    compress(cast(BinaryIO, Pipe(bytes(endless), 999)), target, tiny_codec, NUM_CODEBOOKS)
    assert bitstream.Reader(cast(BinaryIO, Pipe(target.getvalue()))).num_samples is None
    np.testing.assert_array_equal(codes_of(target.getvalue()), codes_of(lam))
    expected, _ = sound_of(io.BytesIO(lam), tiny_codec)
    for source in (io.BytesIO(target.getvalue()), Pipe(target.getvalue(), 777)):
        found, _ = sound_of(cast(BinaryIO, source), tiny_codec)
        np.testing.assert_array_equal(found, expected)


def test_live_from_pipe_to_pipe(through: Codec) -> None:
    """Sound comes out while more goes in, and neither end knows the length."""
    (heard, said), (received, sent) = os.pipe(), os.pipe()
    source, middle = open(heard, "rb"), open(sent, "wb")  # noqa: SIM115
    lam, mouth = open(received, "rb"), open(said, "wb", buffering=0)  # noqa: SIM115
    result = io.BytesIO()
    halfway = threading.Event()

    def send() -> None:
        with source, middle:
            compress(source, middle, through, 32)

    def receive() -> None:
        with lam:
            decompress(
                lam, result, through, lambda seconds: halfway.set() if seconds > 1 else None, RawWriter
            )

    threads = [threading.Thread(target=send), threading.Thread(target=receive)]
    for thread in threads:
        thread.start()
    samples = np.random.default_rng(0).integers(-9000, 9000, 16_000 * 4 + 5).astype("<i2")
    header = bytearray(wav_of(np.zeros((0, 1)), 16000, "PCM_16")[:44])
    header[4:8] = header[40:44] = b"\xff" * 4
    mouth.write(bytes(header) + samples[:48_000].tobytes())
    assert halfway.wait(timeout=20)
    mouth.write(samples[48_000:].tobytes())
    mouth.close()
    for thread in threads:
        thread.join(timeout=20)
    np.testing.assert_array_equal(np.frombuffer(result.getvalue(), "<i2"), samples)


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
    assert done[:4] == (5.0, 8000, 2, 40_000)
    assert told == sorted(told) and told[-1] == 5.0
    loud = compressed(wav_of(np.full((40_000, 1), 0.99), 8000), through, 32)
    assert decompress(io.BytesIO(loud), io.BytesIO(), through).clipped >= 0


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


def test_another_model_is_refused_by_both_names(
    tiny_codec: Codec, through: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lam = tmp_path / "a.lam"
    lam.write_bytes(compressed(wav_of(np.zeros((10, 1)), 16000), through, 32))
    monkeypatch.setattr(compression, "model_id", lambda codec: bytes.fromhex("00112233aabbccdd"))
    with pytest.raises(WrongModel) as error:
        decompress(lam, tmp_path / "a.wav", tiny_codec)
    message = str(error.value)
    assert message.startswith(str(lam)) and "\n" not in message
    assert b"through!".hex() in message and "00112233aabbccdd" in message
    assert list(tmp_path.iterdir()) == [lam]


def test_a_header_that_contradicts_the_model_is_refused(through: Codec) -> None:
    header = EncoderStream(through, 16000, 1, 32).header(0)
    for changes in (
        {"hop_length": 16},
        {"num_codebooks": 33},
        {"bits_per_code": 8},
        {"model_sample_rate": 8000},
    ):
        with pytest.raises(BitstreamError, match="the stream: header: "):
            decompress(io.BytesIO(empty(dataclasses.replace(header, **changes))), io.BytesIO(), through)  # type: ignore[arg-type]
    with pytest.raises(AudioError, match="1000 Hz is not supported"):
        decompress(io.BytesIO(empty(dataclasses.replace(header, sample_rate=1000))), io.BytesIO(), through)


def empty(header: bitstream.Header) -> bytes:
    file = io.BytesIO()
    bitstream.Writer(file, header).close()
    return file.getvalue()


@pytest.mark.parametrize("opened", (io.BytesIO, Pipe))
@pytest.mark.parametrize("num_samples", (2**48, 10**15, 10**6))
def test_absurd_numbers_of_samples_allocate_nothing(through: Codec, opened: Any, num_samples: int) -> None:
    lam = bytearray(compressed(wav_of(np.zeros((16_000, 1)), 16000), through, 32))
    lam[31:39] = num_samples.to_bytes(8, "little")
    lam[39:43] = zlib.crc32(lam[:39]).to_bytes(4, "little")
    tracemalloc.start()
    with pytest.raises(BitstreamError, match="samples"):
        decompress(opened(bytes(lam)), io.BytesIO(), through)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000  # bytes


def test_more_or_fewer_frames_than_the_source_had(through: Codec) -> None:
    header = dataclasses.replace(EncoderStream(through, 16000, 1, 32).header(None), frames_per_chunk=100)
    for num_samples in (320, 3190):
        file = io.BytesIO()
        writer = bitstream.Writer(file, header)
        writer.write_chunk(np.zeros((1, 100, 32), int))
        writer.close(num_samples)
        with pytest.raises(BitstreamError, match=f"codes of about .* samples, expected {num_samples}"):
            decompress(cast(BinaryIO, Pipe(file.getvalue())), io.BytesIO(), through)


def test_nothing_is_overwritten_by_a_failure(through: Codec, tmp_path: Path) -> None:
    samples = np.zeros((50_000, 1), np.float32)
    good, bad, old = tmp_path / "good.lam", tmp_path / "bad", tmp_path / "old"
    good.write_bytes(compressed(wav_of(samples, 16000), through, 32))
    old.with_suffix(".wav").write_bytes(b"old")
    old.with_suffix(".lam").write_bytes(b"old")
    before = sorted(tmp_path.iterdir())

    def check(damaged: bytes, error: type[CodecError]) -> None:
        bad.write_bytes(damaged)
        target = old.with_suffix(".lam" if damaged[:4] == b"RIFF" else ".wav")
        with pytest.raises(error) as raised:
            if target.suffix == ".lam":
                compress(bad, target, through, 32)
            else:
                decompress(bad, target, through)
        assert str(raised.value).startswith(str(bad)) and "\n" not in str(raised.value)
        assert sorted(tmp_path.iterdir()) == sorted([*before, bad])
        assert target.read_bytes() == b"old"

    lam, flipped = good.read_bytes(), bytearray(good.read_bytes())
    flipped[len(lam) // 2] ^= 1
    check(lam[: len(lam) // 2], Truncated)
    check(bytes(flipped), BitstreamError)
    check(b"", Truncated)
    check(b"not a file of ours, by any means, but a long text", BitstreamError)
    check(lam[:6] + b"\x02" + lam[7:], BitstreamError)
    samples[45_000] = math.nan
    check(wav_of(samples, 16000), AudioError)
    check(wav_of(samples, 16000)[:-1000], AudioError)


def test_a_failing_disk_or_folder(through: Codec, tmp_path: Path) -> None:
    source = io.BytesIO(wav_of(np.zeros((10, 1)), 16000))
    with pytest.raises(CodecError, match=r"no/a.lam: cannot be written: No such file"):
        compress(source, tmp_path / "no" / "a.lam", through, 32)
    with pytest.raises(CodecError, match=r"missing.lam: cannot be read: No such file"):
        decompress(tmp_path / "missing.lam", tmp_path / "a.wav", through)
    if os.path.exists("/dev/full"):
        source.seek(0)
        with pytest.raises(CodecError, match=r"/dev/full: cannot be written: No space left"):
            compress(source, "/dev/full", through, 32)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 7), st.booleans())
def test_any_flipped_bit_is_found(byte: int, bit: int, piped: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        codec = fake(patch)
        lam = bytearray(compressed(wav_of(np.zeros((20_000, 1)), 16000), codec, 32))
        lam[byte % len(lam)] ^= 1 << bit
        with pytest.raises(BitstreamError):
            decompress(cast(BinaryIO, (Pipe if piped else io.BytesIO)(bytes(lam))), io.BytesIO(), codec)


def test_arguments_are_checked(tiny_codec: Codec, tiny_config: CodecConfig) -> None:
    for count in (0, tiny_config.num_codebooks + 1):
        with pytest.raises(ValueError, match="`num_codebooks` must be 1 to 24"):
            EncoderStream(tiny_codec, 16000, 1, count)
    with pytest.raises(ValueError, match=r"must be \[time, 2\]"):
        EncoderStream(tiny_codec, 16000, 2, 3).push(np.zeros((10, 1), np.float32))


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
