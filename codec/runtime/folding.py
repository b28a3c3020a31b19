"""The weights of a preset as `codec.runtime.codec` takes them.

What is linear one after another, or added up, as one matrix.

It gives the same numbers, rounding apart, by fewer calls of numpy, which cost live steps half of their time:

    - a norm's gamma and beta go into the matrix behind it, constant factors and terms into the nearest one; norms give
      vectors of length one, so that gamma is times the root of their size
    - `encoder.latents` is the last layer and the linear paths beside it, with the standardization
    - `decoder.maps` is the linear paths, `decoder.head` all layers of the head
    - real and imaginary parts stand side by side, as in the memory of complex numbers
"""

from __future__ import annotations

import numpy as np

from codec.config import CodecConfig
from codec.dsp import BAND_SCALE, EXCITATION_GAIN, VARIANCE_FLOOR, latent_blocks, magnitude_offset
from codec.runtime.layers import Weights


def folded_encoder(config: CodecConfig, weights: Weights) -> Weights:
    """Of those of the encoder, float32 by name, new ones."""
    result, last = dict(weights), f"encoder.coarse.layers.{config.encoder_blocks + 2}.layer"
    _fold_blocks(result)
    _fold_norm(result, f"encoder.coarse.layers.{config.encoder_blocks + 1}.layer", last)
    result["encoder.fine.layers.1.layer.gamma"] = _of_length_one(result["encoder.fine.layers.1.layer.gamma"])
    first = "encoder.fine.layers.0.layer.kernel"
    bins, bands = np.split(result[first], [2 * config.spectrum_bins])
    result[first] = np.concatenate([_paired(bins, 0), np.float32(BAND_SCALE) * bands])
    kernel = np.concatenate([result.pop(f"{last}.kernel"), _encoder_paths(config, result)])
    bias = result.pop(f"{last}.bias") - result.pop("encoder.standardize.mean")
    bias[: config.envelope_dim] += result.pop("encoder.envelope_map.bias")
    scale = _scale(config, result.pop("encoder.standardize.variance"))
    return {**result, "encoder.latents.kernel": kernel / scale, "encoder.latents.bias": bias / scale}


def _encoder_paths(config: CodecConfig, weights: Weights) -> np.ndarray:
    """From energies of two spectral frames, then low bins of both, to latents: [2 * (bands + bins), latent_dim]."""
    envelope, phase, detail = (
        weights.pop(f"encoder.{name}_map.kernel") for name in ("envelope", "phase", "detail")
    )
    paths = np.zeros((len(envelope) + len(phase), config.latent_dim), np.float32)
    of_energies, of_low = np.split(paths, [len(envelope)])
    of_energies[:, : config.envelope_dim], of_energies[:, config.core_dim :] = envelope, detail
    pairs = _paired(phase.reshape(2, 2 * config.phase_bins, -1), 1)
    of_low[:, config.envelope_dim : config.core_dim] = pairs.reshape(phase.shape)
    return paths


def _scale(config: CodecConfig, variances: np.ndarray) -> np.ndarray:
    """What each latent is divided by."""
    dims, expected = zip(*latent_blocks(config), strict=True)
    scales = np.sqrt(variances / np.array(expected, np.float32) + VARIANCE_FLOOR)
    return np.repeat(scales, dims).astype(np.float32)


def folded_decoder(config: CodecConfig, weights: Weights) -> Weights:
    """Of those of the decoder, float32 by name, new ones."""
    result = dict(weights)
    _fold_blocks(result)
    for axis, part in ((1, "kernel"), (0, "bias")):
        layers = ("magnitude", "direction", "low_gain", "pitch", "voice")
        magnitude, direction, low_gain, pitch, voice = (
            result.pop(f"decoder.head.{layer}.{part}") for layer in layers
        )
        gain, sharpness = np.split(voice, [2 * config.phasor_bins], axis)
        parts = [magnitude, _paired(direction, axis), low_gain, pitch, _paired(gain, axis)]
        result[f"decoder.head.{part}"] = np.concatenate([*parts, np.float32(0.5) * sharpness], axis)
    bias = result["decoder.head.bias"]
    bias[: config.synthesis_bins] += magnitude_offset(config)
    bias[-3 * config.phasor_bins : -config.phasor_bins : 2] += np.float32(EXCITATION_GAIN)
    _fold_norm(result, f"decoder.fine.layers.{config.decoder_fine_blocks}.layer", "decoder.head")
    return {**result, **_decoder_maps(config, result)}


def _decoder_maps(config: CodecConfig, weights: Weights) -> Weights:
    """From latents to energies, then low bins, of each of two spectral frames."""
    size = config.mel_bands + 2 * config.phase_bins
    kernel = np.zeros((config.latent_dim, 2, size), np.float32)
    energies, low = np.split(kernel, [config.mel_bands], axis=2)
    for name, rows in (("envelope", slice(config.envelope_dim)), ("detail", slice(config.core_dim, None))):
        energies[rows] = weights.pop(f"decoder.{name}_map.kernel").reshape(-1, *energies.shape[1:])
    phase = weights.pop("decoder.phase_map.kernel").reshape(-1, *low.shape[1:])
    low[config.envelope_dim : config.core_dim] = _paired(phase, 2)
    bias = weights.pop("decoder.envelope_map.bias").reshape(2, -1)
    bias = np.pad(bias, ((0, 0), (0, 2 * config.phase_bins)))
    return {
        "decoder.maps.kernel": kernel.reshape(config.latent_dim, -1),
        "decoder.maps.bias": bias.reshape(-1),
    }


def _fold_blocks(weights: Weights) -> None:
    """Fold each ConvNeXtBlock's norm into its expansion, GELU's half and its scale into the projection."""
    for name in [name.removesuffix(".scale") for name in weights if name.endswith(".scale")]:
        _fold_norm(weights, f"{name}.norm", f"{name}.expand")
        weights[f"{name}.mix.kernel"] = weights[f"{name}.mix.kernel"][..., 0]
        scale, project = weights.pop(f"{name}.scale"), f"{name}.project"
        weights[f"{project}.kernel"] = weights[f"{project}.kernel"] * (np.float32(0.5) * scale)
        weights[f"{project}.bias"] = weights[f"{project}.bias"] * scale


def _fold_norm(weights: Weights, norm: str, dense: str) -> None:
    """Fold gamma and beta of a norm into the dense layer behind it."""
    gamma, beta = _of_length_one(weights.pop(f"{norm}.gamma")), weights.pop(f"{norm}.beta")
    kernel = weights[f"{dense}.kernel"]
    weights[f"{dense}.kernel"] = gamma[:, None] * kernel
    weights[f"{dense}.bias"] = weights[f"{dense}.bias"] + beta @ kernel


def _of_length_one(gamma: np.ndarray) -> np.ndarray:
    return gamma * np.float32(np.sqrt(len(gamma)))


def _paired(parts: np.ndarray, axis: int) -> np.ndarray:
    """Real parts then imaginary parts along an axis -> each real part beside its imaginary part."""
    return np.stack(np.split(parts, 2, axis), axis + 1).reshape(parts.shape)
