"""Models on disk: a preset is a directory, found by name among the shipped ones or by path.

config.json            the sizes, see `codec.config`
weights.safetensors    float16, where that can hold them; read without executing anything
prior.safetensors      whole numbers that tell how likely codes are (`codec.bitstream.prior`); not every model has it
card.md                data, licence, figures and limits, for people
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from codec.config import CodecConfig
from codec.errors import PresetError
from codec.runtime.beam_search import CANDIDATES

if TYPE_CHECKING:
    import keras

    from codec.bitstream.prior import Prior
    from codec.network.codec import Codec
    from codec.runtime.codec import NumpyCodec

DEFAULT_PRESET = "lamella-48k"
PRIOR = "prior.safetensors"
TRAINING_ONLY = ("counts", "sums")  # the moving averages behind a codebook, not needed to code


Shapes = dict[str, tuple[int, ...]]


class Preset(NamedTuple):
    """A shipped model: its name, where it is, and the first line of its card."""

    name: str
    path: Path
    description: str


def _assets() -> Path:
    """The folder of shipped models: inside the installed package, or beside it in a checkout."""
    installed = Path(__file__).parents[1] / "assets"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "assets"


def samples() -> Path:
    """The folder of shipped audio clips."""
    return _assets() / "samples"


def list_presets() -> list[Preset]:
    """Every shipped model, by name."""
    return [
        Preset(path.parent.name, path.parent, _first_line(path.parent / "card.md"))
        for path in sorted(_assets().glob("*/config.json"))
    ]


def _first_line(card: Path) -> str:
    lines = card.read_text(encoding="utf-8").splitlines() if card.is_file() else []
    return next((line.lstrip("# ").strip() for line in lines if line.strip()), "")


def find_preset(name: str | os.PathLike[str]) -> Path:
    """The directory of a preset given by name or path; raises PresetError naming the known ones."""
    if Path(name).joinpath("config.json").is_file():
        return Path(name)
    known = {preset.name: preset.path for preset in list_presets()}
    if str(name) not in known:
        listed = ", ".join(known) or "none"
        raise PresetError(
            f"no model '{name}': neither a directory with a config.json nor a shipped preset ({listed})"
        )
    return known[str(name)]


def load_keras(name: str | os.PathLike[str] = DEFAULT_PRESET, dtype: str = "float32") -> Codec:
    """Load a model by name or directory, to train or to use in Keras; raises PresetError as `read_preset` does."""
    from codec.network.codec import Codec

    config, tensors = read_preset(name)
    codec = Codec(config, dtype=dtype)
    codec.prior = read_prior(name, config)
    for weight_name, weight in shipped_weights(codec).items():
        weight.assign(tensors[weight_name])
    codec.quantizer.start(codec.quantizer.codebooks)
    return codec


def load(name: str | os.PathLike[str] = DEFAULT_PRESET, candidates: int = CANDIDATES) -> NumpyCodec:
    """Load a model by name or directory, to code and decode without Keras; raises PresetError as `read_preset` does.

    With more `candidates` it searches longer and finds better codes, see
    `codec.runtime.beam_search`; with one, those of `load_keras`.
    """
    from codec.runtime.codec import NumpyCodec

    config, weights = read_preset(name)
    return NumpyCodec(config, weights, candidates, read_prior(name, config))


def read_preset(name: str | os.PathLike[str]) -> tuple[CodecConfig, dict[str, np.ndarray]]:
    """A preset's config, and its weights by name, as they are stored: float16.

    Raises PresetError where its files are missing, damaged or do not fit each other.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    from codec.architecture import weight_shapes

    directory = find_preset(name)
    try:
        text = (directory / "config.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PresetError(f"{directory / 'config.json'} cannot be read: {error}") from error
    config, path = CodecConfig.from_json(text), directory / "weights.safetensors"
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise PresetError(f"{path} cannot be read: {error}") from error
    _check_shapes({name: array.shape for name, array in tensors.items()}, weight_shapes(config), path)
    return config, tensors


def read_prior(name: str | os.PathLike[str], config: CodecConfig) -> Prior | None:
    """The prior of a preset of this config, or None; raises PresetError where it is damaged or of another size."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    from codec.bitstream.prior import Prior

    path = find_preset(name) / PRIOR
    if not path.is_file():
        return None
    try:
        prior = Prior(load_file(path))
    except (OSError, SafetensorError, ValueError) as error:
        raise PresetError(f"{path} cannot be used: {error}") from error
    found, expected = (prior.num_codebooks, prior.codebook_size), (config.num_codebooks, config.codebook_size)
    if found != expected:
        raise PresetError(f"{path}: (codebooks, codewords) {found}, expected {expected} as in the config")
    return prior


def save_preset(codec: Codec, directory: str | os.PathLike[str], card: str) -> None:
    """Write a preset; `card` is Markdown whose first line describes the model."""
    from safetensors.numpy import save

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / PRIOR).unlink(missing_ok=True)  # never that of other weights
    _write(directory / "weights.safetensors", save(_stored(codec)))
    _write(directory / "config.json", codec.config.to_json().encode())
    _write(directory / "card.md", card.encode())
    if codec.prior is not None:
        save_prior(codec.prior.arrays, directory)


def save_prior(arrays: Mapping[str, np.ndarray], directory: str | os.PathLike[str]) -> None:
    """Give a preset its prior, from then on part of its identity."""
    from safetensors.numpy import save

    _write(Path(directory) / PRIOR, save(dict(arrays)))


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(content)
    beside.replace(path)


def model_id(codec: Codec | NumpyCodec) -> bytes:
    """The first 8 bytes of the SHA-256 of config, shipped weights and prior: files name their model by it."""
    digest = hashlib.sha256(codec.config.to_json().encode())
    prior = codec.prior.arrays if codec.prior is not None else {}
    for tensors in (_stored(codec), prior):
        for name, value in sorted(tensors.items()):
            digest.update(name.encode())
            digest.update(value.tobytes())
    return digest.digest()[:8]


def _stored(codec: Codec | NumpyCodec) -> dict[str, np.ndarray]:
    """The weights as a preset holds them: float16, or float32 for a tensor with a number beyond 65,504."""
    from codec.runtime.codec import NumpyCodec

    weights = codec.weights if isinstance(codec, NumpyCodec) else shipped_weights(codec)
    return {name: _halved(np.asarray(weight)) for name, weight in weights.items()}


def _halved(weight: np.ndarray) -> np.ndarray:
    """A weight as a preset holds it; one read from a preset is so already, and millions of numbers take their time."""
    if weight.dtype == np.float16:
        return weight
    with np.errstate(over="ignore"):
        half = weight.astype(np.float16)
    return half if np.isfinite(half).all() else weight.astype(np.float32)


def shipped_weights(codec: Codec) -> dict[str, keras.Variable]:
    """The weights a preset holds, by name."""
    weights = named_weights(codec)
    return {name: weight for name, weight in weights.items() if name.rsplit(".", 1)[-1] not in TRAINING_ONLY}


def named_weights(codec: Codec) -> dict[str, keras.Variable]:
    """Every weight by its place in the structure, such as `encoder.fine.layers.0.layer.kernel`."""
    return dict(_walk(codec, ""))


def _walk(layer: keras.layers.Layer, prefix: str) -> Iterator[tuple[str, keras.Variable]]:
    """Keras' own variable paths carry counters of the process; names by structure do not."""
    inner: set[int] = set()
    for name, child in _children(layer):
        inner.update(id(weight) for weight in child.weights)
        yield from _walk(child, f"{prefix}{name}.")
    yield from ((prefix + weight.name, weight) for weight in layer.weights if id(weight) not in inner)


def _children(layer: keras.layers.Layer) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Layers held in public attributes, or in lists of them."""
    import keras

    for name, value in vars(layer).items():
        parts = enumerate(value) if isinstance(value, list) else [(None, value)]
        for number, part in parts:
            if isinstance(part, keras.layers.Layer) and not name.startswith("_"):
                yield (name if number is None else f"{name}.{number}"), part


def _check_shapes(found: Shapes, expected: Shapes, path: Path) -> None:
    """Raise PresetError on missing, unknown or misshapen tensors."""
    if found.keys() != expected.keys():
        odd = sorted(found.keys() ^ expected.keys())
        raise PresetError(
            f"{path} does not fit its config: {len(odd)} tensors missing or unknown, first {odd[0]}"
        )
    for name, shape in expected.items():
        if found[name] != shape:
            raise PresetError(f"{path}: {name} has shape {found[name]}, expected {shape}")
