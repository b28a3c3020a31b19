r"""Audio to latents: a network, and beside it linear paths that begin as principal components.

    audio -> Analysis -> network ---------------------> + -> Standardize -> latents
                    \--> mel bands of both frames --> envelope part, detail part
                     \-> low bins of both frames ---> phase part

At the start of training the network adds next to nothing and the principal components of the corpus make the
latents. Everything is trained from there.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from codec import architecture
from codec.config import CodecConfig
from codec.dsp import BAND_SCALE, VARIANCE_FLOOR, LatentBlock, latent_blocks
from codec.network.layers import dense, pair, serial
from codec.network.spectral import Analysis
from codec.network.streaming import State, StreamingLayer, Tensor


class Moments(NamedTuple):
    """Averages over a batch, [dim] each. The moments of several parts are averaged again."""

    mean: Tensor
    square: Tensor  # mean of the squares


def moments(values: Tensor) -> Moments:
    """Return the mean and the mean square of each dimension of [batch, frame, dim]."""
    return Moments(ops.mean(values, axis=(0, 1)), ops.mean(ops.square(values), axis=(0, 1)))


class Standardize(StreamingLayer):
    """Center each dimension and scale each block of dimensions by one number, from running statistics.

    One number for a block keeps the proportions of its dimensions, which decide where the quantizer spends its bits.
    The variance of each block is fixed. Without that, training moved variance from the envelope to the phase (from
    15 % to 60 % in 500 steps), and every bitrate sounded worse.

    Args:
        blocks: side by side along the last axis.
    """

    def __init__(self, blocks: tuple[LatentBlock, ...], **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        dims, variances = zip(*blocks, strict=True)
        self.blocks = np.repeat(np.eye(len(blocks), dtype=np.float32), dims, axis=0)  # [dim, block]
        self.dims, self.targets = np.array(dims, np.float32), np.array(variances, np.float32)
        statistics: dict[str, Any] = {"trainable": False, "aggregation": "mean"}
        self.mean = self.add_weight((len(self.blocks),), "zeros", name="mean", **statistics)
        self.variance = self.add_weight((len(blocks),), self._initial_variance, name="variance", **statistics)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return (x - ops.convert_to_tensor(self.mean)) / self._scale(), state

    def update(self, batch: Moments, decay: float) -> None:
        """Move the statistics towards those of a batch.

        Args:
            batch: moments of what `step` returned for the batch.
            decay: share of the old statistics that stays.
        """
        mean = batch.mean
        variance = ops.matmul(batch.square - ops.square(mean), self.blocks) / self.dims
        self.mean.assign(self.mean + (1 - decay) * self._scale() * mean)
        self.variance.assign(self.variance * (decay + (1 - decay) * variance / self.targets))

    def _initial_variance(self, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        return ops.convert_to_tensor(self.targets, dtype)

    def _scale(self) -> Tensor:
        """Return the divisor of each dimension, [dim]."""
        return ops.matmul(self.blocks, ops.sqrt(self.variance / self.targets + VARIANCE_FLOOR))


class Encoder(StreamingLayer):
    """Audio to latents.

    Shapes:
        x: [batch, time, 1], time a multiple of `hop_length`
        y: [batch, frame, latent_dim], of zero mean and about unit variance
    """

    def __init__(self, config: CodecConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.stride = Fraction(config.hop_length)
        layers = architecture.encoder_layers(config)
        self.analysis = Analysis(config)
        self.network = serial(layers.network, self.dtype_policy)
        self.envelope_map, self.phase_map, self.detail_map = (dense(path, "float32") for path in layers.paths)
        self.standardize = Standardize(latent_blocks(config))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.network.build((None, None, self.analysis.slices.bands.stop))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], None, self.config.latent_dim)

    def initial_state(self, batch_size: int | Tensor) -> State:
        return self.analysis.initial_state(batch_size), self.network.initial_state(batch_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        analysis_state, network_state = state
        features, analysis_state = self.analysis.step(x, analysis_state)
        latents, network_state = self.latents(features, network_state)
        return latents, (analysis_state, network_state)

    def latents(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Run everything after `analysis`: [batch, spectral frame, features] -> [batch, frame, latent_dim]."""
        coded, state = self.network.step(features[..., : self.analysis.slices.bands.stop], state)
        latents = ops.cast(coded, "float32") + self.linear_paths(features)
        return self.standardize.step(latents, ())[0], state

    def linear_paths(self, features: Tensor) -> Tensor:
        """Return envelope, phase and detail: [batch, spectral frame, features] -> [batch, frame, latent_dim]."""
        slices = self.analysis.slices
        energies, bins = pair(features[..., slices.bands] / BAND_SCALE), pair(features[..., slices.low_bins])
        parts = [self.envelope_map(energies), self.phase_map(bins), self.detail_map(energies)]
        return ops.concatenate(parts, axis=-1)
