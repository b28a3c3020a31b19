"""The codec as a SavedModel or a LiteRT file, for programs that have neither Python nor this library.

Either holds four functions, with named inputs and outputs; `batch` is any number of channels or streams side by side:

    encode       audio [batch, time, 1]                     -> codes [batch, frame, codebook]
    decode       codes [batch, frame, codebook]             -> audio [batch, frame * hop_length - latency, 1]
    encode_step  audio [batch, hop_length, 1] and the state -> codes [batch, 1, codebook] and the state after it
    decode_step  codes [batch, 1, codebook] and the state   -> audio [batch, hop_length, 1] and the state after it

`encode` and `decode` take a whole signal of any length and mean by its codes what a .lam file does: the prediction
begins anew with each second. A step is one frame; what comes out of `decode_step` is `latency` samples late. The state
comes out under the names it goes in by, and begins as zeros, except that `noise` differs between channels; who wants
the codes of a file sets `base` to zeros before each second. All codebooks come out. Of a lower bitrate the first few
are kept, at least those of the base, and -1 goes in where codes are missing. `manifest.json` beside the model says
this with the model's numbers.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codec.dsp import NOISE_APART, NOISE_PERIOD
from codec.errors import CodecError
from codec.files import PathLike, naming_errors
from codec.presets import load_keras, model_id

if TYPE_CHECKING:
    from codec.export.signatures import Graphs, Named

MANIFEST = "manifest.json"
LITERT_FILE = "model.tflite"
MOST_OTHER_CODES, MOST_ERROR = 0.02, 0.02  # of what is converted: near ties and rounding, not garbage
SIGNATURES = ("encode", "decode", "encode_step", "decode_step")
UNITS = {
    "audio": "float32 samples at sample_rate, full scale 1; stereo as (left + right) / 2 and (left - right) / 2",
    "codes": "int32, 0 to codebook_size - 1; in what is decoded, -1 where a lower bitrate has none",
    "state": "float32: what the step before gave under this name, zeros before the first",
    "pulses": "int32, of the state",
    "noise": "int32, of the state; in channel n it begins as n * noise_apart % noise_period",
}


def export_saved_model(model: PathLike, directory: PathLike, force: bool = False) -> None:
    """Write a preset, given by name or directory, as a TensorFlow SavedModel.

    Raises PresetError for a model that cannot be read, CodecError where `directory` cannot be written or is there
    already: with `force` an earlier export is replaced, and nothing else.
    """
    from codec.export.signatures import Graphs

    with _new_directory(directory, force) as new:
        codec = load_keras(model)
        graphs = Graphs(codec, codec.encoder.analysis, codec.decoder.synthesis)
        _write_saved_model(graphs, new)
        _write_manifest(graphs, new, "saved-model")


def export_litert(model: PathLike, directory: PathLike, force: bool = False) -> None:
    """Write a preset, given by name or directory, as a LiteRT model: `model.tflite` in a directory.

    The converter has been known to give garbage without a word, so what it made is run and compared before it is kept.
    The weights are float32. On four clips of speech at 6 kbit/s the log-mel distance was 1.34, and 1.34 without export.
    Those of float16, which has windows, waves and distances of codewords rounded too, gave 1.40, int8 ones 4.2.

    Raises as `export_saved_model` does, CodecError also where what was converted does not work.
    """
    from codec.export.signatures import Graphs, ProductAnalysis, ProductSynthesis

    _need_litert()
    with _new_directory(directory, force) as new:
        codec = load_keras(model)
        graphs = Graphs(codec, ProductAnalysis(codec.config), ProductSynthesis(codec.config))
        _write_saved_model(graphs, new / "saved-model")
        content = _converted(new / "saved-model")
        shutil.rmtree(new / "saved-model")
        _check_converted(graphs, content)
        (new / LITERT_FILE).write_bytes(content)
        _write_manifest(graphs, new, "litert")


@contextlib.contextmanager
def _new_directory(directory: PathLike, force: bool) -> Iterator[Path]:
    """Yield a new directory that takes its place at the end, or is removed after any error."""
    target = Path(os.path.realpath(directory))
    if os.path.lexists(target):
        if not (target / MANIFEST).is_file():
            raise CodecError(f"{directory} exists and is no export; name a new folder")
        if not force:
            raise CodecError(f"{directory} exists; --force overwrites it")
    beside, old = (
        target.with_name(f".{target.name[:64]}.{secrets.token_hex(4)}.{end}") for end in ("part", "old")
    )
    with naming_errors(directory):
        try:
            beside.mkdir()
            yield beside
            if target.exists():
                target.rename(old)
            beside.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            if old.exists() and not target.exists():
                old.rename(target)
            shutil.rmtree(beside, ignore_errors=True)


def _need_litert() -> None:
    """Raise CodecError where the package is missing that runs what is converted."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        raise CodecError("export to LiteRT needs the package that runs it: pip install ai-edge-litert")


