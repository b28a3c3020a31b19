"""Every weight of a preset, by the name of its place in the structure: `codec.presets` checks files by it."""

from __future__ import annotations

from codec.config import CodecConfig
from codec.dsp import PITCHES, latent_blocks


def weight_shapes(config: CodecConfig) -> dict[str, tuple[int, ...]]:
    """Every weight of a preset by name, with its shape."""
    features = 2 * config.spectrum_bins + config.mel_bands
    fine, coarse, dim = config.encoder_fine_width, config.encoder_width, config.latent_dim
    last = 1 + config.encoder_blocks
    shapes = {
        **_dense_shapes("encoder.fine.layers.0.layer", features, fine),
        **_norm_shapes("encoder.fine.layers.1.layer", fine),
        **_block_shapes("encoder.fine.layers", range(2, 3), fine, config.encoder_expansion),
        **_dense_shapes("encoder.coarse.layers.0.layer", 2 * fine, coarse),
        **_block_shapes("encoder.coarse.layers", range(1, last), coarse, config.encoder_expansion),
        **_norm_shapes(f"encoder.coarse.layers.{last}.layer", coarse),
        **_dense_shapes(f"encoder.coarse.layers.{last + 1}.layer", coarse, dim),
        **_dense_shapes("encoder.envelope_map", 2 * config.mel_bands, config.envelope_dim),
        "encoder.phase_map.kernel": (4 * config.phase_bins, config.phase_dim),
        "encoder.detail_map.kernel": (2 * config.mel_bands, config.detail_dim),
        "encoder.standardize.mean": (dim,),
        "encoder.standardize.variance": (len(latent_blocks(config)),),
        "quantizer.codebooks": (config.num_codebooks, config.codebook_size, dim),
        "quantizer.prediction": (config.envelope_dim, config.envelope_dim),
    }
    return {**shapes, **_decoder_shapes(config)}


def _decoder_shapes(config: CodecConfig) -> dict[str, tuple[int, ...]]:
    coarse, fine, bins = config.decoder_width, config.decoder_fine_width, config.synthesis_bins
    last = 1 + config.decoder_blocks
    return {
        "decoder.coarse.layers.0.conv.kernel": (3, config.latent_dim, coarse),
        "decoder.coarse.layers.0.conv.bias": (coarse,),
        **_block_shapes("decoder.coarse.layers", range(1, last), coarse, config.decoder_expansion),
        **_dense_shapes(f"decoder.coarse.layers.{last}.layer", coarse, 2 * fine),
        "decoder.noise_map.kernel": (config.noise_channels, fine),
        **_block_shapes(
            "decoder.fine.layers", range(config.decoder_fine_blocks), fine, config.decoder_expansion
        ),
        **_norm_shapes(f"decoder.fine.layers.{config.decoder_fine_blocks}.layer", fine),
        **_dense_shapes("decoder.envelope_map", config.envelope_dim, 2 * config.mel_bands),
        "decoder.phase_map.kernel": (config.phase_dim, 4 * config.phase_bins),
        "decoder.detail_map.kernel": (config.detail_dim, 2 * config.mel_bands),
        **_dense_shapes("decoder.head.magnitude", fine, bins),
        **_dense_shapes("decoder.head.direction", fine, 2 * config.phasor_bins),
        **_dense_shapes("decoder.head.low_gain", fine, config.phase_bins),
        **_dense_shapes("decoder.head.pitch", fine, PITCHES + 1),
        **_dense_shapes("decoder.head.voice", fine, 3 * config.phasor_bins),
    }


def _dense_shapes(name: str, before: int, after: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.kernel": (before, after), f"{name}.bias": (after,)}


def _norm_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.gamma": (width,), f"{name}.beta": (width,)}


def _block_shapes(name: str, numbers: range, width: int, expansion: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    hidden = expansion * width // 100
    for number in numbers:
        block = f"{name}.{number}"
        shapes |= {
            f"{block}.mix.kernel": (7, width, 1),
            f"{block}.mix.bias": (width,),
            f"{block}.scale": (width,),
        }
        shapes |= _norm_shapes(f"{block}.norm", width)
        shapes |= {
            **_dense_shapes(f"{block}.expand", width, hidden),
            **_dense_shapes(f"{block}.project", hidden, width),
        }
    return shapes
