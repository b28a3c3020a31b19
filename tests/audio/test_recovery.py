"""With `recover`, readers give what is left of truncated and damaged sound files, and say how much that is."""

from __future__ import annotations

import functools
import io
import re
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sounds import audio_error, noise, one_line, read_all, tone
from support.streams import Pipe

from codec.audio import AudioReader, AudioWriter, RawReader
from codec.errors import AudioError

WILD = Path(__file__).parents[1] / "wild"
SECONDS, RATE = 2.0, 48000
ENDINGS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aiff")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The same sound in several formats."""
    folder = tmp_path_factory.mktemp("sounds")
    sound = tone(SECONDS, RATE) + noise(round(SECONDS * RATE)) / 10
    for ending in ENDINGS:
        with AudioWriter(folder / f"a{ending}", RATE, 1) as writer:
            writer.write(sound)
    return {ending: (folder / f"a{ending}").read_bytes() for ending in ENDINGS}


@pytest.fixture
def without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that PyAV is not installed."""
    monkeypatch.setitem(sys.modules, "av", None)


@pytest.fixture
def with_pyav() -> None:
    pytest.importorskip("av", reason="FFmpeg's decoders read past the damage: pip install 'lamella[formats]'")


@functools.cache
def short_file(ending: str) -> tuple[bytes, np.ndarray]:
    """Return a sound file of three FLAC frames, and its samples."""
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(10_000, 2), 16000, format=ending[1:].upper())
    return buffer.getvalue(), read_all(AudioReader(io.BytesIO(buffer.getvalue())))


def recovered(source: BinaryIO | Path) -> tuple[np.ndarray, str]:
    """Return what is left of a file, and the report."""
    reader = AudioReader(source, recover=True)
    samples = read_all(reader)
    assert reader.num_samples in (None, len(samples))
    return samples, reader.damage


def write_by_ffmpeg(path: Path, container: str, encoder: str) -> None:
    """Write two seconds of a tone with one of FFmpeg's encoders."""
    import av

    with av.open(path, "w", format=container, options={"movflags": "faststart"}) as output:
        stream = output.add_stream(encoder, rate=RATE, layout="mono")
        samples = np.ascontiguousarray(tone(SECONDS, RATE).T)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        frame.sample_rate, frame.pts = RATE, 0
        for converted in av.AudioResampler(stream.format.name, "mono", RATE, 960).resample(frame):
            output.mux(stream.encode(converted))
        output.mux(stream.encode(None))


def recovery_error(data: bytes) -> str:
    with pytest.raises(AudioError) as error:
        read_all(AudioReader(io.BytesIO(data), recover=True))
    return one_line(error)


