"""Audio files, pipes, rates: what goes in comes out, in blocks, and what is broken says so in one line."""

from __future__ import annotations

import contextlib
import io
import math
import os
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.audio import (
    MAX_CHANNELS,
    AudioReader,
    AudioWriter,
    RawReader,
    RawWriter,
    Reader,
    Resampler,
    Writer,
)
from codec.errors import AudioError, CodecError
from codec.files import name_of, replacing
from codec.sndfile import FORMATS

RATES = (8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000)
SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "IMA_ADPCM")


class Pipe(io.RawIOBase):
    """A stream like a pipe: it cannot seek and gives the bytes in pieces."""

    def __init__(self, data: bytes, piece: int = 1000) -> None:
        self._data, self._piece = io.BytesIO(data), piece

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        return self._data.read(min(size, self._piece) if size >= 0 else self._piece)

    def readable(self) -> bool:
        return True


def noise(num_samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal((num_samples, channels)) * 0.1
    return samples.astype(np.float32)


def read_all(reader: Reader, block: int = 777) -> np.ndarray:
    with reader:
        return np.concatenate([np.zeros((0, reader.channels), np.float32), *reader.blocks(block)])


def one_line(error: pytest.ExceptionInfo[CodecError]) -> str:
    message = str(error.value)
    assert message and "\n" not in message
    return message


def fails(source: Path | BinaryIO) -> str:
    with pytest.raises(AudioError) as error:
        read_all(AudioReader(source))
    return one_line(error)


@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("channels", (1, 2))
def test_wav_reads_as_libsndfile_reads_it(tmp_path: Path, subtype: str, channels: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(3000, channels), 22050, subtype=subtype)
    expected = soundfile.read(path, dtype="float32", always_2d=True)[0]
    for source in (path, path.read_bytes()):
        reader = AudioReader(source if isinstance(source, Path) else Pipe(source))  # type: ignore[arg-type]
        assert (reader.sample_rate, reader.channels, reader.num_samples) == (22050, channels, len(expected))
        np.testing.assert_array_equal(read_all(reader), expected)


@pytest.mark.parametrize("channels", range(1, MAX_CHANNELS + 1))
@pytest.mark.parametrize("container", ("WAV", "WAVEX", "RF64", "W64", "FLAC", "AIFF", "CAF", "OGG"))
def test_containers_and_channels_from_path_stream_and_pipe(container: str, channels: int) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(2000, channels), 48000, format=container)
    data = buffer.getvalue()
    expected = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]
    for stream in (io.BytesIO(data), Pipe(data)):
        np.testing.assert_array_equal(read_all(AudioReader(stream)), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", (".mp3", ".ogg", ".opus", ".flac", ".aif"))
def test_compressed_formats_keep_the_number_of_samples(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    with AudioWriter(path, 48000, 2) as writer:
        writer.write(noise(50_001, 2))
    reader = AudioReader(path)
    assert (reader.sample_rate, reader.channels, reader.num_samples) == (48000, 2, 50_001)
    assert read_all(reader).shape == (50_001, 2)


@pytest.mark.parametrize("num_samples", (0, 1, 10))
@pytest.mark.parametrize("ending", FORMATS)
def test_the_shortest_sounds(tmp_path: Path, ending: str, num_samples: int) -> None:
    path = tmp_path / f"a{ending}"
    if not num_samples and ending in (".mp3", ".opus"):
        with pytest.raises(AudioError, match="cannot hold a sound of no samples") as error:
            AudioWriter(path, 48000, 2).close()
        assert one_line(error) and not path.exists()
        return
    with AudioWriter(path, 48000, 2) as writer:
        writer.write(noise(num_samples, 2))
    assert read_all(AudioReader(path)).shape == (num_samples, 2)


def test_reading_starts_where_the_stream_stands() -> None:
    for container in ("WAV", "FLAC"):
        buffer = io.BytesIO()
        soundfile.write(buffer, noise(100), 8000, format=container)
        stream = io.BytesIO(b"junk" + buffer.getvalue())
        stream.seek(4)
        assert len(read_all(AudioReader(stream))) == 100


def streaming_wav(riff_size: int, data_size: int, samples: bytes) -> bytes:
    """As ffmpeg, sox and others write into a pipe, with a chunk between the format and the samples."""
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, 16000, 64000, 4, 16)
    extra = struct.pack("<4sI", b"LIST", 3) + b"abc\0"
    head = struct.pack("<4sI4s", b"RIFF", riff_size, b"WAVE")
    return head + layout + extra + struct.pack("<4sI", b"data", data_size) + samples


@pytest.mark.parametrize(
    ("riff_size", "data_size"),
    [
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x7FFFF024, 0x7FFFF000),
        (0, 0),
        (36, 0),
        (0xFFFFFFFF, 0),
        (0x80000024, 0x80000000),
    ],
)
def test_streaming_wav_headers(riff_size: int, data_size: int) -> None:
    samples = np.arange(-2000, 2000, dtype="<i2")
    data = streaming_wav(riff_size, data_size, samples.tobytes())
    assert AudioReader(io.BytesIO(data)).num_samples == 2000
    reader = AudioReader(Pipe(data))  # type: ignore[arg-type]
    assert reader.num_samples is None
    np.testing.assert_array_equal(read_all(reader), samples.reshape(-1, 2) / np.float32(32768))


