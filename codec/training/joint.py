"""The warm-up and the joint stage, which train encoder, quantizer and decoder together.

    batch -> forward -> losses -> gradient -> optimizer -> moving averages -> codebooks, statistics

In the warm-up, noise on the latents stands for the quantizer, whose codebooks do not exist yet.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from codec.network.codebook import Averages
from codec.network.codec import Codec
from codec.network.encoder import Moments, moments
from codec.network.quantizer import Movement
from codec.network.streaming import Tensor
from codec.network.weights import named_weights
from codec.training.corpus import Corpus
from codec.training.data import Batch, BatchSpec, draw_batch
from codec.training.initialization import initialize_codebooks, initialize_linear_paths
from codec.training.parameters import FlatParameters, frozen_variables
from codec.training.progress import JOINT, WARM_UP
from codec.training.recipe import Recipe
from codec.training.reconstruction import ALTERNATING_SCALES, decode, pitch_loss, spectral_losses
from codec.training.replicas import first_over_replicas, mean_over_replicas, sum_over_replicas
from codec.training.steps import Differentiate, StepInputs, StepResult, mean_losses, plain_inputs

STATISTICS_DECAY = 0.99
BETAS = (0.9, 0.99)  # of Adam


class Observations(NamedTuple):
    """What a step observes to update statistics and codebooks, which have no gradient.

    latents:  [batch, frame, latent_dim]
    movement: of the codebooks; None in the warm-up
    """

    latents: Any
    movement: Movement | None


class Channel(NamedTuple):
    """What the decoder receives in place of the latents, with the commitment loss [] and the codebooks' movement."""

    received: Tensor
    commitment: Tensor
    movement: Movement | None


class JointStage:
    """Trains all weights of a codec."""

    name, turns = JOINT, len(ALTERNATING_SCALES)

    def __init__(self, codec: Codec, recipe: Recipe, parameters: FlatParameters | None = None) -> None:
        """Train `parameters` on, or new ones made from the codec's weights."""
        self.codec, self.recipe = codec, recipe
        self.parameters = parameters or FlatParameters(codec.trainable_variables, BETAS)

    def state(self) -> dict[str, keras.Variable]:
        """Return master, average, optimizer, and every weight of the codec, statistics included."""
        weights = named_weights(self.codec)
        return {
            **self.parameters.state(),
            **{f"weights.{name}": weight for name, weight in weights.items()},
        }

    def batches(
        self, corpus: Corpus, spec: BatchSpec, folder: Path, say: Callable[[str], None]
    ) -> Callable[[int], Batch]:
        """Return the function that draws batches from the corpus; nothing is kept in the folder."""
        return functools.partial(draw_batch, corpus, spec)

    def inputs(self, batch: Batch) -> StepInputs:
        """Return the batch; this stage needs no random numbers of its own."""
        return plain_inputs(batch, self.codec.config.hop_length)

    def step(
        self, halves: list[StepInputs], turn: int, learning_rate: Tensor, differentiate: Differentiate
    ) -> StepResult:
        """Update the weights by the gradient, then statistics and codebooks by what the step observed."""
        recipe, scales = self.recipe, ALTERNATING_SCALES[turn]
        gradient, (losses, observed) = differentiate(
            lambda master: self.loss(master, halves, scales), self.parameters.master.value
        )
        norm = self.parameters.update(gradient, learning_rate, recipe.gradient_norm, recipe.averaging)
        statistics = Moments(*mean_over_replicas(tuple(moments(observed.latents))))
        self.codec.encoder.standardize.update(statistics, STATISTICS_DECAY)
        if observed.movement is not None:
            self.codec.quantizer.update(merge_replicas(observed.movement))
        return StepResult(losses, norm)

    def loss(
        self, master: Tensor, halves: list[StepInputs], scales: tuple[int, ...]
    ) -> tuple[Tensor, tuple[dict[str, Tensor], Observations]]:
        """Return the mean loss of the halves as a function of the master vector, its parts, and the observations."""
        values = self.parameters.split(master) + frozen_variables(self.codec, self.parameters.weights)
        with keras.StatelessScope(values):
            outcomes = [self._forward(half, scales) for half in halves]
        total = sum(outcome[0] for outcome in outcomes) / len(halves)
        losses = mean_losses([outcome[1] for outcome in outcomes])
        return total, (losses, merge_halves([outcome[2] for outcome in outcomes]))

    def _forward(
        self, inputs: StepInputs, scales: tuple[int, ...]
    ) -> tuple[Tensor, dict[str, Tensor], Observations]:
        """Return the weighted sum of all losses on a batch, each of them by name, and the observations."""
        codec, recipe = self.codec, self.recipe
        latents, _ = codec.encoder.step(inputs.audio, codec.encoder.initial_state(ops.shape(inputs.audio)[0]))
        received, commitment, movement = self._transmit(latents, inputs)
        decoded = decode(codec, received, inputs)
        mel, phase = spectral_losses(codec, recipe, inputs, decoded.audio, scales)
        pitch = pitch_loss(codec, inputs, decoded)
        total = recipe.mel_weight * mel + recipe.complex_weight * phase
        total = total + recipe.commitment_weight * commitment + recipe.pitch_weight * pitch
        losses = {"mel": mel, "complex": phase, "commitment": commitment, "pitch": pitch}
        return total, losses, Observations(ops.stop_gradient(latents), movement)

    def _transmit(self, latents: Tensor, inputs: StepInputs) -> Channel:
        """Quantize the latents, each item with its number of codebooks."""
        quantized = self.codec.quantizer.quantize_latents(latents, inputs.num_codebooks)
        return Channel(quantized.quantized, quantized.commitment, quantized.movement)


