"""The training data: cache, split, batches, prefetch. Tiny WAVs only."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import AudioError
from codec.training import corpus as corpus_module
from codec.training import data
from codec.training.augmentation import PLAIN, Augmentation
from codec.training.data import (
    AudioFile,
    BatchSpec,
    Corpus,
    FileSet,
    Part,
    RateShare,
    build_cache,
    draw_batch,
    held_out_segments,
    prefetch,
    rate_shares,
)

RATE = 8000  # Hz
AUGMENTATION = Augmentation(band_limits=(1000.0, 2000.0))
SPEC = BatchSpec(batch_size=8, segment_length=2000, seed=3, augmentation=AUGMENTATION)


def write(path: Path, seconds: float = 1.0, level: float = 0.3, rate: int = RATE, channels: int = 1) -> Path:
    """Write noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name))
    noise = level * rng.uniform(-1, 1, (round(seconds * rate), channels))
    opus = {"format": "OGG", "subtype": "OPUS"} if path.suffix == ".opus" else {}
    soundfile.write(path, noise, rate, **opus)
    return path


def build(folder: Path, said: list[str] | None = None) -> Corpus:
    """Build the cache of a folder beside it."""
    return build_cache(folder, folder.parent / "cache", RATE, (said if said is not None else []).append)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six files: two groups, one file of the folder itself."""
    for i in range(3):
        write(tmp_path / "in" / "speech" / f"{i}.wav", 1 + i / 4)
    for i in range(2):
        write(tmp_path / "in" / "music" / "deep" / f"{i}.flac", 0.75, channels=2)
    write(tmp_path / "in" / "loose.wav", 0.6)
    return tmp_path / "in"


@pytest.fixture
def corpus(folder: Path) -> Corpus:
    return build(folder)


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
    """What a call says that reuses the cache."""
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


# Batches


def test_a_batch_is_fixed_by_seed_and_step(corpus: Corpus) -> None:
    batch, again = draw_batch(corpus, SPEC, 7), draw_batch(corpus, SPEC, 7)
    for name, left, right in zip(batch._fields, batch, again, strict=True):
        assert np.array_equal(left, right), name
    for other in draw_batch(corpus, SPEC, 8), draw_batch(corpus, replace(SPEC, seed=4), 7):
        assert not np.array_equal(batch.audio, other.audio)
        assert not np.array_equal(batch.seeds, other.seeds)


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_parts_are_the_whole(corpus: Corpus, count: int) -> None:
    parts = [draw_batch(corpus, replace(SPEC, part=Part(number, count)), 7) for number in range(count)]
    for whole, pieces in zip(draw_batch(corpus, SPEC, 7), zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_shapes_types_and_ranges(corpus: Corpus) -> None:
    for step in range(20):
        batch = draw_batch(corpus, SPEC, step)
        assert (batch.audio.shape, batch.audio.dtype) == ((8, 2000, 1), np.float32)
        assert (batch.num_codebooks.shape, batch.num_codebooks.dtype) == ((8,), np.int32)
        assert (batch.noise_start.shape, batch.noise_start.dtype) == ((8,), np.int32)
        assert batch.noise_start.min() >= 0 and batch.noise_start.max() < 4096
        assert (batch.seeds.shape, batch.seeds.dtype) == ((8,), np.int32)
        assert batch.seeds.min() >= 0 and len(set(batch.seeds)) == 8
        assert np.abs(batch.audio).max() <= 0.991
        assert np.isfinite(batch.audio).all()


@pytest.mark.parametrize("codebooks", [(2,), (3,), (3, 6), (3, 6, 12), (3, 6, 12, 24), (5, 7)])
def test_the_shares_of_any_rates(codebooks: tuple[int, ...]) -> None:
    shares = rate_shares(codebooks)
    assert tuple(count for count, _ in shares) == codebooks
    assert sum(share for _, share in shares) == pytest.approx(1)
    assert min(share for _, share in shares) >= 0.2
    BatchSpec(4, 1, rates=shares)  # is taken


def test_the_shares_of_the_shipped_rates() -> None:
    assert [share for _, share in rate_shares((3, 6, 12, 24))] == pytest.approx([0.2, 0.25, 0.3, 0.25])


@given(st.integers(4, 64), st.integers(0, 1000))
def test_rates_are_stratified(batch_size: int, seed: int) -> None:
    spec = BatchSpec(batch_size, 1)
    rates = data._draw_rates(np.random.default_rng(seed), spec)
    counts = Counter(rates.tolist())
    assert len(rates) == batch_size
    for num_codebooks, share in spec.rates:
        assert counts[num_codebooks] >= 1
        assert abs(counts[num_codebooks] - share * batch_size) < (1.3 if batch_size < 8 else 1.01)


def test_rates_are_shuffled_and_right_on_average() -> None:
    spec = BatchSpec(2, 1, rates=(RateShare(3, 0.25), RateShare(24, 0.75)))
    drawn = np.array([data._draw_rates(np.random.default_rng(i), spec) for i in range(2000)])
    assert abs((drawn == 3).mean(axis=0) - 0.5).max() < 0.05  # each rate at least once where there is room
    single = BatchSpec(1, 1, rates=spec.rates)
    drawn = np.array([data._draw_rates(np.random.default_rng(i), single) for i in range(2000)])
    assert abs((drawn == 3).mean() - 0.25) < 0.05


def test_held_out_files_are_never_drawn(tmp_path: Path) -> None:
    write(tmp_path / "in" / "train" / "a.wav", level=0.1)
    write(tmp_path / "in" / "valid" / "b.wav", level=0.9)
    corpus = build(tmp_path / "in")
    plain = replace(SPEC, augmentation=PLAIN)
    assert max(np.abs(draw_batch(corpus, plain, step).audio).max() for step in range(10)) <= 0.101
    assert np.abs(held_out_segments(corpus, 0.25, 3)).max() > 0.8


def test_groups_are_drawn_by_the_root_of_their_duration() -> None:
    files = FileSet(
        [AudioFile("a", 0, 900, "big"), AudioFile("b", 0, 60, "small"), AudioFile("c", 0, 40, "small")]
    )
    rng = np.random.default_rng(0)
    groups = Counter(files.groups[files.draw_group(rng)] for _ in range(4000))
    assert groups["big"] / 4000 == pytest.approx(0.75, abs=0.03)
    names = Counter(files.draw_file(rng, 1).path for _ in range(4000))
    assert names["b"] / 4000 == pytest.approx(0.6, abs=0.03)


def test_quiet_segments_are_drawn_again(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    sound = np.zeros(20 * RATE)
    sound[: 10 * RATE] = 0.3
    soundfile.write(tmp_path / "in" / "half.wav", sound, RATE)
    corpus = build(tmp_path / "in")
    rng = np.random.default_rng(0)
    loud = [np.abs(data._draw_segment(rng, corpus, corpus.train, 0, 800)).max() > 0 for _ in range(300)]
    assert np.mean(loud) > 0.9  # 1 - 1/32 in theory


def test_a_short_file_fills_the_segment(tmp_path: Path) -> None:
    write(tmp_path / "in" / "short.wav", 0.6)
    corpus = build(tmp_path / "in")
    segment = data._draw_segment(np.random.default_rng(1), corpus, corpus.train, 0, 5 * RATE)
    assert np.array_equal(segment[:4800], corpus.samples / np.float32(32768))
    assert np.count_nonzero(segment[-2 * RATE :]) > RATE / 2


def test_a_mix_keeps_speech_louder(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for group, step in (
        ("music", 4),
        ("speech", 1),
    ):  # music below a quarter of the band, of speech only what is above
        (folder / group).mkdir(parents=True)
        tone = 0.5 * np.sin(2 * np.pi * (500 if step == 4 else 3000) * np.arange(RATE) / RATE)
        soundfile.write(folder / group / "a.wav", tone, RATE)
        soundfile.write(folder / group / "b.wav", tone, RATE)
    corpus, spec = build(folder), replace(SPEC, augmentation=Augmentation(mix_level=(3.0, 15.0)))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        mix = data._draw_mix(rng, corpus, spec, seed % 2)
        spectrum = np.abs(np.fft.rfft(mix))
        low, high = spectrum[:400].max(), spectrum[400:].max()
        assert min(low, high) < 0.01 * max(low, high) or low < 0.75 * high


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"segment_length": 0}, {"rates": ()}, {"part": Part(0, 3)}]
)
def test_a_wrong_spec_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(SPEC, **wrong)  # type: ignore[arg-type]


def test_held_out_segments_are_fixed_and_take_turns(tmp_path: Path) -> None:
    for name in "train/a.wav", "valid/loud/b.wav", "valid/soft/c.wav":
        write(tmp_path / "in" / name, level=0.9 if "loud" in name else 0.1)
    corpus = build(tmp_path / "in")
    segments = held_out_segments(corpus, 0.5, 4)
    assert (segments.shape, segments.dtype) == ((4, RATE // 2, 1), np.float32)
    assert np.array_equal(segments, held_out_segments(corpus, 0.5, 4))
    assert (np.abs(segments).max(axis=(1, 2)) > 0.5).tolist() == [True, False, True, False]


# Prefetch


def batch_threads() -> int:
    return sum(thread.name == "batches" for thread in threading.enumerate())


def test_prefetch_gives_the_same_batches_after_a_resume(corpus: Corpus) -> None:
    with contextlib.closing(prefetch(corpus, SPEC, 0)) as batches:
        whole = [next(batches) for _ in range(6)]
    with contextlib.closing(prefetch(corpus, SPEC, 4)) as batches:
        resumed = [next(batches) for _ in range(2)]
    for left, right in zip(whole[4:], resumed, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(left, right, strict=True))
    assert np.array_equal(whole[5].audio, draw_batch(corpus, SPEC, 5).audio)
    assert batch_threads() == 0


def test_prefetch_raises_what_the_thread_raised(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_at_two(corpus: Corpus, spec: BatchSpec, step: int) -> data.Batch:
        if step == 2:
            raise RuntimeError("disk gone")
        return draw_batch(corpus, spec, step)

    monkeypatch.setattr(data, "draw_batch", fail_at_two)
    batches = prefetch(corpus, SPEC, 0)
    assert len([next(batches), next(batches)]) == 2
    with pytest.raises(RuntimeError, match="disk gone"):
        next(batches)
    assert batch_threads() == 0


def test_the_index_is_plain_json(folder: Path, corpus: Corpus) -> None:
    index = json.loads((folder.parent / "cache" / "index.json").read_text())
    assert [entry["path"] for entry in index["files"]] == [file.path for file in corpus.files]
    assert index["sample_rate"] == RATE