def _write_saved_model(graphs: Graphs, directory: Path) -> None:
    import keras
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        raise CodecError(f"export needs Keras on TensorFlow, found it on {keras.backend.backend()}")
    archive = keras.export.ExportArchive()
    archive.track(graphs.codec)
    for name in SIGNATURES:
        archive.add_endpoint(name, getattr(graphs, name), input_signature=_inputs(graphs)[name])
    try:
        archive.write_out(str(directory), verbose=False)
    except tf.errors.OpError as error:
        raise CodecError(f"{directory.parent}: cannot be written: {error.message}") from error


def _inputs(graphs: Graphs) -> dict[str, list[Any]]:
    """What each function takes, as TensorSpecs; their names become those of the inputs."""
    import tensorflow as tf

    def spec(name: str, value: Any, *shape: int | None) -> Any:
        return tf.TensorSpec((None, *shape), value.dtype, name)

    def state(tensors: Named) -> dict[str, Any]:
        return {name: spec(name, tensor, *tensor.shape[1:]) for name, tensor in tensors.items()}

    config, codes, audio = graphs.config, np.zeros(0, np.int32), np.zeros(0, np.float32)
    return {
        "encode": [spec("audio", audio, None, 1)],
        "decode": [spec("codes", codes, None, config.num_codebooks)],
        "encode_step": [spec("audio", audio, config.hop_length, 1), state(graphs.encoder_state(1))],
        "decode_step": [spec("codes", codes, 1, config.num_codebooks), state(graphs.decoder_state(1))],
    }


def _converted(saved_model: Path) -> bytes:
    """The LiteRT model of a SavedModel, of LiteRT's own operations alone."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=list(SIGNATURES))
    content: bytes = converter.convert()
    return content


def _check_converted(graphs: Graphs, content: bytes) -> None:
    """Raise CodecError unless a LiteRT model makes of half a second of noise what the model itself does."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter, config = Interpreter(model_content=content), graphs.config
    noise = np.random.default_rng(0).standard_normal((1, config.sample_rate // 2, 1)).astype(np.float32)
    codes = np.asarray(graphs.encode(0.1 * noise)["codes"])
    found = interpreter.get_signature_runner("encode")(audio=0.1 * noise)["codes"]
    if found.shape != codes.shape or np.mean(found != codes) > MOST_OTHER_CODES:
        raise CodecError(f"the converted model codes otherwise: {np.mean(found != codes):.1%} other codes")
    audio = np.asarray(graphs.decode(codes)["audio"])
    found = interpreter.get_signature_runner("decode")(codes=codes)["audio"]
    error = np.sqrt(np.mean((found - audio) ** 2) / np.mean(audio**2))
    if not error <= MOST_ERROR:
        raise CodecError(f"the converted model decodes otherwise: an error of {error:.1%}")


def _write_manifest(graphs: Graphs, directory: Path, kind: str) -> None:
    """What a program must know that uses the export."""
    config = graphs.config
    facts = {
        "format": kind,
        "model_id": model_id(graphs.codec).hex(),
        "sample_rate": config.sample_rate,  # Hz
        "hop_length": config.hop_length,  # samples of a frame
        "latency": graphs.codec.latency,  # samples
        "frames_per_second": config.reset_interval,  # after which `base` becomes zeros
        "num_codebooks": config.num_codebooks,
        "base_codebooks": config.base_codebooks,
        "codebook_size": config.codebook_size,
        "noise_apart": NOISE_APART,  # spectral frames, two of which are a frame
        "noise_period": NOISE_PERIOD,
        "units": UNITS,
        "functions": _functions(graphs),
    }
    (directory / MANIFEST).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _functions(graphs: Graphs) -> dict[str, dict[str, dict[str, list[int | str]]]]:
    """Of each function the inputs and outputs by name, with their shapes."""
    config = graphs.config
    before, after = (
        {name: ["batch", *tensor.shape[1:]] for name, tensor in state.items()}
        for state in (graphs.encoder_state(1), graphs.decoder_state(1))
    )
    audio, codes = ["batch", "time", 1], ["batch", "frame", config.num_codebooks]
    sound, frame = ["batch", config.hop_length, 1], ["batch", 1, config.num_codebooks]
    return {
        "encode": {"inputs": {"audio": audio}, "outputs": {"codes": codes}},
        "decode": {"inputs": {"codes": codes}, "outputs": {"audio": audio}},
        "encode_step": {"inputs": {"audio": sound, **before}, "outputs": {"codes": frame, **before}},
        "decode_step": {"inputs": {"codes": frame, **after}, "outputs": {"audio": sound, **after}},
    }
