"""The manifest of an export: `manifest.json`, everything that a program needs to use the model.

format                  "saved-model" or "litert"
model_id                identity of the model that .lam files name, 16 hexadecimal digits
sample_rate             Hz
hop_length              samples in a frame
latency                 samples by which decoded audio lags: sample t + latency is sample t of the source
reset_interval          frames after which a .lam file resets the predictor: the state `base` becomes zeros
num_codebooks           codes in a frame
base_codebooks          the smallest number of codebooks that can be decoded
codebook_size           codes are 0 to codebook_size - 1
channel_noise_offset    the state `frame` of channel n starts as n * channel_noise_offset % noise_period,
noise_period            so channels have different noise; both in spectral frames, of which a frame has two
units                   what the numbers in `audio`, `codes` and the state mean, for people
functions               the functions by name, each with

    inputs              arrays by name: {"shape": [...], "dtype": "float32" or "int32"}; a dimension is a number, or one
                        of the names "batch", "time" and "frame" if it may vary
    state               the same for arrays that are input and output; empty for `encode` and `decode`
    outputs             the same for the other outputs
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from codec.dsp import CHANNEL_NOISE_OFFSET, NOISE_PERIOD
from codec.presets import model_id

if TYPE_CHECKING:
    from codec.export.signatures import ArraySpec, Signatures

MANIFEST = "manifest.json"
UNITS = {
    "audio": "samples at sample_rate, full scale 1; stereo as (left + right) / 2 and (left - right) / 2",
    "codes": "0 to codebook_size - 1; in the input of a decoder, -1 where a lower bitrate has no code",
    "state": "the output of this name of the step before; zeros before the first step, except `frame`",
    "frame": "number of the next spectral frame, modulo noise_period; see channel_noise_offset",
}


def write_manifest(signatures: Signatures, directory: Path, format_name: str) -> None:
    """Write the manifest of an export into its directory."""
    config = signatures.config
    facts = {
        "format": format_name,
        "model_id": model_id(signatures.codec).hex(),
        "sample_rate": config.sample_rate,
        "hop_length": config.hop_length,
        "latency": signatures.codec.latency,
        "reset_interval": config.reset_interval,
        "num_codebooks": config.num_codebooks,
        "base_codebooks": config.base_codebooks,
        "codebook_size": config.codebook_size,
        "channel_noise_offset": CHANNEL_NOISE_OFFSET,
        "noise_period": NOISE_PERIOD,
        "units": UNITS,
        "functions": {
            name: {
                "inputs": _arrays(function.inputs),
                "state": _arrays(function.state),
                "outputs": _arrays(function.outputs),
            }
            for name, function in signatures.functions().items()
        },
    }
    (directory / MANIFEST).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _arrays(specs: dict[str, ArraySpec]) -> dict[str, dict[str, object]]:
    return {name: {"shape": list(spec.shape), "dtype": spec.dtype} for name, spec in specs.items()}