def seconds_left(damage: str) -> float:
    match = re.fullmatch(r"the file is cut or damaged; ([\d.]+) s(?: of [\d.]+ s)? are left", damage)
    assert match, damage
    return float(match[1])


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_cut_file_gives_the_samples_before_the_cut(
    ending: str, files: dict[str, bytes], with_pyav: None
) -> None:
    whole = read_all(AudioReader(io.BytesIO(files[ending])))
    cut = files[ending][: len(files[ending]) * 6 // 10]
    for source in (io.BytesIO(cut), Pipe(cut, 1000)):
        samples, damage = recovered(source)  # type: ignore[arg-type]
        assert 0.25 * len(whole) < len(samples) < 0.7 * len(whole)
        np.testing.assert_allclose(samples, whole[: len(samples)], atol=1e-5)
        assert seconds_left(damage) == pytest.approx(len(samples) / RATE, abs=0.005)
    assert audio_error(io.BytesIO(cut)).endswith("; --recover compresses what is left")


@pytest.mark.parametrize(
    ("container", "encoder"), [("ipod", "aac"), ("ipod", "alac"), ("wv", "wavpack"), ("matroska", "libopus")]
)
def test_a_cut_file_of_a_format_of_ffmpeg_gives_the_samples_before_the_cut(
    container: str, encoder: str, tmp_path: Path, with_pyav: None
) -> None:
    path = tmp_path / "a"
    write_by_ffmpeg(path, container, encoder)
    data = path.read_bytes()
    whole = read_all(AudioReader(path))
    cut = data[: len(data) * 6 // 10]
    samples, damage = recovered(io.BytesIO(cut))
    assert 0.25 * len(whole) < len(samples) < 0.7 * len(whole)
    np.testing.assert_allclose(samples, whole[: len(samples)], atol=1e-5)
    assert re.search(r" s of [12]\.\d\d s are left", damage)
    assert audio_error(io.BytesIO(cut)).endswith("; --recover compresses what is left")


@pytest.mark.parametrize("ending", (".wav", ".flac"))
def test_the_report_has_the_length_that_the_file_states(ending: str, files: dict[str, bytes]) -> None:
    _, damage = recovered(io.BytesIO(files[ending][: len(files[ending]) // 2]))
    assert " s of 2.00 s are left" in damage


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_whole_file_is_read_as_without_recovery(ending: str, files: dict[str, bytes]) -> None:
    whole = read_all(AudioReader(io.BytesIO(files[ending])))
    reader = AudioReader(io.BytesIO(files[ending]), recover=True)
    assert reader.num_samples == len(whole)
    np.testing.assert_array_equal(read_all(reader), whole)
    assert reader.damage == ""


@pytest.mark.parametrize("ending", (".flac", ".mp3"))
def test_reading_goes_on_behind_damage(ending: str, files: dict[str, bytes], with_pyav: None) -> None:
    data = bytearray(files[ending])
    whole = read_all(AudioReader(io.BytesIO(files[ending])))
    middle = len(data) // 2
    data[middle : middle + 300] = bytes(300)
    samples, damage = recovered(io.BytesIO(data))
    assert 0.85 * len(whole) < len(samples) < len(whole)
    start, late = len(whole) // 3, whole[-9000:-8900, 0]
    np.testing.assert_allclose(samples[:start], whole[:start], atol=1e-5)
    windows = np.lib.stride_tricks.sliding_window_view(samples[len(whole) // 2 :, 0], len(late))
    assert np.abs(windows - late).max(axis=1).min() < 1e-4
    assert seconds_left(damage) == pytest.approx(len(samples) / RATE, abs=0.005)


def test_a_flac_frame_with_a_wrong_checksum_is_left_out(files: dict[str, bytes], with_pyav: None) -> None:
    data = bytearray(files[".flac"])
    whole = read_all(AudioReader(io.BytesIO(files[".flac"])))
    data[len(data) // 2] ^= 1
    samples, damage = recovered(io.BytesIO(data))
    assert len(samples) == len(whole) - 4096 and damage
    frames = [whole[start : start + 4096] for start in range(0, len(whole), 4096)]
    assert any(
        np.array_equal(samples, np.concatenate(frames[:lost] + frames[lost + 1 :]))
        for lost in range(len(frames))
    )


@pytest.mark.parametrize("ending", (".wav", ".flac", ".aiff", ".ogg", ".opus"))
def test_without_pyav_libsndfile_reads_up_to_the_cut(
    ending: str, files: dict[str, bytes], without_pyav: None
) -> None:
    whole = read_all(AudioReader(io.BytesIO(files[ending])))
    samples, damage = recovered(io.BytesIO(files[ending][: len(files[ending]) * 6 // 10]))
    assert 0.25 * len(whole) < len(samples) < 0.7 * len(whole) and damage
    np.testing.assert_allclose(samples, whole[: len(samples)], atol=1e-5)


def test_without_pyav_the_error_names_the_extra_where_it_is_needed(
    files: dict[str, bytes], without_pyav: None
) -> None:
    mp3, wav = files[".mp3"][:-100], files[".wav"][:-100]
    install = "pip install 'lamella[formats]'"
    assert audio_error(io.BytesIO(mp3)).endswith(
        f"--recover compresses what is left; most formats need: {install}"
    )
    assert audio_error(io.BytesIO(wav)).endswith("--recover compresses what is left")
    assert recovery_error(mp3).endswith(f"nothing is left of it that can be read without: {install}")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_of_which_nothing_is_left_is_refused(ending: str, files: dict[str, bytes]) -> None:
    for size in (0, 10, 41, 44):
        recovery_error(files[ending][:size])


def test_what_is_no_sound_is_refused_as_without_recovery() -> None:
    for name in ("playlist.m3u8", "two-sounds.mka", "joined.wav"):
        message = audio_error(WILD / name)
        assert "--recover" not in message
        assert recovery_error((WILD / name).read_bytes()) == message.replace(str(WILD / name), "the stream")


def test_an_incomplete_last_sample_of_raw_pcm_is_left_out() -> None:
    reader = RawReader(io.BytesIO(bytes(4003)), 8000, 2, recover=True)
    assert len(read_all(reader)) == 1000
    assert reader.damage == "the file is cut or damaged; 0.12 s are left"


@given(st.data())
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("ending", (".wav", ".flac"))
def test_any_cut_gives_a_prefix_or_one_clear_error(ending: str, data: st.DataObject) -> None:
    content, whole = short_file(ending)
    cut = content[: data.draw(st.integers(0, len(content) - 1))]
    for source in (io.BytesIO(cut), Pipe(cut, 1000)):
        try:
            samples, damage = recovered(source)  # type: ignore[arg-type]
        except AudioError as error:
            assert str(error) and "\n" not in str(error)
            continue
        assert damage and 0 < len(samples) < len(whole)
        np.testing.assert_array_equal(samples, whole[: len(samples)])
