"""Load models from disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from codec.config import MAX_JSON, CodecConfig
from codec.errors import PresetError, printable
from codec.files import PathLike
from codec.presets.catalog import CONFIG, DEFAULT_PRESET, PRIOR, find_preset, has_prior
from codec.presets.parts import StoredParts, read_prior_arrays

if TYPE_CHECKING:
    from codec.bitstream import Prior
    from codec.network import Codec
    from codec.runtime import NumpyCodec

MAX_EFFORT = 3


def load(name: PathLike = DEFAULT_PRESET, effort: int = 2) -> NumpyCodec:
    """Load a model to code and decode, without a training framework.

    Each part is read when it is used first, so decoding reads no encoder.

    Args:
        name: of a preset, or the folder of a model.
        effort: of the search for codes, 0 to 3: it keeps 1, 2, 4 or 8 candidates. More takes longer and finds better
            codes (`codec.runtime.beam_search`); 0 finds those of `load_keras`.

    Raises:
        PresetError: there is no such model, or its files are missing, damaged or do not fit each other.
        ValueError: there is no such effort.
    """
    from codec.runtime import NumpyCodec

    if effort not in range(MAX_EFFORT + 1):
        raise ValueError(f"`effort` must be a whole number from 0 to {MAX_EFFORT}, found {effort!r}")
    folder = find_preset(name)
    config = read_config(folder)
    return NumpyCodec(config, StoredParts(folder, config), 2**effort, read_prior(folder, config))


def load_keras(name: PathLike = DEFAULT_PRESET, dtype: str = "float32") -> Codec:
    """Load a model as a Keras model, to train it or to take it apart.

    Args:
        name: of a preset, or the folder of a model.
        dtype: policy of the two networks, such as "mixed_bfloat16".

    Raises:
        PresetError: there is no such model, or its files are missing, damaged or do not fit each other.
    """
    from codec.network import Codec
    from codec.network.weights import shipped_weights

    folder = find_preset(name)
    config = read_config(folder)
    parts, codec = StoredParts(folder, config), Codec(config, dtype=dtype)
    codec.prior = read_prior(folder, config)
    for part, weights in shipped_weights(codec).items():
        for weight_name, weight in weights.items():
            weight.assign(parts[part][weight_name])
    codec.quantizer.start(codec.quantizer.codebooks)
    return codec


def read_config(name: PathLike = DEFAULT_PRESET) -> CodecConfig:
    """Return the sizes of a model, given by name or folder; raise PresetError if they cannot be read."""
    path = find_preset(name) / CONFIG
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MAX_JSON + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise PresetError(f"{path} cannot be read: {printable(str(error), 200)}") from error
    try:
        return CodecConfig.from_json(text)
    except PresetError as error:
        raise PresetError(f"{path}: {error}") from error


def read_prior(folder: Path, config: CodecConfig) -> Prior | None:
    """Return the prior of a model, or None if it has none.

    Raises:
        PresetError: the prior is damaged, or its sizes are not those of the config.
    """
    from codec.bitstream import Prior

    path = folder / PRIOR
    if not has_prior(folder):
        return None
    try:
        return Prior(read_prior_arrays(path, config))
    except ValueError as error:
        raise PresetError(f"{path}: {error}") from error
