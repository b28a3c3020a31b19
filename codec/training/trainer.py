"""The training loop: from a folder of audio to a preset; it can be stopped at any time and resumed.

    cache -> principal components -> warm-up -> k-means -> joint stage -> adversarial stage -> preset -> prior

The output folder holds the preset as of the last checkpoint or newer, and the state of the run in `training/`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from codec.config import CodecConfig
from codec.errors import AudioError, CodecError, PresetError
from codec.network.codec import Codec
from codec.training.adversarial import AdversarialStage
from codec.training.corpus import Corpus, build_cache
from codec.training.data import Batch, BatchSpec, draw_initial_audio, held_out_segments, prefetch, rate_shares
from codec.training.fit_prior import add_prior
from codec.training.interrupts import Interrupts
from codec.training.joint import JointStage, WarmUpStage
from codec.training.memory import keep_freed_memory
from codec.training.precision import training_policy
from codec.training.progress import ADVERSARIAL, JOINT, WARM_UP, Progress
from codec.training.recipe import Recipe
from codec.training.replicas import Replicas
from codec.training.reporter import StepReporter
from codec.training.run_folder import RunFolder
from codec.training.schedule import is_run_over, is_stage_over, learning_rate
from codec.training.steppers import new_stepper
from codec.training.steps import Stage, StepResult
from codec.training.tensorboard import NoEventWriter, new_event_writer
from codec.training.validation import Validation, Validator

STAGES: dict[str, Callable[[Codec, Recipe], Stage]] = {
    WARM_UP: WarmUpStage,
    JOINT: JointStage,
    ADVERSARIAL: AdversarialStage,
}


class Session(NamedTuple):
    """The surroundings of a run in one process.

    say:        receives lines that stay
    show:       receives a status that replaces the last one, or None
    interrupts: defer Ctrl-C
    replicas:   the devices and processes that train together
    """

    say: Callable[[str], None]
    show: Callable[[str], None] | None
    interrupts: Interrupts
    replicas: Replicas


def train(
    folder: Path,
    output: Path,
    recipe: Recipe,
    say: Callable[[str], None],
    codec: Codec | None = None,
    config: CodecConfig | None = None,
    show: Callable[[str], None] | None = None,
    replicas: Replicas | None = None,
) -> Validation | None:
    """Train a codec on a folder of audio and write it to `output` as a preset.

    A run found in `output` is resumed. Otherwise a new one starts, with `codec` if given, else with a new model. Ctrl-C
    waits for the end of the step, and the state is saved.

    Args:
        folder: audio in any format, in sub-folders too.
        output: receives the preset, and the run's state in `training/`.
        recipe: may differ from the recipe of an earlier part of the run: more hours, another batch size.
        say: receives messages for the user, line by line.
        codec: a trained codec to start from.
        config: sizes of a new model; those of the default preset if None.
        show: receives the status after every step, to be shown in place of the last one.
        replicas: devices and processes that train together; `codec` must have been made in their scope. Only the
            chief process says anything.

    Returns:
        Figures of the finished preset; None if it was finished before.

    Raises:
        AudioError: there is no usable audio in the folder.
        PresetError: the run in `output` cannot be read, or its model has another config.
        CodecError: the state cannot be written, or the gradient is not finite step after step.
        ValueError: the batch cannot be divided equally among the replicas.
        KeyboardInterrupt: the run was stopped; the message says how far it is.
    """
    keep_freed_memory()
    replicas = replicas or Replicas()
    if recipe.batch_size % replicas.count:
        raise ValueError(f"a batch of {recipe.batch_size} does not divide among {replicas.count} devices")
    if not replicas.chief:
        say, show = (lambda line: None), None
    files = RunFolder(output, recipe, replicas.chief)
    resumed = files.read_progress()
    if resumed and config not in (None, resumed[1]):
        raise PresetError(
            f"the run in {files.state} has a model of another config; train into another folder"
        )
    if resumed and is_run_over(recipe, resumed[0]) and files.has_prior():
        say(f"{output} is finished, after {resumed[0]}; to continue, ask for more hours or steps")
        return None
    if not folder.is_dir():
        raise AudioError(f"the folder {folder} does not exist")
    progress, config = resumed or (Progress(), config or CodecConfig())
    if codec and not resumed:
        progress, config = Progress(stage=JOINT), codec.config
    with replicas.chief_first():
        files.remove_leftovers()
        corpus = build_cache(folder, files.cache, config.sample_rate, say)
    if resumed or codec is None:
        keras.utils.set_random_seed(recipe.seed)
        with replicas.scope():
            codec = Codec(config, dtype=training_policy())
    with Interrupts(say) as interrupts:
        run = TrainingRun(codec, corpus, files, recipe, progress, Session(say, show, interrupts, replicas))
        if resumed:
            run.resume()
        return run.run()


class TrainingRun:
    """One run in one process: stage after stage, with validation and checkpoints on the way."""

    def __init__(
        self,
        codec: Codec,
        corpus: Corpus,
        files: RunFolder,
        recipe: Recipe,
        progress: Progress,
        session: Session,
    ) -> None:
        self.codec, self.corpus, self.files = codec, corpus, files
        self.recipe, self.progress = recipe, progress
        self.say, show, self.interrupts, self.replicas = session
        codec.prior = None  # the prior of a model to start from does not fit the codes that training leads to
        config, frames = codec.config, round(recipe.segment_seconds * codec.config.frame_rate)
        rates = rate_shares(config.shipped_codebooks)
        self.spec = BatchSpec(recipe.batch_size, frames * config.hop_length, recipe.seed, rates)
        with self.replicas.scope():
            self._use(STAGES[progress.stage](codec, recipe))
        held_out = held_out_segments(corpus, recipe.held_out_seconds, recipe.held_out_segments)
        self.validator = Validator(held_out, self.say)
        self.events = new_event_writer(files.events) if self.replicas.chief else NoEventWriter()
        self.reporter = StepReporter(recipe, self.events, self.say, show)
        self.results: Validation | None = None
        self.setbacks = 0  # consecutive steps without a finite gradient
        self.diverged = False  # True after the adversarial stage has moved too far from the source

    # The whole run

    def resume(self) -> None:
        """Continue from the saved state; raises PresetError if it does not fit."""
        self._load_checkpoint()
        self.say(f"continuing after {self.progress}")

    def run(self) -> Validation:
        """Run all remaining stages and finish the preset."""
        weights = sum(math.prod(weight.shape) for weight in self.codec.trainable_variables)
        self.say(f"{weights / 1e6:.1f} million weights; Ctrl-C stops, and the same command continues")
        try:
            if isinstance(self.stage, WarmUpStage):
                self._warm_up(self.stage)
            if isinstance(self.stage, JointStage):
                self._train_jointly()
            if isinstance(self.stage, AdversarialStage):
                self._take_steps()
            results = self._publish()
            if self.replicas.chief:
                add_prior(self.files.output, self.corpus, self.say, self.recipe.prior)
            self.replicas.total(0.0)  # the other processes wait until the chief is done
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(self._stop()) from interrupt
        for line in results.table().splitlines():
            self.say(line)
        return results

    def _stop(self) -> str:
        """Save the state as quickly as possible, deferring a second Ctrl-C; return the message for the user."""
        with contextlib.suppress(KeyboardInterrupt), self.interrupts.deferred():
            self._write_back_average()
            if self.progress.stage != WARM_UP:
                self._save_preset()
            self._save_checkpoint()
        return f"stopped after {self.progress}; the same command continues from here"

    # Stages

    def _warm_up(self, stage: WarmUpStage) -> None:
        """Initialize the linear paths, train without a quantizer, initialize the codebooks, enter the joint stage."""
        length = self.recipe.initial_frames * self.codec.config.hop_length
        if self.progress.step == 0:
            stage.begin(draw_initial_audio(self.corpus, self.spec, length), self.say)
            self.stepper.read_variables()
        self._take_steps()
        started = time.monotonic()
        self.stepper.write_variables()
        stage.end(draw_initial_audio(self.corpus, self.spec, length), self.say)
        with self.interrupts.deferred():
            self._advance(0, time.monotonic() - started)
            self._enter(JointStage(self.codec, self.recipe, stage.parameters))

    def _train_jointly(self) -> None:
        """Train encoder, quantizer and decoder together; then enter the adversarial stage if the recipe has one."""
        self._take_steps()
        if self.recipe.adversarial.share:
            distance = self._mean_distance(self._publish())
            with self.interrupts.deferred():
                with self.replicas.scope():
                    stage = AdversarialStage(self.codec, self.recipe)
                self._enter(stage, distance)

    def _enter(self, stage: Stage, distance_before: float = 0.0) -> None:
        """Begin a stage, and save its first checkpoint."""
        self._use(stage)
        self.progress = self.progress.enter(stage.name, distance_before)
        self._save_checkpoint()

    def _use(self, stage: Stage) -> None:
        with self.replicas.scope():
            self.stage, self.stepper = stage, new_stepper(stage)

    # Steps

    def _take_steps(self) -> None:
        """Take steps until the stage is over or has diverged; report them, and save now and then."""
        if self._is_stage_over():
            return
        self.reporter.begin_stage(self.progress)
        spec = dataclasses.replace(self.spec, shard=self.replicas.shard)
        draw = self.stage.batches(self.corpus, spec, self.files.segments, self.say)
        with contextlib.closing(prefetch(draw, self.progress.step)) as batches:
            while not self._is_stage_over():
                started, rate = time.monotonic(), learning_rate(self.recipe, self.progress)
                with self.interrupts.deferred():
                    result = self._step(next(batches), rate)
                    self._advance(1, time.monotonic() - started)
                self.reporter.report(self.progress, result, rate)
                if self.files.is_checkpoint_due(self.progress):
                    self._save()

    def _is_stage_over(self) -> bool:
        return self.diverged or is_stage_over(self.recipe, self.progress)

    def _step(self, batch: Batch, rate: float) -> StepResult:
        """Take one step; if its gradient is not finite, return to the last checkpoint and go on with the next batch."""
        result = self.stepper.step(self.stage.inputs(batch), rate, self.progress.step)
        if np.isfinite(float(result.gradient_norm)):
            self.setbacks = 0
        else:
            self._recover()
        return result

    def _recover(self) -> None:
        self.setbacks += 1
        problem = f"step {self.progress.step}: the gradient is not a finite number"
        if self.setbacks > self.recipe.max_setbacks or not self.files.has_checkpoint():
            raise CodecError(f"{problem}; training cannot continue")
        self._load_checkpoint()
        self.say(f"{problem}: returning to the last checkpoint, continuing with the next batch")

    def _advance(self, steps: int, seconds: float) -> None:
        """Count steps and the chief's seconds; where one process has an interrupt pending, all stop."""
        own_seconds = seconds if self.replicas.chief else 0.0
        seconds, pending = self.replicas.total(own_seconds, float(self.interrupts.pending))
        if pending:
            self.interrupts.pending = True
        audio_seconds = steps * self.recipe.batch_size * self.recipe.segment_seconds
        self.progress = self.progress.advance(steps, seconds, audio_seconds)

    # Validation and files

    def _save(self) -> None:
        """Save the state, and after the warm-up, when there are codebooks, the validated preset too."""
        if self.progress.stage != WARM_UP:
            self._publish()
            return
        self._write_back_average()
        with self.interrupts.deferred():
            self._save_checkpoint()

    def _publish(self) -> Validation:
        """Validate the averaged weights and write them as the preset, then the checkpoint."""
        results = self._validate()
        if self._has_diverged(results):
            self.diverged = True
            self.say("the distance has risen too far: ending the adversarial stage, at its last checkpoint")
            self._load_checkpoint()
            results = self._validate()
        self.results = results
        self.events.write_validation(self.progress.step, results, self.codec, self.validator.audio)
        with self.interrupts.deferred():
            self._save_preset()
            self._save_checkpoint()
        return results

    def _validate(self) -> Validation:
        self._write_back_average()
        return self.validator.measure(self.codec)

    def _has_diverged(self, results: Validation) -> bool:
        """Return True if the adversarial stage has moved too far from the source."""
        limit = self.recipe.adversarial.max_distance_rise * self.progress.distance_before
        return self.progress.stage == ADVERSARIAL and self._mean_distance(results) > limit

    def _mean_distance(self, results: Validation) -> float:
        """Return the log-mel distance, mean over the bitrates, as the chief measured it."""
        return self.replicas.of_chief(float(np.mean(results.mel)))

    def _write_back_average(self) -> None:
        self.stepper.write_variables()
        self.stage.parameters.write_back(self.stage.parameters.average)

    def _load_checkpoint(self) -> None:
        self.files.load_checkpoint(self.stage)
        self.stepper.read_variables()

    def _save_preset(self) -> None:
        hours = sum(file.length for file in self.corpus.train) / self.corpus.sample_rate / 3600
        self.files.save_preset(self.codec, hours, self.progress, self.results)

    def _save_checkpoint(self) -> None:
        self.files.save_checkpoint(self.stage, self.codec.config, self.progress)
