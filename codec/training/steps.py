"""The words that stages and steppers share: what a step is given, what it returns, and what a stage must offer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np

from codec.network.streaming import Tensor
from codec.training.corpus import Corpus
from codec.training.data import Batch, BatchSpec
from codec.training.parameters import FlatParameters


class StepInputs(NamedTuple):
    """The arrays of one step.

    audio:         float32 [batch, time, 1]
    num_codebooks: int32 [batch]
    noise_start:   int32 [batch], 0 .. 4095
    latent_noise:  float32 [batch, frame, latent_dim] in the warm-up; [batch, 0, 0] in the other stages
    quantized:     float32 [batch, frame, latent_dim] in the adversarial stage; [batch, 0, 0] in the other stages
    kept_frames:   float32 [batch, frame]; 0 for a frame that is lost and to be concealed, else 1
    """

    audio: Any
    num_codebooks: Any
    noise_start: Any
    latent_noise: Any
    quantized: Any
    kept_frames: Any


class StepResult(NamedTuple):
    """What one step returns: losses [] by name, and the norm [] of the gradient before clipping."""

    losses: dict[str, Any]
    gradient_norm: Any


# Takes a function of one tensor that returns (scalar, extra), and the tensor; returns the gradient and the extra.
Differentiate = Callable[[Callable[[Tensor], tuple[Tensor, Any]], Tensor], tuple[Tensor, Any]]


class Stage(Protocol):
    """A stage of training: its variables, and how a step changes them.

    Attributes:
        name: as in `Progress.stage`.
        turns: number of kinds of steps, which follow each other; each is compiled as a graph of its own.
        parameters: the weights of the codec that the stage trains.
    """

    name: str
    turns: int
    parameters: FlatParameters

    def batches(
        self, corpus: Corpus, spec: BatchSpec, folder: Path, say: Callable[[str], None]
    ) -> Callable[[int], Batch]:
        """Return the function that draws the batch of a step.

        Args:
            corpus: what to draw from.
            spec: the batches.
            folder: may hold what the stage makes of the corpus, from one part of a run to the next.
            say: receives messages for the user.
        """

    def state(self) -> dict[str, keras.Variable]:
        """Return every variable that a step reads or changes, by name: the content of a checkpoint."""

    def inputs(self, batch: Batch) -> StepInputs:
        """Return the arrays of a step on a batch, with the random numbers that this stage needs."""

    def step(
        self, halves: list[StepInputs], turn: int, learning_rate: Tensor, differentiate: Differentiate
    ) -> StepResult:
        """Assign new values to the variables; `turn` is the step's number modulo `turns`."""


def plain_inputs(batch: Batch, hop_length: int) -> StepInputs:
    """Return the arrays of a step without latent noise and without lost frames."""
    count, length = batch.audio.shape[:2]
    noise, kept = np.zeros((count, 0, 0), np.float32), np.ones((count, length // hop_length), np.float32)
    return StepInputs(batch.audio, batch.num_codebooks, batch.noise_start, noise, batch.quantized, kept)


def mean_losses(losses: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of each loss over the halves of a batch."""
    return {name: sum(each[name] for each in losses) / len(losses) for name in losses[0]}
