"""The training loop: a folder of audio in, a preset out; stopped at any time, it goes on where it was.

    cache -> PCA start -> warm-up (noise for the quantizer) -> k-means -> joint stage -> preset

The output folder holds the preset, always that of the last checkpoint, and `training/` with the cache and the
checkpoint, which may be deleted when the training is over.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np

from codec.config import CodecConfig
from codec.model import Codec
from codec.presets import save_codec
from codec.training import checkpoint
from codec.training.checkpoint import Progress
from codec.training.data import Batch, BatchSpec, Corpus, build_cache, draw_batch, held_out_segments, prefetch
from codec.training.recipe import Recipe
from codec.training.start import kmeans_start, pca_start
from codec.training.steps import Arrays, Report, Trainee, new_stepper
from codec.training.validation import Validation, table, validate

START_STEPS = (
    1 << 40
)  # batches of the PCA start and of k-means are drawn from here on, away from the training steps
HELD_OUT_SECONDS, HELD_OUT_COUNT = 4.0, 24
REPORT_SECONDS = 20.0

Say = Callable[[str], None]


def train(folder: Path, output: Path, recipe: Recipe, say: Say, codec: Codec | None = None) -> Validation:
    """Train a codec on a folder of audio and write it to `output` as a preset.

    A run found in `output` goes on; otherwise one begins, from `codec` if given and from the PCA start if not. On
    KeyboardInterrupt the state is saved and the exception goes on to the caller.

    Raises:
        AudioError: there is no usable audio in the folder.
        PresetError: the run found in `output` cannot be read.
    """
    state = output / "training"
    found = checkpoint.read_progress(state)
    if found:
        progress, config = found
        codec = Codec(config)
    else:
        progress = Progress(stage="joint" if codec else "warm-up")
    corpus = build_cache(
        folder, state / "cache", codec.config.sample_rate if codec else CodecConfig().sample_rate, say
    )
    if codec is None:
        keras.utils.set_random_seed(recipe.seed)
        codec = Codec(CodecConfig())
    run = _Run(codec, corpus, output, recipe, progress, say)
    if found:
        checkpoint.load_checkpoint(state, run.trainee)
        run.stepper.reload()
        say(f"going on at step {progress.step}, after {_clock(progress.seconds)} of training")
    return run.run()


class _Run:
    """One run in one process: the trainee, where its audio comes from, and how far it is."""

    def __init__(
        self, codec: Codec, corpus: Corpus, output: Path, recipe: Recipe, progress: Progress, say: Say
    ) -> None:
        self.codec, self.corpus, self.output, self.recipe, self.say = codec, corpus, output, recipe, say
        self.progress = progress
        config, segment = codec.config, round(recipe.segment_seconds * codec.config.frame_rate)
        self.spec = BatchSpec(recipe.batch_size, segment * config.hop_length, recipe.seed)
        self.trainee = Trainee(codec)
        self.stepper = new_stepper(self.trainee, recipe)
        self.held_out = held_out_segments(corpus, HELD_OUT_SECONDS, HELD_OUT_COUNT)
        self.saved_at = self.said_at = time.monotonic()
        self.parameters = sum(math.prod(weight.shape) for weight in codec.trainable_variables)

    def run(self) -> Validation:
        """All that is left to do, to the finished preset."""
        self.say(f"{self.parameters / 1e6:.1f} million weights; Ctrl-C stops, and the same command goes on")
        try:
            if self.progress.stage == "warm-up":
                self._warm_up()
            self._joint()
        except KeyboardInterrupt:
            self._save()
            self.say(f"stopped at step {self.progress.step}; the same command goes on from here")
            raise
        return self._save()

    def _warm_up(self) -> None:
        """The PCA start, some steps with noise in the quantizer's place, then k-means."""
        if self.progress.step == 0:
            kept = pca_start(self.codec, self._start_audio())
            self.say(f"PCA start: {kept[0]:.1%} of the envelope, {kept[1]:.1%} of the phase kept")
            self.trainee.gather()
            self.stepper.reload()
        self._steps(lambda: self.progress.step < self.recipe.warm_up_steps, lambda: self.recipe.learning_rate)
        began = time.monotonic()
        self.stepper.settle()
        self.trainee.settle(self.trainee.master)
        kmeans_start(self.codec, self._start_audio(), self.recipe.kmeans_iterations, self.recipe.seed)
        self.stepper.reload()
        self._advance(0, time.monotonic() - began)
        self.progress = dataclasses.replace(self.progress, stage="joint", joint_since=self.progress.seconds)
        self.say(f"codebooks from k-means in {time.monotonic() - began:.0f} s")

    def _joint(self) -> None:
        """Everything together, the learning rate falling along a cosine."""
        self._steps(lambda: self._fraction() < 1, self._falling_rate)

    def _fraction(self) -> float:
        """How much of the joint stage is done, 0 .. 1, by steps or by minutes."""
        recipe, progress = self.recipe, self.progress
        if recipe.steps:
            return min(1.0, max(0, progress.step - recipe.warm_up_steps) / recipe.steps)
        length = max(60 * recipe.minutes - progress.joint_since, 1.0)
        return min(1.0, (progress.seconds - progress.joint_since) / length)

    def _falling_rate(self) -> float:
        recipe = self.recipe
        cosine = 0.5 + 0.5 * math.cos(math.pi * self._fraction())
        return recipe.final_learning_rate + cosine * (recipe.learning_rate - recipe.final_learning_rate)

    def _steps(self, unfinished: Callable[[], bool], learning_rate: Callable[[], float]) -> None:
        """Step until done; save and validate now and then."""
        batches = prefetch(self.corpus, self.spec, self.progress.step)
        try:
            while unfinished():
                began, number = time.monotonic(), self.progress.step
                rise = min(1.0, (number + 1) / self.recipe.rise_steps)
                report = self.stepper.step(self._arrays(next(batches)), rise * learning_rate(), number)
                if not np.isfinite(float(report.gradient_norm)):
                    self._go_back()
                self._advance(1, time.monotonic() - began)
                self._now_and_then(report)
        finally:
            batches.close()

    def _arrays(self, batch: Batch) -> Arrays:
        """A batch as the step wants it; in the warm-up with the noise that stands for its items' rates."""
        count, frames = len(batch.audio), self.spec.segment_length // self.codec.config.hop_length
        noise = np.zeros((count, 0, 0), np.float32)
        if self.progress.stage == "warm-up":
            rates = self.codec.config.shipped_codebooks
            variances = dict(zip(rates, self.recipe.warm_up_noise, strict=False))
            deviation = np.sqrt([variances[int(number)] for number in batch.num_codebooks]).astype(np.float32)
            generator = np.random.default_rng(batch.latent_noise_seed)
            noise = generator.standard_normal((count, frames, self.codec.config.latent_dim), np.float32)
            noise *= deviation[:, None, None]
        return Arrays(batch.audio, batch.num_codebooks, batch.noise_start, noise)

    def _advance(self, steps: int, seconds: float) -> None:
        progress, audio = self.progress, steps * self.recipe.batch_size * self.recipe.segment_seconds
        self.progress = dataclasses.replace(
            progress,
            step=progress.step + steps,
            seconds=progress.seconds + seconds,
            audio_seconds=progress.audio_seconds + audio,
        )

    def _now_and_then(self, report: Report) -> None:
        now = time.monotonic()
        if now - self.said_at >= REPORT_SECONDS:
            self.said_at = now
            self.say(self._status(report))
        if now - self.saved_at >= 60 * self.recipe.checkpoint_minutes and self.progress.stage == "joint":
            self.say(str(self._save()))

    def _status(self, report: Report) -> str:
        progress = self.progress
        left = (
            (1 - self._fraction()) / max(self._fraction(), 1e-9) * (progress.seconds - progress.joint_since)
        )
        ending = (
            f"{_clock(left)} left"
            if progress.stage == "joint" and self._fraction() > 0.01
            else progress.stage
        )
        return (
            f"step {progress.step}, {ending}: log-mel {float(report.mel):.3f}, complex {float(report.complex):.3f}, "
            f"gradient {float(report.gradient_norm):.2f}, "
            f"{progress.audio_seconds / max(progress.seconds, 1):.1f} s of audio a second"
        )

    def _save(self) -> Validation:
        """Write the checkpoint, and the preset that the averages are; the averages' figures on held-out audio."""
        self.stepper.settle()
        self.trainee.settle(self.trainee.average)
        checkpoint.save_checkpoint(self.output / "training", self.trainee, self.progress, self.recipe)
        results = validate(self.codec, self.held_out, 8)
        save_codec(self.codec, self.output, self._card(results))
        self.saved_at = time.monotonic()
        return results

    def _card(self, results: Validation) -> str:
        config, progress = self.codec.config, self.progress
        train = sum(file.length for file in self.corpus.train) / self.corpus.sample_rate / 3600
        rates = f"{config.bitrates[0]} to {config.bitrates[-1]} bits per second"
        return f"""# {self.output.name}: {config.sample_rate / 1000:g} kHz, {rates} and channel

Trained on {train:.1f} hours of audio for {_clock(progress.seconds)}: {progress.step} steps, \
{progress.audio_seconds / 3600:.1f} hours of audio seen.

On {len(self.held_out)} held-out segments of {HELD_OUT_SECONDS:g} s; the latents have \
{results.effective_dimensions:.1f} effective dimensions, the least used codebook uses \
{min(results.usage):.0%} of its codewords:

{table(results)}
"""

    def _go_back(self) -> None:
        """After a step that was not finite: back to the last checkpoint, and on with the next batch."""
        state = self.output / "training"
        if checkpoint.read_progress(state) is None:
            raise FloatingPointError("the very first steps were not finite; try a lower learning rate")
        checkpoint.load_checkpoint(state, self.trainee)
        self.stepper.reload()
        self.say(
            f"step {self.progress.step} was not finite: back to the last checkpoint, on with the next batch"
        )

    def _start_audio(self) -> Iterator[np.ndarray]:
        """Batches for the starts, [batch, time, 1], enough for `start_frames` code frames."""
        frames = self.recipe.batch_size * self.spec.segment_length // self.codec.config.hop_length
        for number in range(math.ceil(self.recipe.start_frames / frames)):
            yield draw_batch(self.corpus, self.spec, START_STEPS + number).audio


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds, such as 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
