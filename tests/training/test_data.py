"""The training data: batches and prefetch. Tiny WAVs only."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from support.corpora import RATE, build, corpus, folder, write

from codec.training import data
from codec.training.augmentation import SIGN_ONLY, Augmentation
from codec.training.corpus import AudioFile, Corpus, FileSet
from codec.training.data import (
    Batch,
    BatchSpec,
    RateShare,
    Shard,
    draw_batch,
    draw_rates,
    draw_segment,
    held_out_segments,
    prefetch,
    rate_shares,
)

__all__ = ["corpus", "folder"]  # fixtures

AUGMENTATION = Augmentation(band_limits=(1000.0, 2000.0))
SPEC = BatchSpec(batch_size=8, segment_length=2000, seed=3, augmentation=AUGMENTATION)


# Batches


def test_a_batch_is_fixed_by_seed_and_step(corpus: Corpus) -> None:
    batch, again = draw_batch(corpus, SPEC, 7), draw_batch(corpus, SPEC, 7)
    for name, left, right in zip(batch._fields, batch, again, strict=True):
        assert np.array_equal(left, right), name
    for other in draw_batch(corpus, SPEC, 8), draw_batch(corpus, replace(SPEC, seed=4), 7):
        assert not np.array_equal(batch.audio, other.audio)
        assert not np.array_equal(batch.seeds, other.seeds)


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_the_shards_together_are_the_whole_batch(corpus: Corpus, count: int) -> None:
    parts = [draw_batch(corpus, replace(SPEC, shard=Shard(number, count)), 7) for number in range(count)]
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


@pytest.mark.parametrize(
    "codebooks", [(2,), (3,), (3, 6), (3, 6, 12), (3, 6, 12, 24), (3, 6, 12, 24, 30), (5, 7)]
)
def test_the_shares_of_any_rates(codebooks: tuple[int, ...]) -> None:
    shares = rate_shares(codebooks)
    assert tuple(count for count, _ in shares) == codebooks
    assert sum(share for _, share in shares) == pytest.approx(1)
    assert min(share for _, share in shares) >= 0.12
    BatchSpec(4, 1, rates=shares)  # is taken


def test_the_shares_of_the_shipped_rates() -> None:
    assert [share for _, share in rate_shares((3, 6, 12, 24, 30))] == pytest.approx(
        [0.16, 0.16, 0.2, 0.2, 0.28]
    )


@given(st.integers(5, 64), st.integers(0, 1000))
def test_rates_are_stratified(batch_size: int, seed: int) -> None:
    spec = BatchSpec(batch_size, 1)
    rates = draw_rates(np.random.default_rng(seed), spec.rates, spec.batch_size)
    counts = Counter(rates.tolist())
    assert len(rates) == batch_size
    for num_codebooks, share in spec.rates:
        assert counts[num_codebooks] >= 1
        assert abs(counts[num_codebooks] - share * batch_size) < (1.3 if batch_size < 8 else 1.01)


def test_rates_are_shuffled_and_right_on_average() -> None:
    spec = BatchSpec(2, 1, rates=(RateShare(3, 0.25), RateShare(24, 0.75)))
    drawn = np.array([draw_rates(np.random.default_rng(i), spec.rates, spec.batch_size) for i in range(2000)])
    assert abs((drawn == 3).mean(axis=0) - 0.5).max() < 0.05  # each rate at least once where there is room
    single = BatchSpec(1, 1, rates=spec.rates)
    drawn = np.array(
        [draw_rates(np.random.default_rng(i), single.rates, single.batch_size) for i in range(2000)]
    )
    assert abs((drawn == 3).mean() - 0.25) < 0.05


def test_held_out_files_are_never_drawn(tmp_path: Path) -> None:
    write(tmp_path / "in" / "train" / "a.wav", level=0.1)
    write(tmp_path / "in" / "valid" / "b.wav", level=0.9)
    corpus = build(tmp_path / "in")
    plain = replace(SPEC, augmentation=SIGN_ONLY)
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
    loud = [np.abs(draw_segment(rng, corpus, corpus.train, 0, 800)).max() > 0 for _ in range(300)]
    assert np.mean(loud) > 0.9  # 1 - 1/32 in theory


def test_a_short_file_fills_the_segment(tmp_path: Path) -> None:
    write(tmp_path / "in" / "short.wav", 0.6)
    corpus = build(tmp_path / "in")
    segment = draw_segment(np.random.default_rng(1), corpus, corpus.train, 0, 5 * RATE)
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
    "wrong", [{"batch_size": 0}, {"segment_length": 0}, {"rates": ()}, {"shard": Shard(0, 3)}]
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
    draw = functools.partial(draw_batch, corpus, SPEC)
    with contextlib.closing(prefetch(draw, 0)) as batches:
        whole = [next(batches) for _ in range(6)]
    with contextlib.closing(prefetch(draw, 4)) as batches:
        resumed = [next(batches) for _ in range(2)]
    for left, right in zip(whole[4:], resumed, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(left, right, strict=True))
    assert np.array_equal(whole[5].audio, draw_batch(corpus, SPEC, 5).audio)
    assert batch_threads() == 0


def test_prefetch_raises_what_the_thread_raised(corpus: Corpus) -> None:
    def fail_at_two(step: int) -> Batch:
        if step == 2:
            raise RuntimeError("disk gone")
        return draw_batch(corpus, SPEC, step)

    batches = prefetch(fail_at_two, 0)
    assert len([next(batches), next(batches)]) == 2
    with pytest.raises(RuntimeError, match="disk gone"):
        next(batches)
    assert batch_threads() == 0