class WarmUpStage(JointStage):
    """Trains encoder and decoder with noise in the quantizer's place; it begins and ends with an initialization."""

    name = WARM_UP

    def begin(self, audio: Iterable[np.ndarray], say: Callable[[str], None]) -> None:
        """Set the linear paths of the codec from the principal components of segments [batch, time, 1]."""
        say("initializing the linear paths from the principal components of the audio")
        envelope, phase = initialize_linear_paths(self.codec, audio)
        say(f"principal components: {envelope:.1%} of the envelope, {phase:.1%} of the phase kept")
        self.parameters.read_weights()

    def end(self, audio: Iterable[np.ndarray], say: Callable[[str], None]) -> None:
        """Set the codebooks by k-means on the latents of segments [batch, time, 1]."""
        say("initializing the codebooks by k-means, a few minutes")
        self.parameters.write_back(self.parameters.master)
        initialize_codebooks(self.codec, audio, self.recipe.kmeans_iterations, self.recipe.seed)

    def inputs(self, batch: Batch) -> StepInputs:
        """Return the batch with noise of the variance that stands for each item's number of codebooks."""
        inputs = plain_inputs(batch, self.codec.config.hop_length)
        shape = (inputs.kept_frames.shape[1], self.codec.config.latent_dim)
        noise = [np.random.default_rng(seed).standard_normal(shape, np.float32) for seed in batch.seeds]
        variances = [self.recipe.noise_variance(int(count)) for count in batch.num_codebooks]
        scale = np.sqrt(variances).astype(np.float32)[:, None, None]
        return inputs._replace(latent_noise=np.stack(noise) * scale)

    def _transmit(self, latents: Tensor, inputs: StepInputs) -> Channel:
        """Add the noise to the latents."""
        return Channel(latents + inputs.latent_noise, ops.zeros(()), None)


def merge_halves(halves: list[Observations]) -> Observations:
    """Return the observations of the halves of a batch as one."""
    latents = ops.concatenate([half.latents for half in halves])
    movements = [half.movement for half in halves if half.movement is not None]
    return Observations(latents, functools.reduce(_add_movements, movements) if movements else None)


def _add_movements(first: Movement, second: Movement) -> Movement:
    """Add the counts; take the candidates of the first half for each codebook where it counted any row."""
    counted = ops.sum(first.batch.counts, axis=-1) > 0
    batch = Averages(first.batch.counts + second.batch.counts, first.batch.sums + second.batch.sums)
    return Movement(batch, ops.where(counted[:, None, None], first.fresh, second.fresh))


def merge_replicas(movement: Movement) -> Movement:
    """Add the counts of all replicas; take the candidates of the first replica that counted any row."""
    counted = ops.sum(movement.batch.counts, axis=-1) > 0
    return Movement(
        Averages(*sum_over_replicas(tuple(movement.batch))), first_over_replicas(movement.fresh, counted)
    )
