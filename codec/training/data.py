"""Training batches: Corpus -> Batch, drawn ahead by a thread.

    Corpus --draw_batch(spec, step)--> Batch --prefetch--> the trainer

A batch depends only on (corpus, spec, step): it is the same on every backend, on every machine and after every resume.
It holds a seed for each item, from which all further random numbers of the step are drawn. Each item has its own seed,
so that several processes can each draw their shard of one batch. Numpy only.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from codec.config import SHIPPED_CODEBOOKS
from codec.training.augmentation import Augmentation, augment, rms
from codec.training.corpus import FULL_SCALE, Corpus, FileSet

QUIET_RMS = 1e-4  # quieter segments are drawn again, at most MAX_REDRAWS times
MAX_REDRAWS = 4
LONGEST_GAP = 0.5  # seconds of silence between the repeats of a file shorter than a segment
NOISE_STARTS = 4096
FOREGROUND = "speech"  # the group that stays louder in a mix
INITIAL_STEPS = 1 << 40  # batches for the initialization are drawn from here on, away from the training steps


class RateShare(NamedTuple):
    """A number of codebooks, and the share of the batch that is coded with it."""

    num_codebooks: int
    share: float


RATE_WEIGHTS = {3: 0.16, 6: 0.16, 12: 0.2, 24: 0.2, 30: 0.28}  # of the shipped numbers of codebooks
OTHER_WEIGHT = 0.25  # of any other


def rate_shares(codebooks: tuple[int, ...]) -> tuple[RateShare, ...]:
    """Divide a batch among the numbers of codebooks that a model ships with."""
    weights = [RATE_WEIGHTS.get(count, OTHER_WEIGHT) for count in codebooks]
    return tuple(RateShare(count, w / sum(weights)) for count, w in zip(codebooks, weights, strict=True))


class Shard(NamedTuple):
    """One of several equal parts of a batch, such as the part that one of several processes draws."""

    number: int  # from 0
    total: int


WHOLE_BATCH = Shard(0, 1)


@dataclass(frozen=True)
class BatchSpec:
    """The composition of a batch; together with a step number it determines every sample of the batch.

    Attributes:
        batch_size: items, in all shards together.
        segment_length: samples.
        seed: of all random numbers.
        rates: how many codebooks the items are coded with.
        augmentation: the changes to the segments.
        shard: which part to draw.
    """

    batch_size: int
    segment_length: int
    seed: int = 0
    rates: tuple[RateShare, ...] = rate_shares(SHIPPED_CODEBOOKS)
    augmentation: Augmentation = field(default_factory=Augmentation)
    shard: Shard = WHOLE_BATCH

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.segment_length < 1:
            raise ValueError(
                f"batch_size {self.batch_size} and segment_length {self.segment_length} must be >= 1"
            )
        if self.batch_size % self.shard.total:
            raise ValueError(
                f"a batch of {self.batch_size} does not divide into {self.shard.total} equal parts"
            )
        if not self.rates or abs(sum(share for _, share in self.rates) - 1) > 1e-6:
            raise ValueError(f"the shares of rates must sum to 1, found {self.rates}")


class Batch(NamedTuple):
    """One training batch, or a shard of it, as numpy arrays.

    audio:         float32 [batch, time, 1], peak at most 0.99
    num_codebooks: int32 [batch], how many codebooks each item is coded with
    noise_start:   int32 [batch], 0 .. 4095, where the decoder's noise begins
    seeds:         int32 [batch], 0 .. 2**31 - 2, for the other random numbers of each item
    quantized:     float32 [batch, frame, latent_dim] of segments that were coded before, else [batch, 0, 0]
    """

    audio: np.ndarray
    num_codebooks: np.ndarray
    noise_start: np.ndarray
    seeds: np.ndarray
    quantized: np.ndarray


def draw_batch(corpus: Corpus, spec: BatchSpec, step: int) -> Batch:
    """Draw the batch of a step (>= 0) from the training files; the same arguments give the same batch."""
    size = spec.batch_size // spec.shard.total
    rows = range(spec.shard.number * size, (spec.shard.number + 1) * size)
    rates = draw_rates(np.random.default_rng((spec.seed, step)), spec.rates, spec.batch_size)[
        rows.start : rows.stop
    ]
    # Rows count from 1: numpy takes (seed, step, 0) for the same seed as (seed, step).
    generators = [np.random.default_rng((spec.seed, step, 1 + row)) for row in rows]
    noise_start = np.array([rng.integers(NOISE_STARTS) for rng in generators], np.int32)
    seeds = np.array([rng.integers(2**31 - 1) for rng in generators], np.int32)
    items = [_draw_item(rng, corpus, spec) for rng in generators]
    return Batch(np.stack(items)[:, :, None], rates, noise_start, seeds, np.zeros((size, 0, 0), np.float32))


def draw_initial_audio(corpus: Corpus, spec: BatchSpec, length: int) -> Iterator[np.ndarray]:
    """Draw batches [batch, time, 1] for the initialization, at least `length` samples in all."""
    for number in range(-(-length // (spec.batch_size * spec.segment_length))):
        yield draw_batch(corpus, spec, INITIAL_STEPS + number).audio


def draw_rates(rng: np.random.Generator, shares: tuple[RateShare, ...], count: int) -> np.ndarray:
    """Draw `count` numbers of codebooks, int32 in shuffled order, each within one item of its share.

    Systematic sampling: one uniform offset for all bounds, so that the shares are met exactly on average. With enough
    items, a rate without any takes one from the most common rate.
    """
    bounds = np.cumsum([0.0, *(share for _, share in shares)]) * count + rng.random()
    bounds[-1] = bounds[0] + count
    counts = np.diff(np.floor(bounds).astype(int))
    while count >= len(counts) and counts.min() == 0:
        counts[counts.argmax()] -= 1
        counts[counts.argmin()] += 1
    rates = np.array([num_codebooks for num_codebooks, _ in shares], np.int32)
    return rng.permutation(np.repeat(rates, counts))


def _draw_item(rng: np.random.Generator, corpus: Corpus, spec: BatchSpec) -> np.ndarray:
    """Draw one segment, float32 [time], or a mix of two, and augment it."""
    group = corpus.train.draw_group(rng)
    if rng.random() < spec.augmentation.mix_probability:
        segment = _draw_mix(rng, corpus, spec, group)
    else:
        segment = draw_segment(rng, corpus, corpus.train, group, spec.segment_length)
    return augment(rng, segment, corpus.sample_rate, spec.augmentation)


def _draw_mix(rng: np.random.Generator, corpus: Corpus, spec: BatchSpec, first: int) -> np.ndarray:
    """Draw two segments, from two groups if there are two, and add them; speech stays the louder one."""
    groups = corpus.train.groups
    second = corpus.train.draw_group(rng)
    if second == first:
        second = int(rng.integers(len(groups)))
    if groups[second] == FOREGROUND:
        first, second = second, first
    front = draw_segment(rng, corpus, corpus.train, first, spec.segment_length)
    back = draw_segment(rng, corpus, corpus.train, second, spec.segment_length)
    below = rng.uniform(*spec.augmentation.mix_level)  # dB
    return front + back * np.float32(rms(front) / max(rms(back), QUIET_RMS) * 10 ** (-below / 20))


def draw_segment(
    rng: np.random.Generator, corpus: Corpus, files: FileSet, group: int, length: int
) -> np.ndarray:
    """Draw `length` samples, float32 [time], from a group; draw again a few times if they are quiet."""
    for _ in range(1 + MAX_REDRAWS):
        file = files.draw_file(rng, group)
        if file.length >= length:
            start = file.start + int(rng.integers(file.length - length + 1))
            segment = corpus.samples[start : start + length]
        else:
            gap = int(rng.integers(int(LONGEST_GAP * corpus.sample_rate)))
            whole = corpus.samples[file.start : file.start + file.length]
            segment = np.resize(np.pad(whole, (0, gap)), length)
        segment = segment.astype(np.float32) / np.float32(FULL_SCALE)
        if rms(segment) >= QUIET_RMS:
            break
    return segment


def held_out_segments(corpus: Corpus, seconds: float, count: int) -> np.ndarray:
    """Return fixed validation segments, float32 [count, time, 1], from each group in turn.

    They come from the held-out files, or from the training files if none is held out (a corpus of one file).
    """
    rng = np.random.default_rng(0)
    files = corpus.held_out or corpus.train
    length = round(seconds * corpus.sample_rate)
    segments = [draw_segment(rng, corpus, files, i % len(files.groups), length) for i in range(count)]
    return np.stack(segments)[:, :, None]


@dataclass
class _Prefetcher:
    """Draws batches in a thread; an exception takes the place of a batch and ends it."""

    draw: Callable[[int], Batch]
    step: int
    ready: queue.Queue[Batch | Exception]
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Fill the queue until `stop` is set."""
        while not self.stop.is_set():
            try:
                item: Batch | Exception = self.draw(self.step)
            except Exception as error:  # passed to the consumer, which raises it
                item = error
            self.put(item)
            self.step += 1
            if isinstance(item, Exception):
                return

    def put(self, item: Batch | Exception) -> None:
        """Wait for room in the queue or for `stop`, and put the item there."""
        while not self.stop.is_set():
            try:
                self.ready.put(item, timeout=0.1)
                return
            except queue.Full:
                continue


def prefetch(draw: Callable[[int], Batch], first_step: int) -> Generator[Batch, None, None]:
    """Yield the batches from `first_step` on without end, drawn ahead by a thread; `close()` ends the thread.

    An exception from `draw` in the thread is raised here.
    """
    prefetcher = _Prefetcher(draw, first_step, queue.Queue(maxsize=3))
    thread = threading.Thread(target=prefetcher.run, name="batches", daemon=True)
    thread.start()
    try:
        while True:
            item = prefetcher.ready.get()
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        prefetcher.stop.set()
        thread.join()
