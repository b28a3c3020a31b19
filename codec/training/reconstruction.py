"""Decode a batch in training, and compare the result with its source."""

from __future__ import annotations

from typing import Any, NamedTuple

from keras import ops

from codec.network.codec import Codec
from codec.network.streaming import Tensor
from codec.training import losses, pitch
from codec.training.recipe import Recipe
from codec.training.steps import StepInputs

# Half of the log-mel windows in even steps, the others in odd ones: indices into losses.MEL_SECONDS.
ALTERNATING_SCALES = ((0, 2, 4), (1, 3, 5))


class Decoded(NamedTuple):
    """The decoder's output for a batch.

    audio:        [batch, time - latency], aligned with the first samples of the source
    pitch_logits: [batch, spectral frame, PITCHES + 1]
    """

    audio: Any
    pitch_logits: Any


def decode(codec: Codec, latents: Tensor, inputs: StepInputs) -> Decoded:
    """Decode latents from silence, without the postfilter."""
    decoder = codec.decoder
    state = decoder.initial_state(ops.shape(inputs.audio)[0], inputs.noise_start)
    head_inputs, state = decoder.features(latents, state)
    spectrum, _ = decoder.head.step(head_inputs, state.excitation)
    audio, _ = decoder.synthesis.step(spectrum, state.synthesis)
    return Decoded(audio[:, codec.latency :, 0], decoder.head.pitch_logits(head_inputs))


def source(codec: Codec, inputs: StepInputs) -> Tensor:
    """Return the part of the source that `decode` reconstructs, [batch, time - latency]."""
    return inputs.audio[:, : -codec.latency, 0]


def pitch_loss(codec: Codec, inputs: StepInputs, decoded: Decoded) -> Tensor:
    """Return the loss of the decoder's pitch; decoded frame t is centred on the first sample of its block."""
    config = codec.config
    scores, energy = pitch.pitch_scores(inputs.audio[..., 0], config.sample_rate, config.spectral_hop)
    return pitch.pitch_loss(scores, energy, decoded.pitch_logits)


def spectral_losses(
    codec: Codec, recipe: Recipe, inputs: StepInputs, decoded: Tensor, scales: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Return the mel distance and the complex term, means over the batch.

    Args:
        codec: for its sample rate and latency.
        recipe: for the share of the loudness distance.
        inputs: with the source.
        decoded: audio [batch, time - latency].
        scales: the windows to use; the mel distance is scaled as if all were used.
    """
    reference, rate = source(codec, inputs), codec.config.sample_rate
    log, loudness = losses.mel_distances(reference, decoded, rate, scales)
    mel = recipe.loudness_share * loudness + (1 - recipe.loudness_share) * log
    mel = len(losses.MEL_SECONDS) / len(scales) * ops.mean(mel)
    cutoffs = losses.complex_cutoffs(inputs.num_codebooks)
    return mel, ops.mean(losses.complex_distances(reference, decoded, rate, cutoffs))
