"""Writers store the samples they are given, replace a file only when it is whole, and raise one-line errors."""

from __future__ import annotations

import io
import math
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.sounds import noise, one_line, read_all
from support.streams import Pipe

from codec.audio import AudioReader, AudioWriter, RawReader, RawWriter, SampleWriter
from codec.audio.sndfile import FORMATS
from codec.errors import AudioError, CodecError


def test_raw_pcm_is_read_and_written_byte_for_byte(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, (5000, 3)).astype(np.int16)
    path = tmp_path / "a.pcm"
    path.write_bytes(samples.astype("<i2").tobytes())
    stream = io.BytesIO()
    for source in (path, Pipe(path.read_bytes(), step=7)):
        with RawReader(source, 48000, 3) as reader, RawWriter(stream, 48000, 3) as writer:  # type: ignore[arg-type]
            assert reader.num_samples is None
            for block in reader.blocks(999):
                writer.write(block)
    assert stream.getvalue() == path.read_bytes() * 2
    with pytest.raises(AudioError, match="truncated: ends after sample 1, expected whole samples"):
        read_all(RawReader(io.BytesIO(bytes(7)), 48000, 2))


@pytest.mark.parametrize("subtype", ("PCM_16", "PCM_24", "PCM_32", "FLOAT"))
@pytest.mark.parametrize("channels", (1, 3))
def test_wav_in_a_stream_has_the_samples_of_the_file(tmp_path: Path, subtype: str, channels: int) -> None:
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
        reader = AudioReader(io.BytesIO(stream.getvalue()))
        assert reader.num_samples == 1001
        np.testing.assert_array_equal(read_all(reader), expected)
        loud = 0 if subtype == "FLOAT" else int((np.abs(samples) > 1).sum())
        assert streamed.clipped == written.clipped == loud
    sample_bytes = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4}[subtype]
    assert len(stream.getvalue()) == 44 + 1001 * channels * sample_bytes
    assert struct.unpack("<I", stream.getvalue()[40:44])[0] == len(stream.getvalue()) - 44


def test_16_bit_samples_are_exact_and_louder_ones_are_clipped(tmp_path: Path) -> None:
    whole = np.arange(-32768, 32768, dtype=np.int16)[:, None]
    with AudioWriter(tmp_path / "a.wav", 48000, 1) as writer:
        writer.write(whole / np.float32(32768))
        writer.write(np.array([[1.5], [-1.5], [1.0], [-1.0]]))
    stored = soundfile.read(tmp_path / "a.wav", dtype="int16")[0]
    np.testing.assert_array_equal(stored[:-4], whole[:, 0])
    assert stored[-4:].tolist() == [32767, -32768, 32767, -32768]
    assert (writer.clipped, writer.num_samples) == (2, 65540)


def test_samples_of_another_shape_or_not_finite_are_refused() -> None:
    with AudioWriter(io.BytesIO(), 48000, 1) as writer:
        with pytest.raises(AudioError, match=r"sample 1 .* of channel 1 is nan"):
            writer.write(np.array([[0.0], [math.nan]]))
        with pytest.raises(ValueError, match=r"must be \[time, 1\], found shape \[4, 2\]"):
            writer.write(np.zeros((4, 2)))


def test_formats_that_cannot_hold_the_sound_are_refused(tmp_path: Path) -> None:
    for name, rate, channels, words in (
        ("a.mp3", 48000, 6, "cannot hold 6 channels at 48000 Hz"),
        ("a.opus", 44100, 1, "cannot hold 1 channels at 44100 Hz"),
        ("a.flac", 191_999, 1, "cannot hold 1 channels at 191999 Hz; WAV holds all that is supported"),
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


def test_a_file_is_replaced_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    makes: tuple[Callable[..., SampleWriter], ...] = (AudioWriter, RawWriter)
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


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device that is always full")
def test_a_full_device_is_named() -> None:
    match = r"/dev/full: cannot be written: No space left"
    with pytest.raises(CodecError, match=match) as error, AudioWriter("/dev/full", 48000, 1) as writer:
        writer.write(noise(100_000))
    one_line(error)


@pytest.mark.parametrize("limit", (1, 20_000))
@pytest.mark.parametrize("ending", (*FORMATS, ".pcm"))
def test_a_full_disk_leaves_no_file_and_prints_nothing(
    tmp_path: Path, ending: str, limit: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """A limit on file sizes stands for the full disk: writing fails in the middle with an OSError."""
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    path = tmp_path / f"a{ending}"
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    make: Callable[..., SampleWriter] = RawWriter if ending == ".pcm" else AudioWriter
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        with (
            pytest.raises(CodecError, match="cannot be written: File too large") as error,
            make(path, 48000, 1) as writer,
        ):
            for _ in range(4):
                writer.write(noise(48_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(path) in one_line(error)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_wav_file_above_4_gib_becomes_rf64(tmp_path: Path) -> None:
    """Its sizes do not fit in 32 bits. The header of a stream and that of a file are the same kind."""
    with AudioWriter(tmp_path / "a.wav", 48000, 1, num_samples=3 * 2**30) as writer:
        writer.write(noise(1000))
    assert soundfile.info(tmp_path / "a.wav").format == "RF64"
    stream = io.BytesIO()
    with AudioWriter(stream, 48000, 1, num_samples=3 * 2**30) as writer:
        writer.write(noise(1000))
    path = tmp_path / "b.wav"
    path.write_bytes(stream.getvalue())
    os.truncate(path, 80 + 6 * 2**30)  # sparse
    reader = AudioReader(path)
    assert (reader.num_samples, reader.channels) == (3 * 2**30, 1)
    np.testing.assert_array_equal(reader.read(1000), read_all(AudioReader(tmp_path / "a.wav")))


@pytest.mark.parametrize("ending", (".wav", ".aiff", ".au"))
def test_a_format_with_small_sizes_is_not_written_beyond_them(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codec.audio.sndfile.MAX_DATA", 100_000)  # in place of 4 GiB
    with (
        pytest.raises(AudioError, match=r"holds at most 4 GiB; write \.w64, \.caf or \.flac"),
        AudioWriter(tmp_path / f"a{ending}", 48000, 1) as writer,
    ):
        writer.write(noise(100_000))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", (".aiff", ".au"))
def test_a_sound_known_to_be_too_large_is_refused_before_it_is_made(tmp_path: Path, ending: str) -> None:
    with pytest.raises(AudioError, match="holds at most 4 GiB"):
        AudioWriter(tmp_path / f"a{ending}", 48000, 1, num_samples=3 * 2**30)
    assert list(tmp_path.iterdir()) == []


def test_a_stream_that_accepts_few_bytes_at_a_time_gets_all() -> None:
    class Slow(io.BytesIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            return super().write(data[:100])

    slow, quick = Slow(), io.BytesIO()
    for stream in (slow, quick):
        with AudioWriter(stream, 48000, 2) as writer:
            writer.write(noise(1000, 2))
    assert slow.getvalue() == quick.getvalue()
