"""The training data's cache, and which files are held out. Tiny sounds only."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from support.corpora import RATE, build, corpus, folder, write

from codec.errors import AudioError
from codec.training import corpus as corpus_module
from codec.training.corpus import AudioFile, Corpus, build_cache
from codec.training.data import held_out_segments

__all__ = ["corpus", "folder"]  # fixtures


# The cache


def test_samples_groups_and_hours(folder: Path, corpus: Corpus) -> None:
    assert [file.path for file in corpus.files] == sorted(file.path for file in corpus.files)
    assert {file.group for file in corpus.files} == {"", "music", "speech"}
    assert corpus.hours == pytest.approx((1 + 1.25 + 1.5 + 2 * 0.75 + 0.6) / 3600)
    for file in corpus.files:
        expected = soundfile.read(folder / file.path, always_2d=True)[0].mean(axis=1)
        cached = corpus.samples[file.start : file.start + file.length] / 32768
        np.testing.assert_allclose(cached, expected, atol=1 / 32768)


def test_any_format_is_resampled(tmp_path: Path) -> None:
    for name, rate in (
        ("a.wav", 44100),
        ("b.flac", 22050),
        ("c.ogg", 48000),
        ("d.mp3", 16000),
        ("e.opus", 48000),
    ):
        write(tmp_path / "in" / name, 1.0, rate=rate)
    corpus = build(tmp_path / "in")
    assert [file.path for file in corpus.files] == ["a.wav", "b.flac", "c.ogg", "d.mp3", "e.opus"]
    assert all(abs(file.length - RATE) < 0.2 * RATE for file in corpus.files)


def test_a_tone_keeps_its_pitch_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "BLOCK", 1000)
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a.wav", tone, 44100)
    found = build(tmp_path / "in").samples / 32768
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert len(found) == RATE
    np.testing.assert_allclose(found[200:-200], expected[200:-200], atol=2e-3)


def test_unchanged_files_reuse_the_cache(
    folder: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_module, "_append", lambda *_: pytest.fail("read again"))
    again = build(folder)
    assert again.files == corpus.files
    assert np.array_equal(again.samples, corpus.samples)


@pytest.mark.parametrize("change", ["touch", "new", "gone", "rate", "audio", "index", "empty index"])
def test_a_change_rebuilds_the_cache(folder: Path, corpus: Corpus, change: str) -> None:
    cache, rate = folder.parent / "cache", RATE
    if change == "touch":
        os.utime(folder / "loose.wav", ns=(1, 1))
    elif change == "new":
        write(folder / "new.wav")
    elif change == "gone":
        (folder / "loose.wav").unlink()
    elif change == "rate":
        rate = 16000
    elif change == "audio":
        (cache / "audio.int16").write_bytes(b"cut")
    else:
        (cache / "index.json").write_text("{" if change == "index" else "[]")
    said: list[str] = []
    again = build_cache(folder, cache, rate, said.append)
    assert said[0].startswith("reading")
    assert len(again.files) == len(list(folder.rglob("*.wav")) + list(folder.rglob("*.flac")))
    assert sorted(path.name for path in cache.iterdir()) == ["audio.int16", "index.json"]


def test_skipped_files_are_counted_and_leave_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    good = [write(folder / "a.wav"), write(folder / "z.wav")]
    write(folder / "quiet.wav", level=5e-4)
    write(folder / "short.wav", 0.4)
    (folder / "text.wav").write_text("not audio")
    (folder / "empty.flac").touch()
    (folder / "gone.wav").symlink_to(folder / "nowhere.wav")
    soundfile.write(folder / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    (folder / "readme.txt").write_text("ignored")
    (folder / "._a.wav").write_text("ignored")
    said: list[str] = []
    corpus = build(folder, said)
    assert [file.path for file in corpus.files] == [path.name for path in good]
    assert len(corpus.samples) == 2 * RATE
    for words in "1 silent (as quiet.wav)", "1 shorter than 0.5 s (as short.wav)", "4 unreadable":
        assert words in said[-1]
    assert said[-2:] == build_again_says(folder)


def build_again_says(folder: Path) -> list[str]:
    """Return the messages of a call that reuses the cache."""
    said: list[str] = []
    build(folder, said)
    return said


def test_a_folder_without_audio_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    with pytest.raises(AudioError, match=f"no audio found in {folder}"):
        build(folder)
    write(folder / "short.wav", 0.1)
    with pytest.raises(AudioError, match=f"no usable audio in {folder}: 1 shorter"):
        build(folder)
    assert not list((tmp_path / "cache").iterdir())


def test_a_cache_that_cannot_be_written_is_an_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AudioError, match="cannot write the audio cache"):
        build_cache(folder, tmp_path / "file" / "cache", RATE, print)


def test_links_are_followed_and_loops_end(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "far.wav")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "speech" / "loop").symlink_to(folder)
    paths = [file.path for file in build(folder).files]
    assert "linked/far.wav" in paths
    assert len(paths) == len(set(paths)) == 7


def test_files_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "in" / "long.wav", 60)
    sizes = []
    to_int16 = corpus_module._to_int16
    monkeypatch.setattr(corpus_module, "BLOCK", 4096)
    monkeypatch.setattr(corpus_module, "_to_int16", lambda x: sizes.append(len(x)) or to_int16(x))
    corpus = build(tmp_path / "in")
    assert max(sizes) <= 4096
    assert sum(sizes) == len(corpus.samples) == 60 * RATE
    assert isinstance(corpus.samples, np.memmap)


@given(st.lists(st.floats(-2, 2, width=32), min_size=1))
def test_int16_saturates_and_rounds(samples: list[float]) -> None:
    found = corpus_module._to_int16(np.array(samples, np.float32)) / 32768
    np.testing.assert_allclose(found, np.clip(samples, -1, 32767 / 32768), atol=0.51 / 32768)


def test_the_index_is_plain_json(folder: Path, corpus: Corpus) -> None:
    index = json.loads((folder.parent / "cache" / "index.json").read_text())
    assert [entry["path"] for entry in index["files"]] == [file.path for file in corpus.files]
    assert index["sample_rate"] == RATE


# The split


def files_of(lengths: list[int]) -> list[AudioFile]:
    """Files with these lengths in samples."""
    return [AudioFile(f"{i}.wav", 0, length, "") for i, length in enumerate(lengths)]


@given(st.lists(st.integers(1, 4000), min_size=2, max_size=300))
def test_about_two_percent_are_held_out(seconds: list[int]) -> None:
    files = corpus_module._split(files_of(seconds), 1)
    held_out = [file for file in files if file.held_out]
    assert 1 <= len(held_out) <= max(1, len(files) // 2)
    assert sum(file.length for file in held_out) <= 1800
    assert [file.path for file in files] == [f"{i}.wav" for i in range(len(files))]


def test_the_share_and_its_stability() -> None:
    many = corpus_module._split(files_of([1] * 1000), 1)
    held_out = {file.path for file in many if file.held_out}
    assert 10 <= len(held_out) <= 35
    more = corpus_module._split(files_of([1] * 1100), 1)
    assert held_out <= {file.path for file in more if file.held_out}


def test_one_file_is_not_held_out(tmp_path: Path) -> None:
    write(tmp_path / "in" / "only.wav")
    corpus = build(tmp_path / "in")
    assert (len(corpus.train), len(corpus.held_out)) == (1, 0)
    assert held_out_segments(corpus, 0.5, 2).shape == (2, RATE // 2, 1)


def test_train_and_valid_folders_are_the_split(tmp_path: Path) -> None:
    for name in "train/speech/a.wav", "train/music/b.wav", "valid/speech/c.wav", "valid/d.wav", "other/e.wav":
        write(tmp_path / "in" / name)
    corpus = build(tmp_path / "in")
    assert [(file.path, file.group) for file in corpus.held_out] == [
        ("valid/d.wav", ""),
        ("valid/speech/c.wav", "speech"),
    ]
    assert [(file.path, file.group) for file in corpus.train] == [
        ("train/music/b.wav", "music"),
        ("train/speech/a.wav", "speech"),
    ]