def test_an_empty_wav_with_more_behind_it_is_empty() -> None:
    data = streaming_wav(36 + 12 + 12, 0, b"LIST\4\0\0\0abcd")
    assert AudioReader(io.BytesIO(data)).num_samples == 0
    assert len(read_all(AudioReader(Pipe(data)))) == 0  # type: ignore[arg-type]


def test_a_wav_pipe_is_read_only_as_far_as_it_is_used() -> None:
    """Live input: a block comes out before the pipe ends, so nothing waits for the whole of it."""
    receive, send = os.pipe()
    with open(receive, "rb", buffering=0) as source, open(send, "wb", buffering=0) as sink:
        sink.write(streaming_wav(0xFFFFFFFF, 0xFFFFFFFF, bytes(4 * 100)))
        reader = AudioReader(source)
        assert len(reader.read(100)) == 100
        sink.write(bytes(4 * 50))
        sink.close()
        assert len(reader.read(100)) == 50


def test_a_named_pipe_as_path(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    data = streaming_wav(0xFFFFFFFF, 0xFFFFFFFF, bytes(400))
    thread = threading.Thread(target=path.write_bytes, args=(data,))
    thread.start()
    assert len(read_all(AudioReader(path))) == 100
    thread.join()


def test_flac_of_unknown_length(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(30_000), 44100)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # STREAMINFO's 36-bit number of samples: as from an encoder that wrote to a pipe
    data[22:26] = bytes(4)
    reader = AudioReader(io.BytesIO(bytes(data)))
    assert reader.num_samples is None
    assert len(read_all(reader)) == 30_000


def without_xing(path: Path, levels: tuple[float, float]) -> bytes:
    """A variable-rate MP3 without its first frame, which holds the length; 600,000 samples."""
    with soundfile.SoundFile(path, "w", 44100, 1, compression_level=0.3, bitrate_mode="VARIABLE") as file:
        file.write(np.concatenate([noise(300_000) * level for level in levels]))
    data = path.read_bytes()
    return data[data.index(data[:2], 4) :]


def test_mp3_of_guessed_length_is_never_cut_in_silence(tmp_path: Path) -> None:
    """libsndfile guesses from the first frames: too much is harmless, too little would lose the end."""
    reader = AudioReader(io.BytesIO(without_xing(tmp_path / "a.mp3", (1e-4, 1))))
    assert reader.num_samples is None
    assert len(read_all(reader)) >= 600_000
    assert "MP3 without a length" in fails(io.BytesIO(without_xing(tmp_path / "b.mp3", (1, 1e-4))))


@pytest.mark.parametrize("name", ("nan.wav", "nan.aiff", "nan.pipe"))
@pytest.mark.parametrize("value", (math.nan, math.inf, -math.inf, 1e30))
def test_samples_that_are_no_numbers_are_named(tmp_path: Path, name: str, value: float) -> None:
    samples = noise(2000, 2)
    samples[1234, 1] = samples[1500, 0] = value
    path = tmp_path / name
    soundfile.write(path, samples, 8000, "FLOAT", format="AIFF" if name == "nan.aiff" else "WAV")
    message = fails(Pipe(path.read_bytes()) if name == "nan.pipe" else path)  # type: ignore[arg-type]
    assert "sample 1234 (0.154 s) of channel 2" in message


def test_bad_files(tmp_path: Path) -> None:
    def file(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    assert "is empty" in fails(file("empty.wav", b""))
    assert "is empty" in fails(Pipe(b""))  # type: ignore[arg-type]
    assert "not a sound file" in fails(file("text.wav", b"hello, world\n" * 100))
    assert "not a sound file" in fails(Pipe(b"x"))  # type: ignore[arg-type]
    assert "not a sound file" in fails(file("head.wav", b"RIFF\0\0\0\0WAVE"))
    assert "No such file" in fails(tmp_path / "missing.wav")
    assert "directory" in fails(tmp_path)
    assert str(tmp_path / "text.wav") in fails(tmp_path / "text.wav")


@pytest.mark.parametrize("ending", (".wav", ".flac", ".ogg", ".opus", ".mp3"))
def test_truncated_files(tmp_path: Path, ending: str) -> None:
    whole, cut = tmp_path / f"whole{ending}", tmp_path / f"cut{ending}"
    with AudioWriter(whole, 48000, 1) as writer:
        writer.write(noise(200_000))
    data = whole.read_bytes()
    for size in (len(data) // 2, len(data) - 600):
        cut.write_bytes(data[:size])
        assert "truncated" in fails(cut)
    assert "truncated" in fails(Pipe(data[: len(data) // 2]))  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(("WAV", "FLAC", "OGG", "AIFF")), st.integers(0, 3000), st.integers(0, 7))
def test_a_flipped_bit_is_audio_or_an_audio_error(container: str, byte: int, bit: int) -> None:
    data = bytearray(FLIPPABLE[container])
    data[byte % len(data)] ^= 1 << bit
    with contextlib.suppress(AudioError):
        read_all(AudioReader(Pipe(bytes(data))))  # type: ignore[arg-type]


def _flippable() -> Iterator[tuple[str, bytes]]:
    for container in ("WAV", "FLAC", "OGG", "AIFF"):
        buffer = io.BytesIO()
        soundfile.write(buffer, noise(1000), 8000, format=container)
        yield container, buffer.getvalue()


FLIPPABLE = dict(_flippable())


def test_unsupported_rates_and_channels_are_listed(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "slow.wav", noise(10), 4000)
    soundfile.write(tmp_path / "fast.wav", noise(10), 384_000)
    soundfile.write(tmp_path / "many.wav", noise(10, 9), 48000)
    assert "4000 Hz is not supported, expected 8000 to 192000 Hz" in fails(tmp_path / "slow.wav")
    assert "384000 Hz" in fails(tmp_path / "fast.wav")
    assert "9 channels are not supported, expected 1 to 8" in fails(tmp_path / "many.wav")
    with pytest.raises(AudioError, match="0 channels"):
        RawReader(io.BytesIO(), 48000, 0)


def test_raw_pcm_round_trip(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, (5000, 3)).astype(np.int16)
    path = tmp_path / "a.pcm"
    path.write_bytes(samples.astype("<i2").tobytes())
    stream = io.BytesIO()
    for source in (path, Pipe(path.read_bytes(), piece=7)):
        with RawReader(source, 48000, 3) as reader, RawWriter(stream, 48000, 3) as writer:  # type: ignore[arg-type]
            assert reader.num_samples is None
            for block in reader.blocks(999):
                writer.write(block)
    assert stream.getvalue() == path.read_bytes() * 2
    with pytest.raises(AudioError, match="truncated: ends after sample 1, expected whole samples"):
        read_all(RawReader(io.BytesIO(bytes(7)), 48000, 2))


@pytest.mark.parametrize("subtype", ("PCM_16", "PCM_24", "PCM_32", "FLOAT"))
@pytest.mark.parametrize("channels", (1, 3))
def test_a_stream_of_wav_equals_the_file(tmp_path: Path, subtype: str, channels: int) -> None:
    samples = noise(1001, channels) * 15  # some beyond full scale
    for num_samples in (None, 1001):
        stream, path = io.BytesIO(), tmp_path / "a.wav"
        with (
            AudioWriter(stream, 44100, channels, subtype, num_samples) as streamed,
            AudioWriter(path, 44100, channels, subtype) as written,
        ):
            for start in (0, 500):
                streamed.write(samples[start : start + 500 + start])
                written.write(samples[start : start + 500 + start])
        expected = soundfile.read(path, dtype="float32", always_2d=True)[0]
        found = AudioReader(io.BytesIO(stream.getvalue()))
        assert found.num_samples == 1001
        np.testing.assert_array_equal(read_all(found), expected)
        loud = 0 if subtype == "FLOAT" else int((np.abs(samples) > 1).sum())
        assert streamed.clipped == written.clipped == loud
    assert (
        len(stream.getvalue())
        == 44 + 1001 * channels * int(subtype.removeprefix("PCM_").replace("FLOAT", "32")) // 8
    )
    assert struct.unpack("<I", stream.getvalue()[40:44])[0] == len(stream.getvalue()) - 44


def test_sixteen_bits_come_back_bit_for_bit_and_never_wrap_around(tmp_path: Path) -> None:
    whole = np.arange(-32768, 32768, dtype=np.int16)[:, None]
    with AudioWriter(tmp_path / "a.wav", 48000, 1) as writer:
        writer.write(whole / np.float32(32768))
        writer.write(np.array([[1.5], [-1.5], [1.0], [-1.0]]))
    found = soundfile.read(tmp_path / "a.wav", dtype="int16")[0]
    np.testing.assert_array_equal(found[:-4], whole[:, 0])
    assert found[-4:].tolist() == [32767, -32768, 32767, -32768]
    assert (writer.clipped, writer.num_samples) == (2, 65540)


def test_writing_what_is_no_number_or_has_the_wrong_shape(tmp_path: Path) -> None:
    with AudioWriter(io.BytesIO(), 48000, 1) as writer:
        with pytest.raises(AudioError, match=r"sample 1 .* of channel 1 is nan"):
            writer.write(np.array([[0.0], [math.nan]]))
        with pytest.raises(ValueError, match=r"must be \[time, 1\], found shape \[4, 2\]"):
            writer.write(np.zeros((4, 2)))


def test_formats_that_cannot_hold_it(tmp_path: Path) -> None:
    for name, rate, channels, words in (
        ("a.mp3", 48000, 6, "cannot hold 6 channels at 48000 Hz"),
        ("a.opus", 44100, 1, "cannot hold 1 channels at 44100 Hz"),
        ("a.xyz", 48000, 1, "unknown ending '.xyz', expected one of .wav .flac"),
        ("a", 48000, 1, "unknown ending 'none'"),
    ):
        with pytest.raises(AudioError) as error:
            AudioWriter(tmp_path / name, rate, channels)
        assert words in one_line(error)
    with pytest.raises(ValueError, match="must be one of PCM_16"):
        AudioWriter(io.BytesIO(), 48000, 1, "VORBIS")
    with pytest.raises(ValueError, match="`subtype` of FLAC must be one of"):
        AudioWriter(tmp_path / "a.flac", 48000, 1, "FLOAT")
    assert list(tmp_path.iterdir()) == []


def test_a_file_takes_its_place_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    makes: tuple[Callable[..., Writer], ...] = (AudioWriter, RawWriter)
    for make in makes:
        with pytest.raises(KeyboardInterrupt), make(path, 48000, 1) as writer:
            writer.write(noise(100))
            raise KeyboardInterrupt
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]
    with AudioWriter(path, 48000, 1) as writer:
        writer.write(noise(100))
        assert path.read_bytes() == b"old"
    assert soundfile.info(path).frames == 100
    assert list(tmp_path.iterdir()) == [path]


def test_replacing_follows_links_and_keeps_devices(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    with replacing(link) as beside:
        beside.write_bytes(b"new")
    assert link.is_symlink() and real.read_bytes() == b"new"
    with replacing("/dev/null") as beside:
        assert beside == Path("/dev/null")
    with pytest.raises(CodecError, match="directory"), replacing(tmp_path):
        raise AssertionError("not reached")
    with pytest.raises(CodecError, match="No such file"), replacing(tmp_path / "no" / "a") as beside:
        beside.write_bytes(b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device that is always full")
def test_a_full_disk(tmp_path: Path) -> None:
    match = r"/dev/full: cannot be written: No space left"
    with pytest.raises(CodecError, match=match) as error, AudioWriter("/dev/full", 48000, 1) as writer:
        writer.write(noise(100_000))
    one_line(error)


@pytest.mark.parametrize("ending", (".wav", ".flac", ".ogg", ".pcm"))
def test_a_full_disk_leaves_nothing(tmp_path: Path, ending: str) -> None:
    """A limit on the size of files stands for the full disk: writing fails with OSError in the middle."""
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    path = tmp_path / f"a{ending}"
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    make: Callable[..., Writer] = RawWriter if ending == ".pcm" else AudioWriter
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        with (
            pytest.raises(CodecError, match="cannot be written: File too large") as error,
            make(path, 48000, 1) as writer,
        ):
            for _ in range(20):
                writer.write(noise(48_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(path) in one_line(error)
    assert list(tmp_path.iterdir()) == []


def test_a_stream_that_takes_little_at_a_time_gets_everything() -> None:
    class Slow(io.BytesIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            return super().write(data[:100])

    slow, quick = Slow(), io.BytesIO()
    for stream in (slow, quick):
        with AudioWriter(stream, 48000, 2) as writer:
            writer.write(noise(1000, 2))
    assert slow.getvalue() == quick.getvalue()


def test_names_of_streams() -> None:
    assert name_of(Path("a.wav")) == "a.wav"
    assert name_of(io.BytesIO()) == "the stream"
    with open(0, "rb", closefd=False) as stdin:
        assert name_of(stdin) == "standard input"


# -- changing the rate --


def resample(samples: np.ndarray, source_rate: int, target_rate: int, blocks: list[int]) -> np.ndarray:
    resampler = Resampler(source_rate, target_rate, samples.shape[1])
    pieces: list[np.ndarray] = []
    start = 0
    while start < len(samples):
        size = blocks[len(pieces) % len(blocks)]
        pieces.append(resampler.push(samples[start : start + size]))
        start += size
    return np.concatenate([*pieces, resampler.flush()])


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 5000),
    st.sampled_from((*RATES, 8001, 44101, 191_999)),
    st.sampled_from((16000, 24000, 48000)),
    st.integers(1, MAX_CHANNELS),
    st.lists(st.integers(1, 3000), min_size=1, max_size=5),
)
def test_lengths_are_exact_and_blocks_do_not_matter(
    num_samples: int, source_rate: int, model_rate: int, channels: int, blocks: list[int]
) -> None:
    samples = noise(num_samples, channels)
    whole = resample(samples, source_rate, model_rate, [max(num_samples, 1)])
    assert whole.shape == (math.ceil(num_samples * model_rate / source_rate), channels)
    np.testing.assert_array_equal(resample(samples, source_rate, model_rate, blocks), whole)
    back = resample(whole, model_rate, source_rate, blocks)
    assert len(back) == math.ceil(len(whole) * source_rate / model_rate) >= num_samples


@pytest.mark.parametrize("rate", RATES)
def test_a_sine_keeps_its_place(rate: int) -> None:
    """Two seconds of 1 kHz, there and back: the same samples at the same time, up to the filter's edges."""
    frequency, model_rate = 1000, 48000
    source = 0.5 * np.sin(2 * np.pi * frequency * np.arange(2 * rate) / rate)[:, None]
    there = resample(source, rate, model_rate, [960])
    expected = 0.5 * np.sin(2 * np.pi * frequency * np.arange(2 * model_rate) / model_rate)[:, None]
    edge = model_rate // 10
    np.testing.assert_allclose(there[edge:-edge], expected[edge:-edge], atol=1e-4)
    back = resample(there, model_rate, rate, [960])
    edge = rate // 10
    np.testing.assert_allclose(back[edge:-edge], source[edge:-edge], atol=1e-4)


def test_no_drift_in_an_hour() -> None:
    resampler = Resampler(8001, 16000, 1)
    second = np.zeros((8001, 1), np.float32)
    count = sum(len(resampler.push(second)) for _ in range(3600)) + len(resampler.flush())
    assert count == 3600 * 16000


def test_equal_rates_pass_through() -> None:
    samples = noise(100, 2)
    resampler = Resampler(48000, 48000, 2)
    np.testing.assert_array_equal(resampler.push(samples), samples)
    assert resampler.flush().shape == (0, 2)
