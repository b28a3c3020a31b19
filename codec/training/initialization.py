"""Initialize a codec before its first step: the linear paths by principal components, the codebooks by k-means.

With the principal components of the corpus the two linear paths are a codec of their own, which the networks improve.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from keras import ops

from codec.dsp import BAND_SCALE, DETAIL_SHARE, PHASE_SHARE
from codec.network.codebook import residual_kmeans
from codec.network.codec import Codec
from codec.network.layers import pair
from codec.network.predictive_quantizer import PredictiveQuantizer

BASE_ROUNDS = 4  # base codebooks and prediction depend on each other, so they are fitted alternately
DAMPING = (
    1e-3  # of the prediction, as a share of the mean variance: keeps weak dimensions from large coefficients
)


class PrincipalMap(NamedTuple):
    """A linear map to the leading principal components, and its inverse.

    forward:  [features, dim]
    backward: [dim, features]
    kept:     share of the variance
    """

    forward: np.ndarray
    backward: np.ndarray
    kept: float


def principal_map(covariance: np.ndarray, dim: int, variance: float) -> PrincipalMap:
    """Return the map to the `dim` leading components of a covariance, scaled to a total variance of `variance`."""
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1][:dim], vectors[:, ::-1][:, :dim]
    scale = np.sqrt(variance / values.sum())
    kept = float(values.sum() / np.trace(covariance))
    return PrincipalMap((vectors * scale).astype(np.float32), (vectors.T / scale).astype(np.float32), kept)


def initialize_linear_paths(codec: Codec, audio: Iterable[np.ndarray]) -> tuple[float, float]:
    """Set the linear paths of encoder and decoder from segments [batch, time, 1].

    Returns:
        The shares of the variance that the components of envelope and phase keep.
    """
    rows = [_feature_rows(codec, block) for block in audio]
    bands, low = (np.concatenate(part) for part in zip(*rows, strict=True))
    config, encoder, decoder = codec.config, codec.encoder, codec.decoder
    mean, dim = bands.mean(axis=0), config.core_dim
    covariance = np.cov(bands, rowvar=False)
    envelope = principal_map(covariance, config.envelope_dim, dim * (1 - PHASE_SHARE))
    residual = covariance - covariance @ envelope.forward @ envelope.backward
    detail = principal_map((residual + residual.T) / 2, config.detail_dim, dim * DETAIL_SHARE)
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


def _feature_rows(codec: Codec, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log band energies and low bins of code frames: [rows, 2 * mel_bands], [rows, 4 * phase_bins]."""
    features = codec.encoder.analysis(audio)
    _, bands, low = codec.encoder.analysis.slices
    parts = pair(features[..., bands] / BAND_SCALE), pair(features[..., low])
    flat = [ops.convert_to_numpy(part).astype(np.float64) for part in parts]
    return flat[0].reshape(-1, flat[0].shape[-1]), flat[1].reshape(-1, flat[1].shape[-1])


def initialize_codebooks(codec: Codec, audio: Iterable[np.ndarray], iterations: int, seed: int) -> None:
    """Fit prediction and codebooks to the latents of segments [batch, time, 1]."""
    encoder = codec.encoder
    steps = (encoder.step(block, encoder.initial_state(len(block)))[0] for block in audio)
    latents = np.concatenate([ops.convert_to_numpy(block) for block in steps])
    fit_quantizer(codec.quantizer, latents, iterations, seed)


def fit_quantizer(quantizer: PredictiveQuantizer, latents: np.ndarray, iterations: int, seed: int) -> None:
    """Set prediction and codebooks by least squares and residual k-means.

    Args:
        quantizer: is changed.
        latents: [segment, frame, dim].
        iterations: of k-means.
        seed: of k-means.
    """

    def fit(vectors: np.ndarray, stages: int) -> np.ndarray:
        rows = vectors.reshape(-1, vectors.shape[-1])
        size = (stages, quantizer.codebook_size)
        return residual_kmeans(rows, size, iterations, np.random.default_rng(seed))

    shape = (quantizer.num_codebooks, quantizer.codebook_size, latents.shape[-1])
    books = np.zeros(shape, np.float32)
    base, base_dim = quantizer.base_codebooks, quantizer.base_dim
    base_latents = latents[..., :base_dim]
    targets = base_latents  # no prediction yet
    for _ in range(BASE_ROUNDS):
        books[:base, :, :base_dim] = fit(targets, base)
        quantizer.start(books)
        bases = _quantized_bases(quantizer, latents)
        quantizer.prediction.assign(linear_prediction(bases[:, :-1], base_latents[:, 1:]))
        targets = base_latents - ops.convert_to_numpy(quantizer.predict(bases))
    core = min(quantizer.core_codebooks, quantizer.num_codebooks)
    for stages, dim in (
        (range(base, core), quantizer.core_dim),
        (range(core, quantizer.num_codebooks), latents.shape[-1]),
    ):
        if stages:
            decoded = quantizer.decode(quantizer.encode(latents, stages.start))
            residual = latents - ops.convert_to_numpy(decoded)
            books[stages.start : stages.stop, :, :dim] = fit(residual[..., :dim], len(stages))
            quantizer.start(books)


def _quantized_bases(quantizer: PredictiveQuantizer, latents: np.ndarray) -> np.ndarray:
    """Return the base of each frame after quantization, [segment, frame, base_dim]."""
    state = quantizer.initial_state(len(latents))
    bases: np.ndarray = ops.convert_to_numpy(
        quantizer.encode_base(latents, state, quantizer.base_codebooks)[0]
    )
    return bases


def linear_prediction(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the matrix P with the least squared error of `before @ P` from `after`, slightly damped.

    Args:
        before: [segment, frame, dim].
        after: the same shape.
    """
    x, y = (values.reshape(-1, values.shape[-1]).astype(np.float64) for values in (before, after))
    covariance = x.T @ x
    damped = covariance + DAMPING * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return np.linalg.solve(damped, x.T @ y).astype(np.float32)
