"""The training loop: a folder of audio in, a preset out; stopped at any time, it goes on where it was.

    cache -> PCA start -> warm-up (noise for the quantizer) -> k-means -> joint stage -> preset

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
from typing import NamedTuple

import keras
import numpy as np

from codec.config import CodecConfig
from codec.errors import AudioError, CodecError, PresetError
from codec.model import Codec
from codec.presets import DEFAULT_PRESET, save_codec
from codec.training import checkpoint
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
from codec.training.interrupts import Interrupts
from codec.training.memory import keep_freed_memory
from codec.training.recipe import Recipe
from codec.training.start import kmeans_start, pca_start
from codec.training.steps import Arrays, Report, Trainee, new_stepper, present_policy
from codec.training.validation import Validation, in_words, shipped_results, table, validate

# Batches of the PCA start and of k-means are drawn from here on, away from the training steps.
START_STEPS = 1 << 40
HELD_OUT_SECONDS, HELD_OUT_COUNT = 4.0, 24
REPORT_SECONDS = 20.0
MAX_SETBACKS = 10  # steps in a row that were not finite

Say = Callable[[str], None]


class Voice(NamedTuple):
    """Where the words of a run go: lines that stay, and a status that replaces the last one."""

    say: Say
    show: Say | None  # none: the status becomes a line now and then


def train(
    folder: Path,
    output: Path,
    recipe: Recipe,
    say: Say,
    codec: Codec | None = None,
    config: CodecConfig | None = None,
    show: Say | None = None,
) -> Validation | None:
    """Train a codec on a folder of audio and write it to `output` as a preset.

    A run found in `output` goes on; otherwise one begins, from `codec` if given, and from the PCA start of a new model
    if not. Ctrl-C waits for the end of the step, and the state is saved.

    Args:
        folder: audio in any format, in sub-folders too.
        output: where the preset goes, and the run's state to `training/` in it.
        recipe: may differ from that of an earlier part of the run: more minutes, other batches.
        say: is given what to tell the user, line by line.
        codec: a trained one to start from.
        config: sizes of a new one; those of the default preset if not given.
        show: is given the present status after every step, to be shown in place of the last.

    Returns:
        Figures of the finished preset; None if it was finished before.

    Raises:
        AudioError: there is no usable audio in the folder.
        PresetError: the run found in `output` cannot be read, or is that of a model of another size.
        CodecError: the state cannot be written, or the loss is no number again and again.
        KeyboardInterrupt: stopped; its message says how far the run is.
    """
    keep_freed_memory()
    state = output / "training"
    found = checkpoint.read_progress(state)
    if found and config not in (None, found[1]):
        raise PresetError(f"{state} holds a run of a model of another size")
    if found and _fraction(recipe, found[0]) == 1 and (output / "config.json").is_file():
        say(f"{output} is finished, after {_amount(found[0])}; to go on, ask for more minutes or steps")
        return None
    if not folder.is_dir():
        raise AudioError(f"{folder}: there is no such folder")
    progress, config = found or (Progress(), config or CodecConfig())
    if codec and not found:
        progress, config = Progress(stage="joint"), codec.config
    corpus = build_cache(folder, state / "cache", config.sample_rate, say)
    if found or codec is None:
        keras.utils.set_random_seed(recipe.seed)
        codec = Codec(config, dtype=present_policy())
    with Interrupts(say) as interrupts:
        run = _Run(codec, corpus, output, recipe, progress, Voice(say, show), interrupts)
        if found:
            run.restore()
        return run.run()


class _Run:
    """One run in one process: the trainee, where its audio comes from, and how far it is."""

    def __init__(
        self,
        codec: Codec,
        corpus: Corpus,
        output: Path,
        recipe: Recipe,
        progress: Progress,
        voice: Voice,
        interrupts: Interrupts,
    ) -> None:
        self.codec, self.corpus, self.output, self.recipe = codec, corpus, output, recipe
        self.progress, self.voice, self.interrupts = progress, voice, interrupts
        self.say, self.state = voice.say, output / "training"
        config, segment = codec.config, round(recipe.segment_seconds * codec.config.frame_rate)
        rates = rate_shares(config.shipped_codebooks)
        self.spec = BatchSpec(recipe.batch_size, segment * config.hop_length, recipe.seed, rates)
        self.trainee = Trainee(codec)
        self.stepper = new_stepper(self.trainee, recipe)
        self.held_out = held_out_segments(corpus, HELD_OUT_SECONDS, HELD_OUT_COUNT)
        self.results: Validation | None = None
        self.shipped: Validation | None = None
        self.saved_at = time.monotonic()
        self.setbacks = 0

    def restore(self) -> None:
        """Go on from the state that was saved; raises PresetError where it does not fit."""
        checkpoint.load_checkpoint(self.state, self.trainee)
        self.stepper.reload()
        self.say(f"going on after {_amount(self.progress)}")

    def run(self) -> Validation:
        """All that is left to do, to the finished preset."""
        parameters = sum(math.prod(weight.shape) for weight in self.codec.trainable_variables)
        self.say(f"{parameters / 1e6:.1f} million weights; Ctrl-C stops, and the same command goes on")
        try:
            if self.progress.stage == "warm-up":
                self._warm_up()
            self._steps(lambda: _fraction(self.recipe, self.progress) < 1, self._falling_rate)
            return self._publish()
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(self._stop()) from interrupt

    def _stop(self) -> str:
        """Save what there is, as quickly as can be; a second Ctrl-C waits for it. Returns what to tell the user."""
        with contextlib.suppress(KeyboardInterrupt), self.interrupts.held():
            self._settle()
            if self.progress.stage == "joint":
                save_codec(self.codec, self.output, self._card())
            checkpoint.save_checkpoint(self.state, self.trainee, self.progress, self.recipe)
        return f"stopped after {_amount(self.progress)}; the same command goes on from here"

    def _warm_up(self) -> None:
        """The PCA start, some steps with noise in the quantizer's place, then k-means."""
        if self.progress.step == 0:
            self.say("principal components of the audio, for the start")
            kept = pca_start(self.codec, self._start_audio())
            self.say(f"PCA start: {kept[0]:.1%} of the envelope, {kept[1]:.1%} of the phase kept")
            self.trainee.gather()
            self.stepper.reload()
        self._steps(lambda: self.progress.step < self.recipe.warm_up_steps, lambda: self.recipe.learning_rate)
        self.say("codebooks from k-means, a few minutes")
        began = time.monotonic()
        self.stepper.settle()
        self.trainee.settle(self.trainee.master)
        kmeans_start(self.codec, self._start_audio(), self.recipe.kmeans_iterations, self.recipe.seed)
        with self.interrupts.held():
            self.stepper.reload()
            self._advance(0, time.monotonic() - began)
            now = self.progress
            self.progress = dataclasses.replace(
                now, stage="joint", joint_since=now.seconds, joint_from=now.step
            )
            self._save_checkpoint()

    def _falling_rate(self) -> float:
        recipe = self.recipe
        cosine = 0.5 + 0.5 * math.cos(math.pi * _fraction(recipe, self.progress))
        return recipe.final_learning_rate + cosine * (recipe.learning_rate - recipe.final_learning_rate)

    def _steps(self, unfinished: Callable[[], bool], learning_rate: Callable[[], float]) -> None:
        """Step until done; report and save now and then."""
        if unfinished():
            self.say(f"{self.progress.stage}: building the graph first, about a minute")
        said_at = -math.inf
        with contextlib.closing(prefetch(self.corpus, self.spec, self.progress.step)) as batches:
            while unfinished():
                began = time.monotonic()
                batch = next(batches)
                with self.interrupts.held():
                    report = self._step(batch, learning_rate())
                    self._advance(1, time.monotonic() - began)
                if self.voice.show:
                    self.voice.show(self._status(report))
                elif time.monotonic() - said_at >= REPORT_SECONDS:
                    self.say(self._status(report))
                    said_at = time.monotonic()
                if time.monotonic() - self.saved_at >= 60 * self.recipe.checkpoint_minutes:
                    self._save()

    def _step(self, batch: Batch, learning_rate: float) -> Report:
        """One step; if its gradient is no number, back to the last checkpoint, and on with the next batch."""
        number = self.progress.step
        rise = min(1.0, (number + 1) / self.recipe.rise_steps)
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
        checkpoint.load_checkpoint(self.state, self.trainee)
        self.stepper.reload()
        self.say(f"{words}: back to the last checkpoint, on with the next batch")

    def _arrays(self, batch: Batch) -> Arrays:
        """A batch as the step wants it; in the warm-up with the noise that stands for its items' rates."""
        count, frames = len(batch.audio), self.spec.segment_length // self.codec.config.hop_length
        noise = np.zeros((count, 0, 0), np.float32)
        if self.progress.stage == "warm-up":
            variances = [self.recipe.noise_variance(int(number)) for number in batch.num_codebooks]
            generator = np.random.default_rng(batch.latent_noise_seed)
            noise = generator.standard_normal((count, frames, self.codec.config.latent_dim), np.float32)
            noise *= np.sqrt(variances).astype(np.float32)[:, None, None]
        return Arrays(batch.audio, batch.num_codebooks, batch.noise_start, noise)

    def _advance(self, steps: int, seconds: float) -> None:
        progress, audio = self.progress, steps * self.recipe.batch_size * self.recipe.segment_seconds
        self.progress = dataclasses.replace(
            progress,
            step=progress.step + steps,
            seconds=progress.seconds + seconds,
            audio_seconds=progress.audio_seconds + audio,
        )

    def _status(self, report: Report) -> str:
        progress, done = self.progress, _fraction(self.recipe, self.progress)
        ending = progress.stage
        if progress.stage == "joint" and done > 0.01:
            left = (1 - done) / done * (progress.seconds - progress.joint_since)
            ending = f"{done:.0%}, {_clock(left)} left"
        speed = progress.audio_seconds / max(progress.seconds, 1)
        return (
            f"step {progress.step}, {ending}: log-mel {float(report.mel):.3f}, complex {float(report.complex):.3f}, "
            f"gradient {float(report.gradient_norm):.2f}, {speed:.1f} s of audio a second"
        )

    def _save(self) -> None:
        """What is done every few minutes; a preset there is only once the codebooks have begun."""
        if self.progress.stage == "joint":
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
        self.results = validate(self.codec, self.held_out)
        for line in in_words(self.results, self.shipped, DEFAULT_PRESET):
            self.say(line)
        with self.interrupts.held():
            save_codec(self.codec, self.output, self._card())
            self._save_checkpoint()
        return self.results

    def _settle(self) -> None:
        """Put the averages into the codec's weights."""
        self.stepper.settle()
        self.trainee.settle(self.trainee.average)

    def _save_checkpoint(self) -> None:
        checkpoint.save_checkpoint(self.state, self.trainee, self.progress, self.recipe)
        self.saved_at = time.monotonic()

    def _card(self) -> str:
        """The model's card: how it was trained, and the last figures."""
        config, progress = self.codec.config, self.progress
        hours = sum(file.length for file in self.corpus.train) / self.corpus.sample_rate / 3600
        rates = f"{config.bitrates[0]} to {config.bitrates[-1]} bits per second"
        return f"""# {self.output.name}: {config.sample_rate / 1000:g} kHz, {rates} and channel

Trained on {hours:.1f} hours of audio for {_clock(progress.seconds)}: {progress.step} steps, \
{progress.audio_seconds / 3600:.1f} hours of audio seen.

{self._figures()}"""

    def _figures(self) -> str:
        if self.results is None:
            return "Not measured yet: the training was stopped before its first figures.\n"
        return f"""On {len(self.held_out)} held-out segments of {HELD_OUT_SECONDS:g} s; the latents have \
{self.results.effective_dimensions:.1f} effective dimensions, the least used codebook uses \
{min(self.results.usage):.0%} of its codewords:

{table(self.results)}
"""

    def _start_audio(self) -> Iterator[np.ndarray]:
        """Batches for the starts, [batch, time, 1], enough for `start_frames` code frames."""
        frames = self.recipe.batch_size * self.spec.segment_length // self.codec.config.hop_length
        for number in range(math.ceil(self.recipe.start_frames / frames)):
            yield draw_batch(self.corpus, self.spec, START_STEPS + number).audio


def _fraction(recipe: Recipe, progress: Progress) -> float:
    """How much of the joint stage is done, 0 .. 1, by steps or by minutes."""
    if progress.stage != "joint":
        return 0.0
    if recipe.steps:
        return min(1.0, (progress.step - progress.joint_from) / recipe.steps)
    length = max(60 * recipe.minutes - progress.joint_since, 1.0)
    return min(1.0, (progress.seconds - progress.joint_since) / length)


def _amount(progress: Progress) -> str:
    """How far a run is, in words."""
    return f"{progress.step} steps, {_clock(progress.seconds)} of training"


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds, such as 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
