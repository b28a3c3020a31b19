"""Export a preset as ONNX: `encoder.onnx` and `decoder.onnx` (see `codec.export.onnx`)."""

from __future__ import annotations

from pathlib import Path

from codec.export.directory import replacing_export
from codec.export.manifest import UNITS, model_facts, write_manifest
from codec.export.onnx import WEIGHTS
from codec.export.packages import require
from codec.files import PathLike
from codec.presets import load

ONNX_UNITS = {
    **UNITS,
    "resets": "true where the predictor starts again, as a .lam file does at each chunk and each reset_interval in it",
    "num_codebooks": "how many codes of each frame to search, at least base_codebooks; the others are -1",
    "state": "NAME is the output next_NAME of the call before; zeros before the first call, except `frame`",
}


def export_onnx(model: PathLike, directory: PathLike, force: bool = False, weights: str = "float16") -> None:
    """Write a preset as ONNX graphs.

    Args:
        model: name of a preset, or the directory of one.
        directory: where the graphs and their manifest go; a new directory.
        force: replace an earlier export at `directory`.
        weights: as which numbers the weights are stored, one of "float16", "float32" and "int8". All are float32 once
            the model is loaded. A preset stores float16, so only int8 changes them.

    Raises:
        PresetError: the model cannot be read.
        CodecError: a package is missing, or `directory` cannot be written, or it exists and may not be replaced.
        ValueError: there are no such weights.
    """
    with replacing_export(directory, force) as new:
        write_onnx(model, new, weights)


def write_onnx(model: PathLike, directory: Path, weights: str = "float16") -> None:
    """Write the graphs and their manifest into a directory that exists; arguments and errors as in `export_onnx`."""
    require("export to ONNX", "onnx", extra="onnx")
    if weights not in WEIGHTS:
        raise ValueError(f"`weights` must be one of {', '.join(WEIGHTS)}, found {weights!r}")
    import onnx

    from codec.export.onnx.decoder import write_decoder
    from codec.export.onnx.encoder import write_encoder
    from codec.export.onnx.function import OPSET, Function

    codec = load(model, effort=0)
    functions = {}
    for name, part, write in (("encode", "encoder", write_encoder), ("decode", "decoder", write_decoder)):
        function = Function(part, weights)
        write(function, codec.config, codec.parts)
        made = function.model(model_facts(codec))
        onnx.checker.check_model(made, full_check=True)
        (directory / function.spec.file).write_bytes(made.SerializeToString())
        functions[name] = function.spec
    form = {"format": "onnx", "opset": OPSET, "weights": weights}
    write_manifest(directory, form, codec, functions, ONNX_UNITS)
