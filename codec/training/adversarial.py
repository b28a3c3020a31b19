"""The adversarial stage: with frozen codes the decoder learns against discriminators, which learn along with it.

    coded segments -> decoder -> decoded --+--> log-mel, complex term --> gradient --+
                                           +--> a discriminator --------> gradient --+--> decoder
                                           +--> the discriminator learns

Both are gradients on the decoded audio. Running norms bring them to fixed shares before they reach the decoder, so no
weight has to be tuned (the balancer of EnCodec, arXiv 2210.13438, section 3.4).

The steps take turns. In each of the first turns one discriminator sees speech, pulls the decoder and learns. In the
last turn the decoder sees other sounds, by the distances alone: with the discriminators' pull, music became worse.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from codec.network.codec import Codec
from codec.network.streaming import Tensor
from codec.network.weights import named_weights
from codec.training.coded_segments import code_segments, draw_crops
from codec.training.corpus import Corpus
from codec.training.data import Batch, BatchSpec
from codec.training.discriminators import (
    DiscriminatorOutput,
    FrequencyRange,
    adversarial_loss,
    feature_distance,
    hinge_loss,
    new_discriminators,
)
from codec.training.losses import MEL_SECONDS
from codec.training.parameters import FlatParameters, frozen_variables
from codec.training.progress import ADVERSARIAL
from codec.training.recipe import AdversarialRecipe, Recipe
from codec.training.reconstruction import Decoded, decode, pitch_loss, source, spectral_losses
from codec.training.steps import Differentiate, StepInputs, StepResult, mean_losses, plain_inputs

BETAS = (0.8, 0.99)  # of Adam
NORM_DECAY = 0.99


class Outcome(NamedTuple):
    """What the decoder's loss found on half of a batch: losses by name, norms [2] of both gradients, decoded audio."""

    losses: dict[str, Tensor]
    norms: Tensor
    decoded: Tensor


