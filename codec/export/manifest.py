"""The manifest of an export: `manifest.json`, everything that a program needs to use the model.

format                  "saved-model", "litert" or "onnx"
opset                   ONNX only: the version of its operators
weights                 ONNX only: "float16", "float32" or "int8", how weights are stored
model_id                identity of the model that .lam files name, 16 hexadecimal digits
sample_rate             Hz
hop_length              samples in a frame
latency                 samples by which decoded audio lags: sample t + latency is sample t of the source
reset_interval          frames after which a .lam file resets the predictor: the state `base` becomes zeros
run_in_frames           frames before a place from which to decode, for the same sound there as from the start
num_codebooks           codes in a frame
base_codebooks          the smallest number of codebooks that can be decoded
codebook_size           codes are 0 to codebook_size - 1
channel_noise_offset    the state `frame` of channel n starts as n * channel_noise_offset % noise_period,
noise_period            so channels have different noise; both in spectral frames, of which a frame has two
units                   what the numbers in `audio`, `codes` and the state mean, for people
functions               the functions by name, each with

    file                ONNX only: the file that holds the function
    inputs              arrays by name: {"shape": [...], "dtype": "float32", "int32" or "bool"}; a dimension is a
                        number, or one of the names "batch", "time" and "frame" if it may vary
    state               the same for arrays that are input and output. ONNX: the output of the state `x` is `next_x`
    outputs             the same for the other outputs
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from codec.dsp import CHANNEL_NOISE_OFFSET, NOISE_PERIOD
from codec.export.specs import ArraySpec, FunctionSpec
from codec.presets import model_id

if TYPE_CHECKING:
    from codec.protocol import StreamingCodec

MANIFEST = "manifest.json"
UNITS = {
    "audio": "samples at sample_rate, full scale 1; stereo as (left + right) / 2 and (left - right) / 2",
    "codes": "0 to codebook_size - 1; in the input of a decoder, -1 where a lower bitrate has no code",
    "state": "the output of this name of the step before; zeros before the first step, except `frame`",
    "frame": "number of the next spectral frame, modulo noise_period; see channel_noise_offset",
}


def model_facts(model: StreamingCodec) -> dict[str, object]:
    """Return the numbers of a model that a program needs."""
    config = model.config
    return {
        "model_id": model_id(model).hex(),
        "sample_rate": config.sample_rate,
        "hop_length": config.hop_length,
        "latency": model.latency,
        "reset_interval": config.reset_interval,
        "run_in_frames": model.run_in_frames,
        "num_codebooks": config.num_codebooks,
        "base_codebooks": config.base_codebooks,
        "codebook_size": config.codebook_size,
        "channel_noise_offset": CHANNEL_NOISE_OFFSET,
        "noise_period": NOISE_PERIOD,
    }


def write_manifest(
    directory: Path,
    form: Mapping[str, object],
    model: StreamingCodec,
    functions: Mapping[str, FunctionSpec],
    units: Mapping[str, str] = UNITS,
) -> None:
    """Write the manifest of an export into its directory.

    Args:
        directory: of the export.
        form: the format, and what only this format has.
        model: that was exported.
        functions: by name.
        units: of the arrays.
    """
    described = {name: _described(function) for name, function in functions.items()}
    facts = {**form, **model_facts(model), "units": units, "functions": described}
    (directory / MANIFEST).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _described(function: FunctionSpec) -> dict[str, object]:
    file = {"file": function.file} if function.file else {}
    return {
        **file,
        "inputs": _arrays(function.inputs),
        "state": _arrays(function.state),
        "outputs": _arrays(function.outputs),
    }


def _arrays(specs: dict[str, ArraySpec]) -> dict[str, dict[str, object]]:
    return {name: {"shape": list(spec.shape), "dtype": spec.dtype} for name, spec in specs.items()}
