"""The joint stage: encoder, quantizer and decoder are trained together, with the warm-up before it.

batch -> forward -> losses -> gradient -> optimizer -> moving averages -> codebooks, statistics
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import keras
from keras import ops

from codec.network.codebook import Averages
from codec.network.codec import Codec
from codec.network.encoder import Moments, moments
from codec.network.quantizer import Movement
from codec.network.streaming import Tensor
from codec.presets import named_weights
from codec.training import losses, pitch
from codec.training.parameters import Trainee, others
from codec.training.recipe import Recipe
from codec.training.replicas import first_over_replicas, mean_over_replicas, sum_over_replicas
from codec.training.steps import Arrays, Differentiate, Report

STATISTICS_DECAY = 0.99
BETAS = (0.9, 0.99)  # of Adam
SCALES_IN_TURN = ((0, 2, 4), (1, 3, 5))  # half of the log-mel windows at one step, the others at the next


class Moved(NamedTuple):
    """What moves outside the gradient after a step."""

    latents: Any  # [batch, frame, latent_dim]
    movement: Movement | None  # of the codebooks; none in the warm-up


class JointStage:
    """All weights of a codec in training; in the warm-up with noise in the quantizer's place."""

    def __init__(self, codec: Codec, recipe: Recipe) -> None:
        self.codec, self.recipe = codec, recipe
        self.trainee = Trainee(codec.trainable_variables, BETAS)

    def state(self) -> dict[str, keras.Variable]:
        weights = named_weights(self.codec)
        return {**self.trainee.state(), **{f"weights.{name}": weight for name, weight in weights.items()}}

    def step(
        self, parts: list[Arrays], turn: int, learning_rate: Tensor, differentiate: Differentiate
    ) -> Report:
        recipe, scales = self.recipe, SCALES_IN_TURN[turn]
        gradient, (figures, moved) = differentiate(
            lambda master: self.loss(master, parts, scales), self.trainee.master.value
        )
        norm = self.trainee.learn(gradient, learning_rate, recipe.gradient_norm, recipe.averaging)
        found = Moments(*mean_over_replicas(tuple(moments(moved.latents))))
        self.codec.encoder.standardize.update(found, STATISTICS_DECAY)
        if moved.movement is not None:
            self.codec.quantizer.update(over_replicas(moved.movement))
        return Report(figures, norm)

    def loss(
        self, master: Tensor, parts: list[Arrays], scales: tuple[int, ...]
    ) -> tuple[Tensor, tuple[dict[str, Tensor], Moved]]:
        """The mean loss of the parts of a batch as a function of the master vector; figures, and what moves."""
        mapping = self.trainee.mapping(master) + others(self.codec, self.trainee.weights)
        with keras.StatelessScope(mapping):
            outcomes = [forward(self.codec, self.recipe, part, scales) for part in parts]
        total = sum(outcome[0] for outcome in outcomes) / len(parts)
        figures = {name: sum(one[1][name] for one in outcomes) / len(parts) for name in outcomes[0][1]}
        return total, (figures, merge([outcome[2] for outcome in outcomes]))


def forward(
    codec: Codec, recipe: Recipe, arrays: Arrays, scales: tuple[int, ...]
) -> tuple[Tensor, dict[str, Tensor], Moved]:
    """Losses of one batch; with latent noise in the quantizer's place where the batch brings some."""
    count = ops.shape(arrays.audio)[0]
    latents, _ = codec.encoder.step(arrays.audio, codec.encoder.initial_state(count))
    if arrays.latent_noise.shape[1]:
        received, commitment, movement = latents + arrays.latent_noise, ops.zeros(()), None
    else:
        received, commitment, _, movement = codec.quantizer.quantize_latents(latents, arrays.num_codebooks)
    decoded = decode(codec, received, arrays)
    mel, phase = spectral_losses(codec, recipe, arrays, decoded.audio, scales)
    tonal = pitch_loss(codec, arrays, decoded)
    total = recipe.mel_weight * mel + recipe.complex_weight * phase + recipe.commitment_weight * commitment
    total = total + recipe.pitch_weight * tonal
    figures = {"mel": mel, "complex": phase, "commitment": commitment, "pitch": tonal}
    return total, figures, Moved(ops.stop_gradient(latents), movement)


class Decoded(NamedTuple):
    """What the decoder makes of a batch."""

    audio: Any  # [batch, time - latency], aligned with the source's first samples
    pitch_logits: Any  # [batch, spectral frame, PITCHES + 1]


def decode(codec: Codec, latents: Tensor, arrays: Arrays) -> Decoded:
    """Decode latents from silence, without the emphasis."""
    decoder = codec.decoder
    *network, head, overlap = decoder.initial_state(ops.shape(arrays.audio)[0], arrays.noise_start)
    features, _ = decoder.features(latents, network)
    spectrum, _ = decoder.head.step(features, head)
    audio, _ = decoder.synthesis.step(spectrum, overlap)
    return Decoded(audio[:, codec.latency :, 0], decoder.head.pitch_logits(features))


def pitch_loss(codec: Codec, arrays: Arrays, decoded: Decoded) -> Tensor:
    """How far the decoder's pitch is from the source's; decoded frame t is centred on the first sample of its block."""
    config = codec.config
    scores, energy = pitch.pitch_scores(arrays.audio[..., 0], config.sample_rate, config.spectral_hop)
    return pitch.pitch_loss(scores, energy, decoded.pitch_logits)


def source(codec: Codec, arrays: Arrays) -> Tensor:
    """What `decode` is compared with."""
    return arrays.audio[:, : -codec.latency, 0]


def spectral_losses(
    codec: Codec, recipe: Recipe, arrays: Arrays, decoded: Tensor, scales: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Distance of mel spectra, as if of all windows, and the complex term; means over the batch."""
    reference, rate = source(codec, arrays), codec.config.sample_rate
    log, loudness = losses.mel_distances(reference, decoded, rate, scales)
    mel = recipe.loudness_share * loudness + (1 - recipe.loudness_share) * log
    mel = len(losses.MEL_SECONDS) / len(scales) * ops.mean(mel)
    cutoffs = losses.complex_cutoffs(arrays.num_codebooks)
    return mel, ops.mean(losses.complex_distances(reference, decoded, rate, cutoffs))


def merge(parts: list[Moved]) -> Moved:
    """What the parts of a batch moved, as one."""
    latents = ops.concatenate([part.latents for part in parts])
    movements = [part.movement for part in parts if part.movement is not None]
    return Moved(latents, functools.reduce(_merge_movements, movements) if movements else None)


def _merge_movements(first: Movement, second: Movement) -> Movement:
    """Counts add up; candidates are the first's where it counted any row for a codebook."""
    counted = ops.sum(first.batch.counts, axis=-1) > 0
    batch = Averages(first.batch.counts + second.batch.counts, first.batch.sums + second.batch.sums)
    return Movement(batch, ops.where(counted[:, None, None], first.fresh, second.fresh))


def over_replicas(movement: Movement) -> Movement:
    """The same over the replicas of a step: sums of what they counted, and candidates of the first that counted any."""
    counted = ops.sum(movement.batch.counts, axis=-1) > 0
    return Movement(
        Averages(*sum_over_replicas(tuple(movement.batch))), first_over_replicas(movement.fresh, counted)
    )
