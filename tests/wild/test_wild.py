"""Odd sound files give all their samples or one clear line, from files and from pipes."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest
from support.sounds import audio_error, read_all
from support.streams import Pipe

from codec.audio import AudioReader
from codec.errors import AudioError

HERE = Path(__file__).parent
WHOLE = {  # sample rate, and samples of the sound that was encoded
    "vbr-without-xing.mp3": (48000, 241_920),
    "joined.mp3": (24000, 72_000),
    "leading-zeros.mp3": (24000, 36_000),
    "two-tags.mp3": (24000, 36_000),
    "wrong-size-in-xing.mp3": (24000, 36_000),
    "chained.ogg": (24000, 48_000),
    "chained.opus": (48000, 96_000),
    "chained.spx": (16000, 32_000),
    "speex.spx": (16000, 16_000),
    "joined.flac": (16000, 16_000),
    "odd-rate.flac": (191_999, 10_000),
    "data-size-0.wav": (8000, 2_000),
    "aac.m4a": (48000, 48_128),  # whole frames
    "aac.aac": (48000, 49_152),  # whole frames, with the delay of the encoder, which ADTS does not state
    "alac.m4a": (16000, 8_000),
    "wma.wma": (48000, 47_104),  # FFmpeg's decoder gives no more
    "opus.webm": (48000, 48_000),
    "wavpack.wv": (16000, 8_000),
}
REFUSED = {
    "joined-rates.mp3": "changes to 1 channels at 16000 Hz, expected 1 at 24000 Hz",
    "chained-rates.ogg": "changes to 1 channels at 16000 Hz, expected 1 at 24000 Hz",
    "joined.wav": "another WAV file follows after sample 1000",
    "truncated.mp3": "truncated: the last MPEG frame holds 84 bytes, expected 96",
    "truncated-without-xing.mp3": "truncated: the last MPEG frame holds 8 bytes, expected 192",
    "hole.mp3": "damaged: no MPEG frame at byte 3024",
    "truncated.flac": "truncated",
    "truncated.m4a": "damaged or truncated near sample",
    "truncated.webm": "truncated: holds 1872 bytes, expected 3744",
    "odd-sizes.aiff": "not a sound file",
    "two-sounds.mka": "holds 2 sounds, expected one",
    "playlist.m3u8": "not a sound file",
}
RECOVERED = {  # samples that are left, and how the report ends
    "truncated.mp3": (23_663, "; 0.99 s are left"),
    "truncated-without-xing.mp3": (27_072, "; 1.13 s are left"),
    "hole.mp3": (31_680, "; 1.32 s are left"),
    "truncated.m4a": (20_480, "; 0.43 s of 1.00 s are left"),
    "truncated.webm": (19_848, "; 0.41 s of 1.01 s are left"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_odd_files_are_read_whole_from_files_and_pipes(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = HERE / name
    for source in (path, Pipe(path.read_bytes(), 1000)):
        reader = AudioReader(source)  # type: ignore[arg-type]
        samples = read_all(reader)
        assert (reader.sample_rate, len(samples)) == WHOLE[name]
        assert samples.std() > 0.001
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_whole_is_refused_with_the_reason(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = HERE / name
    for source in (path, Pipe(path.read_bytes(), 1000)):
        assert REFUSED[name] in audio_error(source)  # type: ignore[arg-type]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", RECOVERED)
def test_what_is_left_of_a_damaged_file_is_recovered(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av", reason="FFmpeg's decoders read past the damage: pip install 'lamella[formats]'")
    reader = AudioReader(HERE / name, recover=True)
    samples = read_all(reader)
    num_samples, ending = RECOVERED[name]
    assert len(samples) == num_samples and samples.std() > 0.001
    assert reader.damage.endswith(ending)
    assert capfd.readouterr() == ("", "")


def test_a_file_whose_first_frame_is_cut_has_nothing_left() -> None:
    with pytest.raises(AudioError, match="nothing is left of it that can be read"):
        AudioReader(HERE / "truncated.flac", recover=True)


def test_all_files_of_the_folder_are_tested_and_small() -> None:
    files = [path for path in HERE.iterdir() if path.is_file() and path.suffix not in (".py", ".md")]
    assert {path.name for path in files} == {*WHOLE, *REFUSED}
    assert sum(path.stat().st_size for path in files) < 1_000_000


def _collections() -> list[Path]:
    """Return the sound files in the packages scipy, soundfile and librosa, as far as they are installed."""
    files = []
    for package in ("scipy", "soundfile", "librosa"):
        spec = importlib.util.find_spec(package)
        folders = [] if spec is None else spec.submodule_search_locations or []
        for folder in folders:
            files += [
                path for path in Path(folder).rglob("*") if path.suffix in (".wav", ".ogg", ".mp3", ".flac")
            ]
    return sorted(files)


def _length_by_ffmpeg(path: Path) -> int | None:
    """Return the samples in a channel that ffmpeg decodes; None if it refuses the file."""
    probe = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        "a:0",
        "-show_entries",
        "stream=channels",
        "-of",
        "csv=p=0",
    ]
    channels = subprocess.run([*probe, str(path)], capture_output=True, text=True).stdout.split()
    decode = ["ffmpeg", "-v", "error", "-xerror", "-i", str(path), "-map", "0:a:0", "-f", "f32le", "-"]
    result = subprocess.run(decode, capture_output=True)
    if result.returncode or not channels:
        return None
    return len(result.stdout) // 4 // int(channels[0])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="compares lengths with those that ffmpeg finds")
def test_collections_of_other_projects_have_the_length_that_ffmpeg_finds() -> None:
    files = _collections()
    if not files:
        pytest.skip("no installed package ships sound files")
    compared = 0
    for path in files:
        try:
            samples = len(read_all(AudioReader(path), 48_000))
        except AudioError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            continue
        expected = _length_by_ffmpeg(path)
        assert expected in (None, samples), path
        compared += expected is not None
    assert compared
