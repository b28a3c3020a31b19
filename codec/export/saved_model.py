"""Export a preset as a TensorFlow SavedModel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from codec.errors import CodecError
from codec.export.directory import replacing_export
from codec.export.manifest import write_manifest
from codec.export.packages import require
from codec.files import PathLike
from codec.presets import load_keras

if TYPE_CHECKING:
    from codec.export.signatures import Signatures
    from codec.export.specs import ArraySpec, FunctionSpec


def export_saved_model(model: PathLike, directory: PathLike, force: bool = False) -> None:
    """Write a preset as a TensorFlow SavedModel.

    Args:
        model: name of a preset, or the directory of one.
        directory: where the SavedModel and its manifest go; a new directory.
        force: replace an earlier export at `directory`.

    Raises:
        PresetError: the model cannot be read.
        CodecError: a package is missing, or `directory` cannot be written, or it exists and may not be replaced.
    """
    require("export", "tensorflow", extra="train")
    from codec.export.signatures import Signatures

    with replacing_export(directory, force) as new:
        signatures = Signatures(load_keras(model))
        write_saved_model(signatures, new)
        write_manifest(new, {"format": "saved-model"}, signatures.codec, signatures.functions())


def write_saved_model(signatures: Signatures, directory: Path) -> None:
    """Trace the four functions and write them with the weights into a directory.

    Raises:
        CodecError: Keras does not run on TensorFlow, or the directory cannot be written.
    """
    import keras
    import tensorflow as tf

    from codec.network.weights import shipped_weights

    if keras.backend.backend() != "tensorflow":
        raise CodecError(
            f"export needs Keras on TensorFlow, found it on {keras.backend.backend()}: "
            "set KERAS_BACKEND=tensorflow"
        )
    module = tf.Module()
    parts = shipped_weights(signatures.codec)
    module.weights = [weight.value for part in parts.values() for weight in part.values()]
    traced = {
        name: tf.function(
            getattr(signatures, name), input_signature=_input_signature(function), autograph=False
        ).get_concrete_function()
        for name, function in signatures.functions().items()
    }
    try:
        tf.saved_model.save(module, str(directory), signatures=traced)
    except tf.errors.OpError as error:
        raise CodecError(f"{directory.parent}: cannot be written: {error.message}") from error


def _input_signature(function: FunctionSpec) -> list[Any]:
    """Return the arguments of a function as TensorSpecs, whose names become the names of the inputs."""
    inputs: list[Any] = [_tensor_spec(name, spec) for name, spec in function.inputs.items()]
    state = {name: _tensor_spec(name, spec) for name, spec in function.state.items()}
    return [*inputs, state] if state else inputs


def _tensor_spec(name: str, spec: ArraySpec) -> Any:
    import tensorflow as tf

    shape = [None if isinstance(size, str) else size for size in spec.shape]
    return tf.TensorSpec(shape, spec.dtype, name)