class AdversarialStage:
    """Trains the decoder's weights and the discriminators."""

    name = ADVERSARIAL

    def __init__(self, codec: Codec, recipe: Recipe) -> None:
        self.codec, self.recipe, settings = codec, recipe, recipe.adversarial
        config = codec.config
        self.context = settings.context_frames * config.hop_length
        self.discriminators = new_discriminators(
            config.sample_rate,
            settings.windows,
            FrequencyRange(settings.lowest_frequency, settings.highest_frequency),
            settings.channels,
            codec.dtype_policy.name,
        )
        self.turns = len(self.discriminators) + 1
        self.parameters = FlatParameters(codec.decoder.trainable_variables, BETAS)
        self.discriminator_parameters = [
            FlatParameters(each.trainable_variables, BETAS) for each in self.discriminators
        ]
        self.norms = keras.Variable(
            np.zeros((self.turns, 2), np.float32),
            trainable=False,
            dtype="float32",
            aggregation="mean",
            name="norms",
        )

    def state(self) -> dict[str, keras.Variable]:
        """Return decoder, discriminators, running norms, and every weight of the codec."""
        named = {**self.parameters.state("decoder."), "norms": self.norms}
        for number, parameters in enumerate(self.discriminator_parameters):
            named |= parameters.state(f"discriminators.{number}.")
        return named | {f"weights.{name}": weight for name, weight in named_weights(self.codec).items()}

    def batches(
        self, corpus: Corpus, spec: BatchSpec, folder: Path, say: Callable[[str], None]
    ) -> Callable[[int], Batch]:
        """Code segments of the corpus into the folder; return the function that draws crops of them."""
        settings = self.recipe.adversarial
        seconds = spec.segment_length / corpus.sample_rate
        count = min(settings.segments, round(2 * 3600 * corpus.hours / seconds))
        segments = code_segments(self.codec, corpus, spec, count, folder, say)
        crop_frames = min(settings.context_frames + settings.crop_frames, segments.quantized.shape[1])

        def draw(step: int) -> Batch:
            return draw_crops(segments, spec, crop_frames, step % self.turns < self.turns - 1, step)

        return draw

    def inputs(self, batch: Batch) -> StepInputs:
        """Return the batch; some items lose a run of frames, which the decoder learns to conceal."""
        inputs = plain_inputs(batch, self.codec.config.hop_length)
        frames = inputs.kept_frames.shape[1]
        kept = [
            draw_kept_frames(np.random.default_rng(seed), (1, frames), self.recipe.adversarial)
            for seed in batch.seeds
        ]
        return inputs._replace(kept_frames=np.concatenate(kept))

    def step(
        self, halves: list[StepInputs], turn: int, learning_rate: Tensor, differentiate: Differentiate
    ) -> StepResult:
        """Update the decoder, and the discriminator of this turn, which learns faster."""
        norms = ops.convert_to_tensor(self.norms.value)[turn]

        def loss(master: Tensor) -> tuple[Tensor, list[Outcome]]:
            results = [self._decoder_loss(master, half, turn, norms, differentiate) for half in halves]
            return sum(total for total, _ in results) / len(results), [outcome for _, outcome in results]

        gradient, outcomes = differentiate(loss, self.parameters.master.value)
        losses = mean_losses([outcome.losses for outcome in outcomes])
        observed = sum(outcome.norms for outcome in outcomes) / len(outcomes)
        updated = update_norms(norms, observed)
        self.norms.assign(ops.where(np.arange(self.turns)[:, None] == turn, updated, self.norms.value))
        norm = self._update_decoder(gradient, learning_rate)
        if self._has_discriminator(turn):
            pairs = [
                (self._reference(half), outcome.decoded)
                for half, outcome in zip(halves, outcomes, strict=True)
            ]
            losses["hinge"] = self._update_discriminator(turn, pairs, learning_rate, differentiate)
        return StepResult(losses, norm)

    def _has_discriminator(self, turn: int) -> bool:
        return turn < len(self.discriminators)

    def _decoder_loss(
        self, master: Tensor, half: StepInputs, turn: int, norms: Tensor, differentiate: Differentiate
    ) -> tuple[Tensor, Outcome]:
        """Return a scalar whose gradient on the decoded audio is the balanced gradient, and the outcome."""
        values = self.parameters.split(master) + frozen_variables(self.codec, self.parameters.weights)
        with keras.StatelessScope(values):
            decoded = decode(self.codec, half.quantized * half.kept_frames[..., None], half)
        scored = decoded.audio[:, self.context :]
        audio = ops.stop_gradient(scored)
        spectral, losses = differentiate(lambda x: self._spectral_loss(half, x, turn), audio)
        gradients = [spectral]
        if self._has_discriminator(turn):
            adversarial, more = differentiate(lambda x: self._adversarial_loss(half, x, turn), audio)
            gradients, losses = [spectral, adversarial], {**losses, **more}
        lengths = [ops.mean(ops.sqrt(ops.sum(ops.square(each), axis=1))) for each in gradients]
        observed = ops.stack([lengths[0], lengths[-1]])
        balanced = self._balance(gradients, update_norms(norms, observed), half.num_codebooks)
        total = ops.sum(ops.stop_gradient(balanced) * scored) / ops.cast(ops.shape(audio)[0], "float32")
        if turn == 0:
            pitch = self._pitch_loss(half, decoded)
            total, losses = total + pitch, {**losses, "pitch": pitch}
        return total, Outcome(losses, observed, audio)

    def _balance(self, gradients: list[Tensor], norms: Tensor, num_codebooks: Tensor) -> Tensor:
        """Return the sum of the gradients [batch, time], each with its share and divided by its running norm."""
        if len(gradients) == 1:
            return gradients[0] / norms[0]
        shipped, shares = self.codec.config.shipped_codebooks, self.recipe.adversarial.discriminator_shares
        share = discriminator_share(num_codebooks, shipped, shares)[:, None]
        return (1.0 - share) * gradients[0] / norms[0] + share * gradients[1] / norms[1]

    def _pitch_loss(self, half: StepInputs, decoded: Decoded) -> Tensor:
        """Return the loss of the pitch in the one turn that has it, as if it were part of all turns on speech."""
        weight = self.recipe.pitch_weight * len(self.discriminators)
        return weight * pitch_loss(self.codec, half, decoded)

    def _spectral_loss(
        self, half: StepInputs, decoded: Tensor, turn: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        scored = half._replace(audio=half.audio[:, self.context :])
        mel, phase = spectral_losses(self.codec, self.recipe, scored, decoded, self._scales(turn))
        total = self.recipe.mel_weight * mel + self.recipe.complex_weight * phase
        return total, {"mel": mel, "complex": phase}

    def _scales(self, turn: int) -> tuple[int, ...]:
        """Return a third of the log-mel windows, a short one and a long one; all of them in the last turn."""
        third = len(MEL_SECONDS) // 2
        first = turn % third
        return (first, first + third) if self._has_discriminator(turn) else tuple(range(len(MEL_SECONDS)))

    def _adversarial_loss(
        self, half: StepInputs, decoded: Tensor, turn: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        master = self.discriminator_parameters[turn].master.value
        real, fake = self._discriminate(turn, master, self._reference(half), decoded)
        adversarial, features = adversarial_loss(fake), feature_distance(real, fake)
        total = adversarial + self.recipe.adversarial.feature_weight * features
        return total, {"adversarial": adversarial, "features": features}

    def _update_decoder(self, gradient: Tensor, learning_rate: Tensor) -> Tensor:
        """Update the decoder; it hardly moves in the first steps, when the discriminators' gradients are noise."""
        steps = ops.cast(self.discriminator_parameters[0].optimizer.iterations, "float32")
        rate = learning_rate * ops.minimum(1.0, steps / self.recipe.adversarial.head_start)
        return self.parameters.update(gradient, rate, self.recipe.gradient_norm, self.recipe.averaging)

    def _update_discriminator(
        self,
        turn: int,
        pairs: list[tuple[Tensor, Tensor]],
        learning_rate: Tensor,
        differentiate: Differentiate,
    ) -> Tensor:
        """Update the discriminator of a turn on pairs of the source and the decoder's output; return its loss."""
        parameters, recipe = self.discriminator_parameters[turn], self.recipe

        def loss(master: Tensor) -> tuple[Tensor, Tensor]:
            outputs = [self._discriminate(turn, master, *pair) for pair in pairs]
            hinge = sum(hinge_loss(real, fake) for real, fake in outputs) / len(pairs)
            return hinge, hinge

        gradient, hinge = differentiate(loss, parameters.master.value)
        rate = learning_rate * recipe.adversarial.discriminator_rate
        parameters.update(gradient, rate, recipe.gradient_norm, recipe.averaging)
        return hinge

    def _discriminate(
        self, turn: int, master: Tensor, reference: Tensor, decoded: Tensor
    ) -> tuple[DiscriminatorOutput, DiscriminatorOutput]:
        """Return the outputs of the discriminator of a turn for the source and for the decoded audio."""
        with keras.StatelessScope(self.discriminator_parameters[turn].split(master)):
            return self.discriminators[turn](reference), self.discriminators[turn](decoded)

    def _reference(self, half: StepInputs) -> Tensor:
        """Return the part of the source that is compared, [batch, time]."""
        return source(self.codec, half)[:, self.context :]


def update_norms(norms: Tensor, found: Tensor) -> Tensor:
    """Return running norms after one more observation; the first observation counts in full."""
    return ops.where(norms > 0, NORM_DECAY * norms + (1 - NORM_DECAY) * found, found) + 1e-12


def discriminator_share(
    num_codebooks: Tensor, shipped: tuple[int, ...], shares: tuple[float, float]
) -> Tensor:
    """Return the share of the discriminators in the gradient on each item, [batch].

    It is linear in the logarithm of the item's number of codebooks.

    Args:
        num_codebooks: int32 [batch].
        shipped: the numbers of codebooks that the model ships with, ascending.
        shares: the share with the fewest of them and with the most.
    """
    fewest, most = shipped[0], shipped[-1]
    if fewest == most:
        return ops.full(ops.shape(num_codebooks), shares[0])
    position = ops.log(ops.cast(num_codebooks, "float32") / fewest) / np.log(most / fewest)
    return shares[0] + (shares[1] - shares[0]) * position


def draw_kept_frames(
    generator: np.random.Generator, shape: tuple[int, int], settings: AdversarialRecipe
) -> np.ndarray:
    """Draw which frames the decoder receives, float32 [batch, frame]: some items lose one run of frames."""
    kept = np.ones(shape, np.float32)
    for item in kept:
        length = int(generator.integers(1, settings.max_erased_frames + 1))
        start = int(generator.integers(shape[1]))
        if generator.random() < settings.erasure_probability:
            item[start : start + length] = 0
    return kept
