"""How a codec begins before its first step: the PCA start, and k-means for the codebooks.

The principal components of the corpus make the two linear paths a codec of their own, which the networks improve on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from keras import ops

from codec.dsp import BAND_SCALE, DETAIL_SHARE, PHASE_SHARE
from codec.network.codebook import residual_kmeans
from codec.network.codec import Codec
from codec.network.encoder import pair
from codec.network.predictive_quantizer import PredictiveQuantizer

# Base codebooks and prediction hang on each other: they are found by turns, beginning without a prediction. Three
# rounds bring the error within 3 % of where it stays.
BASE_ROUNDS = 4
DAMPING = 1e-3  # of the prediction, as a share of the mean variance: keeps it from leaning on nothing


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
    config, encoder, decoder = codec.config, codec.encoder, codec.decoder
    mean, dim = bands.mean(axis=0), config.core_dim
    covariance = np.cov(bands, rowvar=False)
    envelope = principal_map(covariance, config.envelope_dim, dim * (1 - PHASE_SHARE))
    left = covariance - covariance @ envelope.forward @ envelope.backward
    detail = principal_map((left + left.T) / 2, config.detail_dim, dim * DETAIL_SHARE)
    phase = principal_map(low.T @ low / len(low), config.phase_dim, dim * PHASE_SHARE)
    encoder.envelope_map.kernel.assign(envelope.forward)
    encoder.envelope_map.bias.assign(-mean @ envelope.forward)
    encoder.phase_map.kernel.assign(phase.forward)
    encoder.detail_map.kernel.assign(detail.forward)
    decoder.envelope_map.kernel.assign(envelope.backward)
    decoder.envelope_map.bias.assign(mean)
    decoder.phase_map.kernel.assign(phase.backward)
    decoder.detail_map.kernel.assign(detail.backward)
    return envelope.kept, phase.kept


def _rows(codec: Codec, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log band energies and low bins of code frames: [rows, 2 * mel_bands], [rows, 4 * phase_bins]."""
    features = codec.encoder.analysis(audio)
    _, bands, low = codec.encoder.analysis.slices
    parts = pair(features[..., bands] / BAND_SCALE), pair(features[..., low])
    flat = [ops.convert_to_numpy(part).astype(np.float64) for part in parts]
    return flat[0].reshape(-1, flat[0].shape[-1]), flat[1].reshape(-1, flat[1].shape[-1])


def kmeans_start(codec: Codec, audio: Iterable[np.ndarray], iterations: int, seed: int) -> None:
    """Begin the quantizer at the latents of segments [batch, time, 1]."""
    encoder = codec.encoder
    steps = (encoder.step(block, encoder.initial_state(len(block)))[0] for block in audio)
    latents = np.concatenate([ops.convert_to_numpy(block) for block in steps])
    start_codebooks(codec.quantizer, latents, iterations, seed)


def start_codebooks(quantizer: PredictiveQuantizer, latents: np.ndarray, iterations: int, seed: int) -> None:
    """Set prediction and codebooks by least squares and residual k-means on latents [segment, frame, dim]."""
    first, size = quantizer.base_codebooks, quantizer.codebook_size

    def fit(vectors: np.ndarray, stages: int) -> np.ndarray:
        rows = vectors.reshape(-1, vectors.shape[-1])
        return residual_kmeans(rows, (stages, size), iterations, np.random.default_rng(seed))

    books = np.zeros((quantizer.num_codebooks, size, latents.shape[-1]), np.float32)
    base_part = latents[..., : quantizer.base_dim]
    targets = base_part  # no prediction yet
    for _ in range(BASE_ROUNDS):
        books[:first, :, : quantizer.base_dim] = fit(targets, first)
        quantizer.start(books)
        bases = ops.convert_to_numpy(
            quantizer.track(latents, quantizer.initial_state(len(latents)), first)[0]
        )
        quantizer.prediction.assign(linear_prediction(bases[:, :-1], base_part[:, 1:]))
        targets = base_part - ops.convert_to_numpy(quantizer.predict(bases))
    core = min(quantizer.core_codebooks, quantizer.num_codebooks)
    for stages, dim in (
        (range(first, core), quantizer.core_dim),
        (range(core, quantizer.num_codebooks), latents.shape[-1]),
    ):
        if stages:
            left = latents - ops.convert_to_numpy(quantizer.decode(quantizer.encode(latents, stages.start)))
            books[stages.start : stages.stop, :, :dim] = fit(left[..., :dim], len(stages))
            quantizer.start(books)


def linear_prediction(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The matrix P of least squared error of `before @ P` from `after`, both [segment, frame, dim], slightly damped."""
    x, y = (values.reshape(-1, values.shape[-1]).astype(np.float64) for values in (before, after))
    covariance = x.T @ x
    damped = covariance + DAMPING * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return np.linalg.solve(damped, x.T @ y).astype(np.float32)
