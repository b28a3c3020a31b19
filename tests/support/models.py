"""A small model with random weights, made without a training framework."""

from __future__ import annotations

import math

import numpy as np

from codec.architecture import PARTS, weight_shapes
from codec.config import CodecConfig
from codec.runtime import NumpyCodec

CONSTANTS = {"gamma": 1.0, "scale": 0.2, "variance": 1.0}  # by the last part of a name; others are 0
ZERO_KERNELS = ("head.magnitude", "head.low_gain", "head.pitch", "head.excitation")  # as training starts


def narrow_config() -> CodecConfig:
    """Return the sizes of a narrow model for 16 kHz with 24 codebooks."""
    return CodecConfig(
        sample_rate=16000,
        hop_length=320,
        mel_bands=24,
        spectrum_limit=4000,
        envelope_dim=6,
        phase_dim=6,
        detail_dim=4,
        num_codebooks=24,
        encoder_fine_width=8,
        encoder_width=8,
        encoder_blocks=1,
        decoder_width=8,
        decoder_blocks=1,
        decoder_fine_width=8,
        decoder_fine_blocks=1,
        noise_channels=2,
        encoder_expansion=300,
        decoder_expansion=300,
    )


def random_codec(config: CodecConfig, seed: int = 7) -> NumpyCodec:
    """Return an untrained model whose codebooks shrink from one to the next."""
    generator = np.random.default_rng(seed)
    shapes = weight_shapes(config)
    parts = {
        part: {name: _initial(name, shapes[part][name], generator) for name in shapes[part]} for part in PARTS
    }
    parts["decoder"]["envelope_map.bias"] -= 12  # both keep the sound below full scale
    parts["decoder"]["phase_map.kernel"] *= 0.1
    sizes = 0.8 ** np.arange(config.num_codebooks)[:, None, None]
    books = sizes * generator.standard_normal(shapes["quantizer"]["codebooks"])
    books[: config.base_codebooks, :, config.envelope_dim :] = 0  # the base is in the envelope
    books[: config.core_codebooks, :, config.core_dim :] = 0  # the core has no detail
    parts["quantizer"] = {
        "codebooks": books.astype(np.float32),
        "prediction": 0.7 * np.eye(config.envelope_dim, dtype=np.float32),
    }
    return NumpyCodec(config, parts)


def _initial(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    layer, _, kind = name.rpartition(".")
    if kind != "kernel" or layer in ZERO_KERNELS:
        return np.full(shape, CONSTANTS.get(kind, 0.0), np.float32)
    limit = math.sqrt(6 / (math.prod(shape[:-1]) + shape[-1]))  # Glorot and Bengio 2010
    return generator.uniform(-limit, limit, shape).astype(np.float32)
