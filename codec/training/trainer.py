"""The training loop: a folder of audio in, a preset out; stopped at any time, it goes on where it was.

    cache -> PCA start -> warm-up (noise, no quantizer) -> k-means -> joint stage -> decoder stage -> preset -> prior

The output folder holds the preset, always that of the last checkpoint or newer, and `training/` with the cache and the
checkpoint, which may be deleted when the training is over.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from codec.config import CodecConfig
from codec.errors import AudioError, CodecError, PresetError
from codec.network.codec import Codec
from codec.presets import DEFAULT_PRESET, PRIOR, save_preset
from codec.training import checkpoint
from codec.training.adversarial import DecoderStage, draw_kept
from codec.training.card import amount, clock, model_card
from codec.training.checkpoint import Progress
from codec.training.data import (
    Batch,
    BatchSpec,
    Corpus,
    build_cache,
    draw_batch,
    held_out_segments,
    prefetch,
    rate_shares,
)
from codec.training.fit_prior import add_prior
from codec.training.initialization import kmeans_start, pca_start
from codec.training.interrupts import Interrupts
from codec.training.joint import JointStage
from codec.training.memory import keep_freed_memory
from codec.training.recipe import Recipe
from codec.training.replicas import Replicas
from codec.training.schedule import falling_rate, finished, fraction
from codec.training.steps import Arrays, Report, Stage, new_stepper, present_policy
from codec.training.tensorboard import NoBoard, new_board
from codec.training.validation import Validation, in_words, shipped_results, table, validate

# Batches of the PCA start and of k-means are drawn from here on, away from the training steps.
START_STEPS = 1 << 40
HELD_OUT_SECONDS, HELD_OUT_COUNT = 4.0, 24
REPORT_SECONDS = 20.0
MAX_SETBACKS = 10  # steps in a row that were not finite

Say = Callable[[str], None]


class Session(NamedTuple):
    """What is around a run in one process."""

    say: Say  # lines that stay
    show: Say | None  # a status that replaces the last one; none: it becomes a line now and then
    interrupts: Interrupts
    replicas: Replicas


def train(
    folder: Path,
    output: Path,
    recipe: Recipe,
    say: Say,
    codec: Codec | None = None,
    config: CodecConfig | None = None,
    show: Say | None = None,
    replicas: Replicas | None = None,
) -> Validation | None:
    """Train a codec on a folder of audio and write it to `output` as a preset.

    A run found in `output` goes on; otherwise one begins, from `codec` if given, and from the PCA start of a new model
    if not. Ctrl-C waits for the end of the step, and the state is saved.

    Args:
        folder: audio in any format, in sub-folders too.
        output: where the preset goes, and the run's state to `training/` in it.
        recipe: may differ from that of an earlier part of the run: more hours, other batches.
        say: is given what to tell the user, line by line.
        codec: a trained one to start from.
        config: sizes of a new one; those of the default preset if not given.
        show: is given the present status after every step, to be shown in place of the last.
        replicas: devices and processes that train together; `codec` must have been made in their scope. Only the
            chief among the processes says anything.

    Returns:
        Figures of the finished preset; None if it was finished before.

    Raises:
        AudioError: there is no usable audio in the folder.
        PresetError: the run found in `output` cannot be read, or is that of a model of another size.
        CodecError: the state cannot be written, or the loss is no number again and again.
        ValueError: the batch cannot be shared equally among the replicas.
        KeyboardInterrupt: stopped; its message says how far the run is.
    """
    keep_freed_memory()
    replicas = replicas or Replicas()
    if recipe.batch_size % replicas.count:
        raise ValueError(f"a batch of {recipe.batch_size} does not divide among {replicas.count} devices")
    if not replicas.chief:
        say, show = (lambda line: None), None
    state = output / "training"
    found = checkpoint.read_progress(state)
    if found and config not in (None, found[1]):
        raise PresetError(f"{state} holds a run of a model of another size")
    if found and finished(recipe, found[0]) and (output / PRIOR).is_file():
        say(f"{output} is finished, after {amount(found[0])}; to go on, ask for more hours or steps")
        return None
    if not folder.is_dir():
        raise AudioError(f"{folder}: there is no such folder")
    progress, config = found or (Progress(), config or CodecConfig())
    if codec and not found:
        progress, config = Progress(stage="joint"), codec.config
    with replicas.chief_first():
        corpus = build_cache(folder, state / "cache", config.sample_rate, say)
    if found or codec is None:
        keras.utils.set_random_seed(recipe.seed)
        with replicas.scope():
            codec = Codec(config, dtype=present_policy())
    with Interrupts(say) as interrupts:
        run = _Run(codec, corpus, output, recipe, progress, Session(say, show, interrupts, replicas))
        if found:
            run.restore()
        return run.run()


class _Run:
    """One run in one process: the present stage, where its audio comes from, and how far it is."""

    def __init__(
        self,
        codec: Codec,
        corpus: Corpus,
        output: Path,
        recipe: Recipe,
        progress: Progress,
        session: Session,
    ) -> None:
        self.codec, self.corpus, self.output, self.recipe = codec, corpus, output, recipe
        self.progress, self.state = progress, output / "training"
        self.say, self.show, self.interrupts, self.replicas = session
        self.board = new_board(self.state / "board") if self.replicas.chief else NoBoard()
        self.codec.prior = None  # that of a model to start from will not fit what it becomes
        config, segment = codec.config, round(recipe.segment_seconds * codec.config.frame_rate)
        rates = rate_shares(config.shipped_codebooks)
        self.spec = BatchSpec(recipe.batch_size, segment * config.hop_length, recipe.seed, rates)
        self._take(DecoderStage if progress.stage == "decoder" else JointStage)
        self.held_out = held_out_segments(corpus, HELD_OUT_SECONDS, HELD_OUT_COUNT)
        self.results: Validation | None = None
        self.shipped: Validation | None = None
        self.saved_at = progress.seconds
        self.setbacks = 0
        self.spoiled = False  # the decoder stage went too far from the source

    def _take(self, stage: Callable[[Codec, Recipe], Stage]) -> None:
        """Make a stage the present one."""
        with self.replicas.scope():
            self.stage = stage(self.codec, self.recipe)
            self.stepper = new_stepper(self.stage)

    def restore(self) -> None:
        """Go on from the state that was saved; raises PresetError where it does not fit."""
        self._load()
        self.say(f"going on after {amount(self.progress)}")

    def run(self) -> Validation:
        """All that is left to do, to the finished preset."""
        parameters = sum(math.prod(weight.shape) for weight in self.codec.trainable_variables)
        self.say(f"{parameters / 1e6:.1f} million weights; Ctrl-C stops, and the same command goes on")
        try:
            if self.progress.stage == "warm-up":
                self._warm_up()
            if self.progress.stage == "joint":
                self._joint()
            self._steps_to_the_end()  # of the decoder alone, against discriminators, if that is the stage
            results = self._publish()
            if self.replicas.chief:
                add_prior(self.output, self.corpus, self.say, self.recipe.prior)
            self.replicas.total(0.0)  # the others stay until the chief is done
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(self._stop()) from interrupt
        for line in table(results).splitlines():
            self.say(line)
        return results

    def _stop(self) -> str:
        """Save what there is, as quickly as can be; a second Ctrl-C waits for it. Returns what to tell the user."""
        with contextlib.suppress(KeyboardInterrupt), self.interrupts.held():
            self._settle()
            if self.progress.stage != "warm-up":
                self._save_preset()
            self._save_checkpoint()
        return f"stopped after {amount(self.progress)}; the same command goes on from here"

    def _warm_up(self) -> None:
        """The PCA start, some steps with noise in the quantizer's place, then k-means."""
        if self.progress.step == 0:
            self.say("principal components of the audio, for the start")
            kept = pca_start(self.codec, self._start_audio())
            self.say(f"PCA start: {kept[0]:.1%} of the envelope, {kept[1]:.1%} of the phase kept")
            self.stage.trainee.gather()
            self.stepper.reload()
        self._steps(lambda: self.progress.step < self.recipe.warm_up_steps, lambda: self.recipe.learning_rate)
        self.say("codebooks from k-means, a few minutes")
        began = time.monotonic()
        self.stepper.settle()
        self.stage.trainee.settle(self.stage.trainee.master)
        kmeans_start(self.codec, self._start_audio(), self.recipe.kmeans_iterations, self.recipe.seed)
        with self.interrupts.held():
            self.stepper.reload()
            self._advance(0, time.monotonic() - began)
            self._enter("joint")

    def _joint(self) -> None:
        """Encoder, quantizer and decoder together; then, if the recipe says so, the decoder stage begins."""
        self._steps_to_the_end()
        if not self.recipe.tuning.part:
            return
        before = self._publish()
        with self.interrupts.held():
            self._take(DecoderStage)
            self._enter("decoder", mel_before=self._mean_mel(before))

    def _enter(self, stage: str, **changes: Any) -> None:
        """Let a stage begin, and save it."""
        now = self.progress
        self.progress = dataclasses.replace(
            now, stage=stage, since=now.seconds, since_step=now.step, **changes
        )
        self._save_checkpoint()

    def _steps_to_the_end(self) -> None:
        """Step until the stage is over."""
        self._steps(
            lambda: fraction(self.recipe, self.progress) < 1 and not self.spoiled,
            lambda: falling_rate(self.recipe, self.progress),
        )

    def _steps(self, unfinished: Callable[[], bool], learning_rate: Callable[[], float]) -> None:
        """Step until done; report and save now and then."""
        if unfinished():
            self.say(f"{self.progress.stage}: building the graph first, about a minute")
        said_at, part = -math.inf, dataclasses.replace(self.spec, part=self.replicas.part)
        with contextlib.closing(prefetch(self.corpus, part, self.progress.step)) as batches:
            while unfinished():
                began, rate = time.monotonic(), learning_rate()
                with self.interrupts.held():
                    report = self._step(next(batches), rate)
                    self._advance(1, time.monotonic() - began)
                if self.show:
                    self.show(self._status(report))
                if time.monotonic() - said_at >= REPORT_SECONDS:
                    said_at = time.monotonic()
                    self.board.steps(self.progress.step, report, rate)
                    if not self.show:
                        self.say(self._status(report))
                if self.progress.seconds - self.saved_at >= 60 * self.recipe.checkpoint_minutes:
                    self._save()

    def _step(self, batch: Batch, learning_rate: float) -> Report:
        """One step; if its gradient is no number, back to the last checkpoint, and on with the next batch."""
        number = self.progress.step
        rise = min(1.0, (number - self.progress.since_step + 1) / self.recipe.rise_steps)
        report = self.stepper.step(self._arrays(batch), rise * learning_rate, number)
        if np.isfinite(float(report.gradient_norm)):
            self.setbacks = 0
        else:
            self._go_back()
        return report

    def _go_back(self) -> None:
        self.setbacks += 1
        words = f"step {self.progress.step}: the gradient was not a finite number"
        if self.setbacks > MAX_SETBACKS or checkpoint.read_progress(self.state) is None:
            raise CodecError(f"{words}; training cannot go on")
        self._load()
        self.say(f"{words}: back to the last checkpoint, on with the next batch")

    def _arrays(self, batch: Batch) -> Arrays:
        """A batch as the step wants it; in the warm-up with the noise that stands for its items' rates."""
        frames = self.spec.segment_length // self.codec.config.hop_length
        generators = [np.random.default_rng(seed) for seed in batch.seeds]
        noise = np.zeros((len(batch.audio), 0, 0), np.float32)
        if self.progress.stage == "warm-up":
            shape = (frames, self.codec.config.latent_dim)
            noise = np.stack([rng.standard_normal(shape, np.float32) for rng in generators])
            variances = [self.recipe.noise_variance(int(number)) for number in batch.num_codebooks]
            noise *= np.sqrt(variances).astype(np.float32)[:, None, None]
        kept = np.concatenate([draw_kept(rng, (1, frames), self.recipe.tuning) for rng in generators])
        return Arrays(batch.audio, batch.num_codebooks, batch.noise_start, noise, kept)

    def _advance(self, steps: int, seconds: float) -> None:
        """Count steps and the chief's seconds; where one process is to stop, all are."""
        seconds *= self.replicas.chief
        seconds, stops = self.replicas.total(seconds, float(self.interrupts.waiting))
        if stops:
            self.interrupts.waiting = True
        progress, audio = self.progress, steps * self.recipe.batch_size * self.recipe.segment_seconds
        self.progress = dataclasses.replace(
            progress,
            step=progress.step + steps,
            seconds=progress.seconds + seconds,
            audio_seconds=progress.audio_seconds + audio,
        )

    def _status(self, report: Report) -> str:
        progress, done = self.progress, fraction(self.recipe, self.progress)
        ending = progress.stage
        if done > 0.01:
            left = (1 - done) / done * (progress.seconds - progress.since)
            ending = f"{progress.stage} {done:.0%}, {clock(left)} left"
        speed = progress.audio_seconds / max(progress.seconds, 1)
        figures = "".join(f"{name} {float(value):.3f}, " for name, value in report.figures.items())
        return (
            f"step {progress.step}, {ending}: {figures}gradient {float(report.gradient_norm):.2f}, "
            f"{speed:.1f} s of audio a second"
        )

    def _save(self) -> None:
        """What is done every few minutes; a preset there is only once the codebooks have begun."""
        if self.progress.stage != "warm-up":
            self._publish()
        else:
            self._settle()
            with self.interrupts.held():
                self._save_checkpoint()

    def _publish(self) -> Validation:
        """Measure the averaged weights on held-out audio, write them as the preset, then the checkpoint."""
        self._settle()
        if self.results is None:
            self.shipped = shipped_results(self.codec.config.sample_rate, self.held_out)
        results = validate(self.codec, self.held_out)
        for line in in_words(results, self.shipped, DEFAULT_PRESET):
            self.say(line)
        if self._spoils(results):
            self.spoiled = True
            self.say(
                "the distance has risen too far: the decoder stage ends here, with what was saved before"
            )
            self._load()
            return self._publish()
        self.results = results
        self.board.results(self.progress.step, results, self.codec, self.held_out)
        with self.interrupts.held():
            self._save_preset()
            self._save_checkpoint()
        return self.results

    def _spoils(self, results: Validation) -> bool:
        """Whether the decoder stage has gone too far from the source."""
        limit = self.recipe.tuning.greatest_rise * self.progress.mel_before
        return self.progress.stage == "decoder" and self._mean_mel(results) > limit

    def _mean_mel(self, results: Validation) -> float:
        """The log-mel distance, mean over the rates, as the chief has it."""
        return self.replicas.of_chief(float(np.mean(results.mel)))

    def _settle(self) -> None:
        """Put the averages into the codec's weights."""
        self.stepper.settle()
        self.stage.trainee.settle(self.stage.trainee.average)

    def _load(self) -> None:
        """Put the last checkpoint in the place of the present values."""
        checkpoint.load_checkpoint(self.state, self.stage)
        self.stepper.reload()

    def _save_preset(self) -> None:
        if self.replicas.chief:
            save_preset(self.codec, self.output, self._card())

    def _save_checkpoint(self) -> None:
        if self.replicas.chief:
            checkpoint.save_checkpoint(self.state, self.stage, self.codec.config, self.progress, self.recipe)
        self.saved_at = self.progress.seconds

    def _card(self) -> str:
        hours = sum(file.length for file in self.corpus.train) / self.corpus.sample_rate / 3600
        return model_card(self.output.name, self.codec.config, hours, self.progress, self.results)

    def _start_audio(self) -> Iterator[np.ndarray]:
        """Batches for the starts, [batch, time, 1], enough for `start_frames` code frames."""
        frames = self.recipe.batch_size * self.spec.segment_length // self.codec.config.hop_length
        for number in range(math.ceil(self.recipe.start_frames / frames)):
            yield draw_batch(self.corpus, self.spec, START_STEPS + number).audio
