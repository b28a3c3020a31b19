"""Export a preset for LiteRT (TensorFlow Lite): one file, with LiteRT's own operations alone.

The weights stay float32. Weights of float16 and int8 decoded worse, because windows and codewords are rounded too.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codec.errors import CodecError
from codec.export.directory import replacing_export
from codec.export.manifest import write_manifest
from codec.export.packages import require
from codec.export.saved_model import write_saved_model
from codec.files import PathLike
from codec.presets import load_keras

if TYPE_CHECKING:
    from codec.export.signatures import Signatures

LITERT_FILE = "model.tflite"
# Near ties and rounding stay far below these limits; a wrong conversion is far above.
MAX_DIFFERENT_CODES = 0.02  # share of all codes
MAX_ERROR = 0.02  # of the decoded audio, relative to its own level
TEST_LEVEL = 0.1  # of the noise that is coded to compare, RMS


def export_litert(model: PathLike, directory: PathLike, force: bool = False) -> None:
    """Write a preset for LiteRT, as `model.tflite` in a directory.

    The converter may write a wrong model without an error. So the converted model runs before it is kept, and its
    output is compared with the original's.

    Args:
        model: name of a preset, or the directory of one.
        directory: where the file and its manifest go; a new directory.
        force: replace an earlier export at `directory`.

    Raises:
        PresetError: the model cannot be read.
        CodecError: a package is missing, or the converted model disagrees with the original, or `directory` cannot
            be written, or it exists and may not be replaced.
    """
    require("export", "tensorflow", extra="litert")
    require("export to LiteRT", "ai_edge_litert", extra="litert")
    from codec.export.fourier import ProductAnalysis, ProductSynthesis
    from codec.export.signatures import Signatures

    with replacing_export(directory, force) as new:
        codec = load_keras(model)
        signatures = Signatures(codec, ProductAnalysis(codec.config), ProductSynthesis(codec.config))
        saved_model = new / "saved-model"
        write_saved_model(signatures, saved_model)
        content = convert(saved_model, list(signatures.functions()))
        shutil.rmtree(saved_model)
        check_converted(signatures, content)
        (new / LITERT_FILE).write_bytes(content)
        write_manifest(new, {"format": "litert"}, signatures.codec, signatures.functions())


def convert(saved_model: Path, functions: list[str]) -> bytes:
    """Return the LiteRT file of a SavedModel with these functions."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=functions)
    content: bytes = converter.convert()
    return content


def check_converted(signatures: Signatures, content: bytes) -> None:
    """Compare a LiteRT file with the original on half a second of noise.

    Raises:
        CodecError: their codes or their decoded audio differ by more than near ties and rounding.
    """
    from ai_edge_litert.interpreter import Interpreter

    runner: Callable[[str], Any] = Interpreter(model_content=content).get_signature_runner
    shape = (1, signatures.config.sample_rate // 2, 1)
    audio = TEST_LEVEL * np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    codes = np.asarray(signatures.encode(audio)["codes"])
    difference = _share_of_different_codes(codes, runner("encode")(audio=audio)["codes"])
    if difference > MAX_DIFFERENT_CODES:
        raise _disagreement(f"{100 * difference:.1f} % of codes differ", MAX_DIFFERENT_CODES)
    decoded = np.asarray(signatures.decode(codes)["audio"])
    error = _relative_error(decoded, runner("decode")(codes=codes)["audio"])
    if not error <= MAX_ERROR:  # also if it is not a number
        raise _disagreement(f"decoded audio differs by {100 * error:.1f} %", MAX_ERROR)


def _share_of_different_codes(expected: np.ndarray, converted: np.ndarray) -> float:
    return float(np.mean(expected != converted)) if expected.shape == converted.shape else 1.0


def _relative_error(expected: np.ndarray, converted: np.ndarray) -> float:
    return float(np.sqrt(np.mean((converted - expected) ** 2) / np.mean(expected**2)))


def _disagreement(difference: str, limit: float) -> CodecError:
    return CodecError(
        f"the converted model disagrees: {difference} (at most {100 * limit:.0f} %); try another version of TensorFlow"
    )
