"""The decoder stage: on frozen codes the decoder is tuned against discriminators, which learn along with it.

    audio -> encoder, quantizer (frozen) -> decoder -> decoded --+--> log-mel, complex term --> pull --+
                                                                 +--> discriminators ---------> pull --+--> decoder
                                                                 +--> discriminators learn

Each pull is a gradient on the decoded audio. They are brought to fixed shares by their running norms before they go on
into the decoder (the balancer of EnCodec, arXiv 2210.13438, section 3.4), so no weight has to be found by trial.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from codec.network.codec import Codec
from codec.network.streaming import Tensor
from codec.presets import named_weights
from codec.training.discriminators import (
    Discriminators,
    Opinion,
    adversarial_loss,
    feature_distance,
    hinge_loss,
)
from codec.training.joint import SCALES_IN_TURN, decode, pitch_loss, source, spectral_losses
from codec.training.parameters import Trainee, others
from codec.training.recipe import Recipe, Tuning
from codec.training.steps import Arrays, Differentiate, Report

BETAS = (0.8, 0.99)  # of Adam
NORM_DECAY = 0.99
STARTS = 4096  # values of `Arrays.noise_start`, which places the crop too


class Part(NamedTuple):
    """A part of a batch, as far as nothing learns from it."""

    arrays: Arrays
    quantized: Any  # [batch, frame, latent_dim]
    crop: Any  # [], first sample of what the discriminators see


class DecoderStage:
    """The decoder's weights and those of the discriminators in training."""

    def __init__(self, codec: Codec, recipe: Recipe) -> None:
        self.codec, self.recipe, self.tuning = codec, recipe, recipe.tuning
        config, policy = codec.config, codec.dtype_policy.name
        there = round(recipe.segment_seconds * config.sample_rate) - config.hop_length - codec.latency
        self.crop_length = min(round(self.tuning.crop_seconds * config.sample_rate), there)
        self.discriminators = Discriminators(
            config.sample_rate,
            self.tuning.windows,
            min(self.tuning.limit, config.sample_rate / 2),
            self.tuning.widths,
            policy,
        )
        self.trainee = Trainee(codec.decoder.trainable_variables, BETAS)
        self.critics = Trainee(self.discriminators.trainable_variables, BETAS)
        self.norms = keras.Variable(
            np.zeros(2, np.float32), trainable=False, dtype="float32", aggregation="mean", name="norms"
        )

    def state(self) -> dict[str, keras.Variable]:
        weights = named_weights(self.codec)
        return {
            **self.trainee.state("decoder."),
            **self.critics.state("discriminators."),
            "norms": self.norms,
            **{f"weights.{name}": weight for name, weight in weights.items()},
        }

    def step(
        self, parts: list[Arrays], turn: int, learning_rate: Tensor, differentiate: Differentiate
    ) -> Report:
        given = [self._listen(part) for part in parts]
        norms = ops.convert_to_tensor(self.norms.value)

        def loss(master: Tensor) -> tuple[Tensor, list[tuple[dict[str, Tensor], Tensor, Tensor]]]:
            pulls = [self._pull(master, part, turn, norms, differentiate) for part in given]
            return sum(pull[0] for pull in pulls) / len(pulls), [pull[1] for pull in pulls]

        gradient, found = differentiate(loss, self.trainee.master.value)
        figures = {name: sum(one[0][name] for one in found) / len(found) for name in found[0][0]}
        self.norms.assign(updated(norms, sum(one[1] for one in found) / len(found)))
        decoded = [one[2] for one in found]
        # While the discriminators know nothing yet, the decoder hardly moves: their first pulls are noise.
        known = ops.cast(self.critics.optimizer.iterations, "float32") / self.tuning.head_start
        rate = learning_rate * ops.minimum(1.0, known)
        norm = self.trainee.learn(gradient, rate, self.recipe.gradient_norm, self.recipe.averaging)
        if turn:  # every other step: they learn faster than the decoder
            rate = learning_rate * self.tuning.discriminator_rate
            figures["hinge"] = self._teach(given, decoded, rate, differentiate)
        return Report(figures, norm)

    def _listen(self, arrays: Arrays) -> Part:
        """Code and dequantize a part, each item at its own rate; lost frames become zeros, which no codes stand for."""
        codec = self.codec
        latents, _ = codec.encoder.step(arrays.audio, codec.encoder.initial_state(ops.shape(arrays.audio)[0]))
        quantized = codec.quantizer.quantize_latents(latents, arrays.num_codebooks).quantized
        room = arrays.audio.shape[1] - codec.latency - self.crop_length
        quantized = ops.stop_gradient(quantized) * arrays.kept[..., None]
        return Part(arrays, quantized, arrays.noise_start[0] * room // STARTS)

    def _pull(
        self, master: Tensor, part: Part, turn: int, norms: Tensor, differentiate: Differentiate
    ) -> tuple[Tensor, tuple[dict[str, Tensor], Tensor, Tensor]]:
        """A scalar whose gradient is the balanced pull of all losses on a part; figures, norms, decoded audio."""
        with keras.StatelessScope(self.trainee.mapping(master) + others(self.codec, self.trainee.weights)):
            decoded = decode(self.codec, part.quantized, part.arrays)
        pitch = pitch_loss(self.codec, part.arrays, decoded)
        fixed = ops.stop_gradient(decoded.audio)
        spectral, figures = differentiate(lambda x: self._spectral_loss(part, x, turn), fixed)
        critical, more = differentiate(lambda x: self._critical_loss(part, x), fixed)
        pulls = [spectral, critical]
        found = ops.stack([ops.mean(ops.sqrt(ops.sum(ops.square(pull), axis=1))) for pull in pulls])
        present = updated(norms, found)
        share = critics_share(
            part.arrays.num_codebooks, self.codec.config.shipped_codebooks, self.tuning.shares
        )
        pull = (1.0 - share[:, None]) * spectral / present[0] + share[:, None] * critical / present[1]
        total = ops.sum(ops.stop_gradient(pull) * decoded.audio) / ops.cast(ops.shape(fixed)[0], "float32")
        total = total + self.recipe.pitch_weight * pitch
        return total, ({**figures, **more, "pitch": pitch}, found, fixed)

    def _spectral_loss(self, part: Part, decoded: Tensor, turn: int) -> tuple[Tensor, dict[str, Tensor]]:
        scales = SCALES_IN_TURN[turn]
        mel, phase = spectral_losses(self.codec, self.recipe, part.arrays, decoded, scales)
        total = self.recipe.mel_weight * mel + self.recipe.complex_weight * phase
        return total, {"mel": mel, "complex": phase}

    def _critical_loss(self, part: Part, decoded: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with keras.StatelessScope(self.critics.mapping(self.critics.master.value)):
            real, fake = self._judge(part, decoded)
        adversarial, features = adversarial_loss(fake), feature_distance(real, fake)
        total = adversarial + self.tuning.feature_weight * features
        return total, {"adversarial": adversarial, "features": features}

    def _teach(
        self, parts: list[Part], decoded: list[Tensor], learning_rate: Tensor, differentiate: Differentiate
    ) -> Tensor:
        """Let the discriminators learn from what the decoder made; returns their loss."""

        def loss(master: Tensor) -> tuple[Tensor, Tensor]:
            with keras.StatelessScope(self.critics.mapping(master)):
                opinions = [self._judge(part, audio) for part, audio in zip(parts, decoded, strict=True)]
            hinge = sum(hinge_loss(*pair) for pair in opinions) / len(parts)
            return hinge, hinge

        gradient, hinge = differentiate(loss, self.critics.master.value)
        self.critics.learn(gradient, learning_rate, self.recipe.gradient_norm, self.recipe.averaging)
        return hinge

    def _judge(self, part: Part, decoded: Tensor) -> tuple[list[Opinion], list[Opinion]]:
        """What the discriminators say of the source and of the decoded audio."""
        size = (part.arrays.audio.shape[0], self.crop_length)
        crops = [
            ops.slice(audio, (0, part.crop), size) for audio in (source(self.codec, part.arrays), decoded)
        ]
        return self.discriminators.judge(crops[0]), self.discriminators.judge(crops[1])


def updated(norms: Tensor, found: Tensor) -> Tensor:
    """Running norms [pull] after one more; the first ones count whole."""
    return ops.where(norms > 0, NORM_DECAY * norms + (1 - NORM_DECAY) * found, found) + 1e-12


def critics_share(num_codebooks: Tensor, shipped: tuple[int, ...], shares: tuple[float, float]) -> Tensor:
    """The discriminators' share in the pull on each item, [batch], linear in the logarithm of its codebooks."""
    fewest, all_of_them = shipped[0], shipped[-1]
    if fewest == all_of_them:
        return ops.full(ops.shape(num_codebooks), shares[0])
    more = ops.log(ops.cast(num_codebooks, "float32") / fewest) / np.log(all_of_them / fewest)
    return shares[0] + (shares[1] - shares[0]) * more


def draw_kept(generator: np.random.Generator, shape: tuple[int, int], tuning: Tuning) -> np.ndarray:
    """Which frames the decoder is given, float32 [batch, frame]: some items lose one run of frames."""
    kept = np.ones(shape, np.float32)
    for item in kept:
        length = int(generator.integers(1, tuning.erased_frames + 1))
        start = int(generator.integers(shape[1]))
        if generator.random() < tuning.erasure:
            item[start : start + length] = 0
    return kept
