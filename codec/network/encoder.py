r"""Audio to latents: a network, and around it the linear paths of the PCA start.

    audio -> Analysis -> network ---------------------> + -> centre, scale -> latents
                    \--> mel bands of both frames --> envelope part, detail part
                     \-> low bins of both frames ---> phase part

At the start the network adds next to nothing and the maps, principal components of the corpus, make the latents;
all of it trains on from there.
"""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from codec.config import CodecConfig
from codec.dsp import BAND_SCALE, VARIANCE_FLOOR, LatentBlock, latent_blocks
from codec.network.layers import ConvNeXtBlock, dense, layer_norm
from codec.network.spectral import Analysis
from codec.network.streaming import Serial, State, StreamingLayer, Tensor


class Moments(NamedTuple):
    """What is averaged of a batch, [dim] each; of the parts of a batch, these are averaged again."""

    mean: Tensor
    square: Tensor  # mean of the squares


def moments(values: Tensor) -> Moments:
    """Those of [batch, frame, dim]."""
    return Moments(ops.mean(values, axis=(0, 1)), ops.mean(ops.square(values), axis=(0, 1)))


class Standardize(StreamingLayer):
    """Centre each dimension and scale each block of them by one number, from running statistics.

    One number for a block keeps its dimensions' proportions, which decide where the quantizer spends its bits. The
    variance of each block is fixed: left to itself, training grew the phase block from 15 % to 60 % in 500
    steps, and what the envelope lost was heard at every rate.

    Args:
        blocks: one after the other.
    """

    def __init__(self, blocks: tuple[LatentBlock, ...], **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        dims, variances = zip(*blocks, strict=True)
        self.blocks = np.repeat(np.eye(len(blocks), dtype=np.float32), dims, axis=0)  # [dim, block]
        self.dims, self.targets = np.array(dims, np.float32), np.array(variances, np.float32)
        self.mean = self.add_weight(
            (len(self.blocks),), "zeros", trainable=False, aggregation="mean", name="mean"
        )
        self.variance = self.add_weight(
            (len(blocks),),
            lambda shape, dtype: ops.convert_to_tensor(self.targets, dtype),
            trainable=False,
            aggregation="mean",
            name="variance",
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return (x - ops.convert_to_tensor(self.mean)) / self._scale(), state

    def _scale(self) -> Tensor:
        """What each dimension is divided by, [dim]."""
        return ops.matmul(self.blocks, ops.sqrt(self.variance / self.targets + VARIANCE_FLOOR))

    def update(self, found: Moments, decay: float) -> None:
        """Move the statistics towards those of a batch, given the moments of what `step` made of it."""
        mean = found.mean
        variance = ops.matmul(found.square - ops.square(mean), self.blocks) / self.dims
        self.mean.assign(self.mean + (1 - decay) * self._scale() * mean)
        self.variance.assign(self.variance * (decay + (1 - decay) * variance / self.targets))


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
        policy = self.dtype_policy
        block = functools.partial(ConvNeXtBlock, expansion=config.encoder_expansion, dtype=policy)
        self.analysis = Analysis(config)
        self.fine = Serial(
            [
                dense(config.encoder_fine_width, dtype=policy),
                layer_norm(dtype=policy),
                block(config.encoder_fine_width),
            ],
            dtype=policy,
        )
        small = keras.initializers.RandomNormal(stddev=0.02)
        self.coarse = Serial(
            [dense(config.encoder_width, dtype=policy)]
            + [block(config.encoder_width) for _ in range(config.encoder_blocks)]
            + [layer_norm(dtype=policy), dense(config.latent_dim, kernel_initializer=small, dtype=policy)],
            dtype=policy,
        )
        self.envelope_map = keras.layers.Dense(config.envelope_dim, dtype="float32", name="envelope_map")
        self.phase_map = keras.layers.Dense(
            config.phase_dim, use_bias=False, dtype="float32", name="phase_map"
        )
        self.detail_map = keras.layers.Dense(
            config.detail_dim, use_bias=False, dtype="float32", name="detail_map"
        )
        self.standardize = Standardize(latent_blocks(config))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        config = self.config
        network, _, _ = self.analysis.slices
        self.fine.build((None, None, network.stop + config.mel_bands))
        self.coarse.build((None, None, 2 * config.encoder_fine_width))
        self.envelope_map.build((None, None, 2 * config.mel_bands))
        self.phase_map.build((None, None, 4 * config.phase_bins))
        self.detail_map.build((None, None, 2 * config.mel_bands))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], None, self.config.latent_dim)

    def initial_state(self, batch_size: int | Tensor) -> State:
        return tuple(part.initial_state(batch_size) for part in (self.analysis, self.fine, self.coarse))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        analysis_state, *network_state = state
        features, analysis_state = self.analysis.step(x, analysis_state)
        latents, network_state = self.latents(features, network_state)
        return latents, (analysis_state, *network_state)

    def latents(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """All after `analysis`: [batch, spectral frame, features] -> [batch, frame, latent_dim]."""
        fine_state, coarse_state = state
        _, bands, _ = self.analysis.slices
        fine, fine_state = self.fine.step(features[..., : bands.stop], fine_state)
        coarse, coarse_state = self.coarse.step(pair(fine), coarse_state)
        latents = ops.cast(coarse, "float32") + self.linear_paths(features)
        return self.standardize.step(latents, ())[0], (fine_state, coarse_state)

    def linear_paths(self, features: Tensor) -> Tensor:
        """Envelope, phase and detail: [batch, spectral frame, features] -> [batch, frame, latent_dim]."""
        _, bands, low = self.analysis.slices
        energies, bins = pair(features[..., bands] / BAND_SCALE), pair(features[..., low])
        parts = [self.envelope_map(energies), self.phase_map(bins), self.detail_map(energies)]
        return ops.concatenate(parts, axis=-1)


def pair(x: Tensor) -> Tensor:
    """Two spectral frames side by side make a code frame: [batch, 2 n, dim] -> [batch, n, 2 dim]."""
    return ops.reshape(x, (ops.shape(x)[0], -1, 2 * x.shape[-1]))
