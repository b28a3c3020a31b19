"""How a codec begins before its first step: the PCA start, and k-means for the codebooks.

The principal components of the corpus make the two linear paths a codec of their own, which the networks improve on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from keras import ops

from codec.codebook import residual_kmeans
from codec.encoder import PHASE_SHARE, pair
from codec.model import Codec
from codec.spectral import BAND_SCALE


class PrincipalMap(NamedTuple):
    """A linear map to the leading principal components and the way back."""

    forward: np.ndarray  # [features, dim]
    backward: np.ndarray  # [dim, features]
    kept: float  # share of the variance


def principal_map(covariance: np.ndarray, dim: int, variance: float) -> PrincipalMap:
    """The `dim` leading directions of a covariance, scaled by one number to a total variance of `variance`."""
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1][:dim], vectors[:, ::-1][:, :dim]
    scale = np.sqrt(variance / values.sum())
    kept = float(values.sum() / np.trace(covariance))
    return PrincipalMap((vectors * scale).astype(np.float32), (vectors.T / scale).astype(np.float32), kept)


def pca_start(codec: Codec, audio: Iterable[np.ndarray]) -> tuple[float, float]:
    """Set the linear paths of encoder and decoder from segments [batch, time, 1].

    Returns the shares of the variance that the envelope's and the phase's components keep.
    """
    rows = [_rows(codec, block) for block in audio]
    bands, low = (np.concatenate(part) for part in zip(*rows, strict=True))
    mean, dim = bands.mean(axis=0), codec.config.latent_dim
    envelope = principal_map(np.cov(bands, rowvar=False), codec.config.envelope_dim, dim * (1 - PHASE_SHARE))
    phase = principal_map(low.T @ low / len(low), codec.config.phase_dim, dim * PHASE_SHARE)
    encoder, decoder = codec.encoder, codec.decoder
    encoder.envelope_map.kernel.assign(envelope.forward)
    encoder.envelope_map.bias.assign(-mean @ envelope.forward)
    encoder.phase_map.kernel.assign(phase.forward)
    decoder.envelope_map.kernel.assign(envelope.backward)
    decoder.envelope_map.bias.assign(mean)
    decoder.phase_map.kernel.assign(phase.backward)
    return envelope.kept, phase.kept


def _rows(codec: Codec, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log band energies and low bins of code frames: [rows, 2 * mel_bands], [rows, 4 * phase_bins]."""
    features = codec.encoder.analysis(audio)
    _, bands, low = codec.encoder.analysis.slices
    parts = pair(features[..., bands] / BAND_SCALE), pair(features[..., low])
    flat = [ops.convert_to_numpy(part).astype(np.float64) for part in parts]
    return flat[0].reshape(-1, flat[0].shape[-1]), flat[1].reshape(-1, flat[1].shape[-1])


def kmeans_start(codec: Codec, audio: Iterable[np.ndarray], iterations: int, seed: int) -> None:
    """Set all codebooks by residual k-means on the latents of segments [batch, time, 1]."""
    steps = (codec.encoder.step(block, codec.encoder_state(len(block)))[0] for block in audio)
    latents = [ops.convert_to_numpy(block) for block in steps]
    rows = np.concatenate([block.reshape(-1, block.shape[-1]) for block in latents])
    shape = codec.config.num_codebooks, codec.config.codebook_size
    codec.quantizer.start(residual_kmeans(rows, shape, iterations, np.random.default_rng(seed)))
