"""The adversarial stage: with frozen codes the decoder learns against discriminators, which learn along with it.

    audio -> encoder, quantizer (frozen) -> decoder -> decoded --+--> log-mel, complex term --> gradient --+
                                                                 +--> discriminators ---------> gradient --+--> decoder
                                                                 +--> discriminators learn

Both are gradients on the decoded audio. Running norms bring them to fixed shares before they reach the decoder, so no
weight has to be tuned (the balancer of EnCodec, arXiv 2210.13438, section 3.4).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from codec.network.codec import Codec
from codec.network.streaming import Tensor
from codec.network.weights import named_weights
from codec.training.data import NOISE_STARTS, Batch
from codec.training.discriminators import (
    DiscriminatorOutput,
    Discriminators,
    adversarial_loss,
    feature_distance,
    hinge_loss,
)
from codec.training.parameters import FlatParameters, frozen_variables
from codec.training.progress import ADVERSARIAL
from codec.training.recipe import AdversarialRecipe, Recipe
from codec.training.reconstruction import ALTERNATING_SCALES, decode, pitch_loss, source, spectral_losses
from codec.training.steps import Differentiate, StepInputs, StepResult, mean_losses, plain_inputs

BETAS = (0.8, 0.99)  # of Adam
NORM_DECAY = 0.99


class PreparedHalf(NamedTuple):
    """Half of a batch with everything that does not depend on trained weights.

    quantized:  [batch, frame, latent_dim]
    crop_start: [], first sample of what the discriminators see
    """

    inputs: StepInputs
    quantized: Any
    crop_start: Any


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
        available = round(recipe.segment_seconds * config.sample_rate) - config.hop_length - codec.latency
        self.crop_length = min(round(settings.crop_seconds * config.sample_rate), available)
        self.discriminators = Discriminators(
            config.sample_rate,
            settings.windows,
            min(settings.frequency_limit, config.sample_rate / 2),
            settings.channels,
            codec.dtype_policy.name,
        )
        self.parameters = FlatParameters(codec.decoder.trainable_variables, BETAS)
        self.discriminator_parameters = FlatParameters(self.discriminators.trainable_variables, BETAS)
        self.norms = keras.Variable(
            np.zeros(2, np.float32), trainable=False, dtype="float32", aggregation="mean", name="norms"
        )

    def state(self) -> dict[str, keras.Variable]:
        """Return decoder, discriminators, running norms, and every weight of the codec."""
        weights = named_weights(self.codec)
        return {
            **self.parameters.state("decoder."),
            **self.discriminator_parameters.state("discriminators."),
            "norms": self.norms,
            **{f"weights.{name}": weight for name, weight in weights.items()},
        }

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
        self, halves: list[StepInputs], parity: int, learning_rate: Tensor, differentiate: Differentiate
    ) -> StepResult:
        """Update the decoder, and in odd steps the discriminators, which learn faster than the decoder."""
        prepared = [self._prepare(half) for half in halves]
        norms = ops.convert_to_tensor(self.norms.value)

        def loss(master: Tensor) -> tuple[Tensor, list[Outcome]]:
            results = [self._decoder_loss(master, half, parity, norms, differentiate) for half in prepared]
            return sum(total for total, _ in results) / len(results), [outcome for _, outcome in results]

        gradient, outcomes = differentiate(loss, self.parameters.master.value)
        losses = mean_losses([outcome.losses for outcome in outcomes])
        self.norms.assign(update_norms(norms, sum(outcome.norms for outcome in outcomes) / len(outcomes)))
        norm = self._update_decoder(gradient, learning_rate)
        if parity:
            decoded = [outcome.decoded for outcome in outcomes]
            losses["hinge"] = self._update_discriminators(prepared, decoded, learning_rate, differentiate)
        return StepResult(losses, norm)

    def _prepare(self, inputs: StepInputs) -> PreparedHalf:
        """Encode and quantize each item with its number of codebooks; lost frames become zeros."""
        codec = self.codec
        latents, _ = codec.encoder.step(inputs.audio, codec.encoder.initial_state(ops.shape(inputs.audio)[0]))
        quantized = codec.quantizer.quantize_latents(latents, inputs.num_codebooks).quantized
        room = inputs.audio.shape[1] - codec.latency - self.crop_length
        quantized = ops.stop_gradient(quantized) * inputs.kept_frames[..., None]
        crop_start = (
            inputs.noise_start[0] * room // NOISE_STARTS
        )  # the random number of the noise places the crop too
        return PreparedHalf(inputs, quantized, crop_start)

    def _decoder_loss(
        self, master: Tensor, half: PreparedHalf, parity: int, norms: Tensor, differentiate: Differentiate
    ) -> tuple[Tensor, Outcome]:
        """Return a scalar whose gradient on the decoded audio is the balanced gradient, and the outcome."""
        values = self.parameters.split(master) + frozen_variables(self.codec, self.parameters.weights)
        with keras.StatelessScope(values):
            decoded = decode(self.codec, half.quantized, half.inputs)
        pitch = pitch_loss(self.codec, half.inputs, decoded)
        audio = ops.stop_gradient(decoded.audio)
        spectral, losses = differentiate(lambda x: self._spectral_loss(half, x, parity), audio)
        adversarial, more = differentiate(lambda x: self._adversarial_loss(half, x), audio)
        gradients = [spectral, adversarial]
        found = ops.stack([ops.mean(ops.sqrt(ops.sum(ops.square(each), axis=1))) for each in gradients])
        balanced = self._balance(gradients, update_norms(norms, found), half.inputs.num_codebooks)
        count = ops.cast(ops.shape(audio)[0], "float32")
        total = ops.sum(ops.stop_gradient(balanced) * decoded.audio) / count
        total = total + self.recipe.pitch_weight * pitch
        return total, Outcome({**losses, **more, "pitch": pitch}, found, audio)

    def _balance(self, gradients: list[Tensor], norms: Tensor, num_codebooks: Tensor) -> Tensor:
        """Return the sum of both gradients [batch, time], each with its share and divided by its running norm."""
        shipped, shares = self.codec.config.shipped_codebooks, self.recipe.adversarial.discriminator_shares
        share = discriminator_share(num_codebooks, shipped, shares)[:, None]
        return (1.0 - share) * gradients[0] / norms[0] + share * gradients[1] / norms[1]

    def _spectral_loss(
        self, half: PreparedHalf, decoded: Tensor, parity: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        scales = ALTERNATING_SCALES[parity]
        mel, phase = spectral_losses(self.codec, self.recipe, half.inputs, decoded, scales)
        total = self.recipe.mel_weight * mel + self.recipe.complex_weight * phase
        return total, {"mel": mel, "complex": phase}

    def _adversarial_loss(self, half: PreparedHalf, decoded: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        parameters = self.discriminator_parameters
        with keras.StatelessScope(parameters.split(parameters.master.value)):
            real, fake = self._discriminate(half, decoded)
        adversarial, features = adversarial_loss(fake), feature_distance(real, fake)
        total = adversarial + self.recipe.adversarial.feature_weight * features
        return total, {"adversarial": adversarial, "features": features}

    def _update_decoder(self, gradient: Tensor, learning_rate: Tensor) -> Tensor:
        """Update the decoder; it hardly moves in the first steps, when the discriminators' gradients are noise."""
        steps = ops.cast(self.discriminator_parameters.optimizer.iterations, "float32")
        rate = learning_rate * ops.minimum(1.0, steps / self.recipe.adversarial.head_start)
        return self.parameters.update(gradient, rate, self.recipe.gradient_norm, self.recipe.averaging)

    def _update_discriminators(
        self,
        halves: list[PreparedHalf],
        decoded: list[Tensor],
        learning_rate: Tensor,
        differentiate: Differentiate,
    ) -> Tensor:
        """Update the discriminators on the decoder's output and return their loss."""
        parameters, recipe = self.discriminator_parameters, self.recipe

        def loss(master: Tensor) -> tuple[Tensor, Tensor]:
            with keras.StatelessScope(parameters.split(master)):
                outputs = [
                    self._discriminate(half, audio) for half, audio in zip(halves, decoded, strict=True)
                ]
            hinge = sum(hinge_loss(real, fake) for real, fake in outputs) / len(halves)
            return hinge, hinge

        gradient, hinge = differentiate(loss, parameters.master.value)
        rate = learning_rate * recipe.adversarial.discriminator_rate
        parameters.update(gradient, rate, recipe.gradient_norm, recipe.averaging)
        return hinge

    def _discriminate(
        self, half: PreparedHalf, decoded: Tensor
    ) -> tuple[list[DiscriminatorOutput], list[DiscriminatorOutput]]:
        """Return the discriminators' outputs for the same crop of the source and of the decoded audio."""
        size = (half.inputs.audio.shape[0], self.crop_length)
        crops = [
            ops.slice(audio, (0, half.crop_start), size)
            for audio in (source(self.codec, half.inputs), decoded)
        ]
        return self.discriminators(crops[0]), self.discriminators(crops[1])


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
