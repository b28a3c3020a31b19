"""Coded segments: audio of the corpus with what the decoder receives of it, for the adversarial stage.

    Corpus --code_segments--> audio.npy, quantized.npy, codebooks.npy --draw_crops(spec, step)--> Batch

Encoder and quantizer do not change in that stage. So each segment is coded once, from a reset of the predictor on as in
a .lam file, and a step draws short crops of many segments. Coding the audio again took most of a step's time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from keras import ops

from codec.files import write_atomically
from codec.network.codec import Codec
from codec.network.compiled import compiled
from codec.network.streaming import Tensor
from codec.training.augmentation import augment
from codec.training.corpus import FULL_SCALE, Corpus
from codec.training.data import FOREGROUND, NOISE_STARTS, Batch, BatchSpec, draw_rates, draw_segment

FACTS = "segments.json"  # written last: without it the arrays are incomplete
ARRAYS = ("audio", "quantized", "codebooks")
BATCH_SIZE = 8
FIRST_SEGMENT = 1 << 41  # seeds of the segments, away from those of the steps


class CodedSegments(NamedTuple):
    """Segments on disk, coded from silence; the first `speech` of them are speech, the others are not.

    audio:     int16 [segment, time]
    quantized: float16 [segment, frame, latent_dim]
    codebooks: int32 [segment], how many each is coded with
    speech:    how many are speech; 0 for a corpus without a folder `speech`
    """

    audio: np.ndarray
    quantized: np.ndarray
    codebooks: np.ndarray
    speech: int

    def kind(self, speech: bool) -> range:
        """Return the numbers of the segments that are speech, or of the others; all where there are none."""
        both = range(self.speech), range(self.speech, len(self.codebooks))
        return both[0 if speech else 1] or range(len(self.codebooks))


def code_segments(
    codec: Codec, corpus: Corpus, spec: BatchSpec, count: int, folder: Path, say: Callable[[str], None]
) -> CodedSegments:
    """Code segments of the corpus, or return those that an earlier call with the same arguments left in the folder.

    Half of them come from the folder `speech` of the corpus, if it has one.

    Args:
        codec: the model; its encoder and quantizer must be the same in both calls.
        corpus: what to draw from.
        spec: length, rates, augmentation and seed of the segments, and which shard of them to code.
        count: segments in all shards together.
        folder: receives the arrays.
        say: receives a message for the user.
    """
    folder = folder / str(spec.shard.number)
    count = -(-count // spec.shard.total // BATCH_SIZE) * BATCH_SIZE
    speech = count // 2 if FOREGROUND in corpus.train.groups else 0
    facts = {"count": count, "speech": speech, "length": spec.segment_length, "seed": spec.seed}
    if not _is_complete(folder, facts):
        say(f"coding {count * spec.segment_length / corpus.sample_rate / 60:.0f} minutes of the corpus")
        _write(codec, corpus, spec, facts, folder)
    audio, quantized, codebooks = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS)
    return CodedSegments(audio, quantized, codebooks, speech)


def _is_complete(folder: Path, facts: dict[str, int]) -> bool:
    """Return True if the folder holds these segments."""
    path = folder / FACTS
    return path.is_file() and json.loads(path.read_text(encoding="utf-8")) == facts


def _write(codec: Codec, corpus: Corpus, spec: BatchSpec, facts: dict[str, int], folder: Path) -> None:
    """Draw and code all segments, a batch at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FACTS).unlink(missing_ok=True)
    count, frames = facts["count"], spec.segment_length // codec.config.hop_length
    shapes = ((count, spec.segment_length), (count, frames, codec.config.latent_dim), (count,))
    audio, quantized, codebooks = (
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shape)
        for name, dtype, shape in zip(ARRAYS, (np.int16, np.float16, np.int32), shapes, strict=True)
    )

    def quantize(samples: Tensor, num_codebooks: Tensor) -> Tensor:
        latents, _ = codec.encoder.step(samples, codec.encoder.initial_state(BATCH_SIZE))
        return codec.quantizer.quantize_latents(latents, num_codebooks).quantized

    graph = compiled(quantize)
    for start in range(0, count, BATCH_SIZE):
        rows = slice(start, start + BATCH_SIZE)
        seed = (spec.seed, FIRST_SEGMENT + spec.shard.number * count + start)
        segments = [
            _draw(np.random.default_rng((*seed, row)), corpus, spec, start + row < facts["speech"])
            for row in range(BATCH_SIZE)
        ]
        block = np.stack(segments)
        codebooks[rows] = draw_rates(np.random.default_rng(seed), spec.rates, BATCH_SIZE)
        quantized[rows] = ops.convert_to_numpy(graph(block[:, :, None], codebooks[rows]))
        audio[rows] = np.round(block * (FULL_SCALE - 1))
    for array in (audio, quantized, codebooks):
        array.flush()
    write_atomically(folder / FACTS, json.dumps(facts).encode())


def _draw(rng: np.random.Generator, corpus: Corpus, spec: BatchSpec, speech: bool) -> np.ndarray:
    """Draw a segment of speech or of something else, and augment it; float32 [time]."""
    groups = [n for n, name in enumerate(corpus.train.groups) if (name == FOREGROUND) == speech]
    group = corpus.train.draw_group(rng)
    while groups and group not in groups:
        group = corpus.train.draw_group(rng)
    segment = draw_segment(rng, corpus, corpus.train, group, spec.segment_length)
    return augment(rng, segment, corpus.sample_rate, spec.augmentation)


def draw_crops(segments: CodedSegments, spec: BatchSpec, crop_frames: int, speech: bool, step: int) -> Batch:
    """Draw the batch of a step from coded segments; the same arguments give the same batch.

    Args:
        segments: of this shard.
        spec: batch size, seed and shard.
        crop_frames: length of each item.
        speech: draw speech, or anything else; see `CodedSegments.kind`.
        step: number of the step.
    """
    rng = np.random.default_rng((spec.seed, step, spec.shard.number))
    kind, size = segments.kind(speech), spec.batch_size // spec.shard.total
    rows = kind.start + rng.integers(len(kind), size=size)
    frames = segments.quantized.shape[1]
    hop = segments.audio.shape[1] // frames
    starts = rng.integers(frames - crop_frames + 1, size=size)
    audio = np.stack(
        [
            segments.audio[row, start * hop : (start + crop_frames) * hop]
            for row, start in zip(rows, starts, strict=True)
        ]
    )
    quantized = np.stack(
        [
            segments.quantized[row, start : start + crop_frames]
            for row, start in zip(rows, starts, strict=True)
        ]
    )
    return Batch(
        audio=audio[:, :, None].astype(np.float32) / np.float32(FULL_SCALE - 1),
        num_codebooks=segments.codebooks[rows],
        noise_start=rng.integers(NOISE_STARTS, size=size).astype(np.int32),
        seeds=rng.integers(2**31 - 1, size=size).astype(np.int32),
        quantized=quantized.astype(np.float32),
    )
