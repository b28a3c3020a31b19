"""The identity of a model: 8 bytes that stand for the meaning of its codes, and finding a model by them.

It is the start of a SHA-256 over the sizes of the codes (`CodecConfig.codes_json`), the quantizer and the prior. So the
encoder and the decoder of a preset may be improved under the same identity, even made wider, and old files then sound
better.
"""

from __future__ import annotations

import functools
import hashlib
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from codec.errors import PresetError
from codec.files import PathLike
from codec.presets.catalog import (
    CONFIG,
    MODELS_VARIABLE,
    PRIOR,
    find_preset,
    has_prior,
    list_models,
    list_presets,
)
from codec.presets.parts import part_path, read_part, read_prior_arrays, stored, weights_of
from codec.presets.reading import load, read_config

if TYPE_CHECKING:
    from codec.config import CodecConfig
    from codec.protocol import StreamingCodec
    from codec.runtime import NumpyCodec

_identities: weakref.WeakKeyDictionary[StreamingCodec, bytes] = weakref.WeakKeyDictionary()

# Identities that earlier releases wrote for a shipped preset: a hash of all its weights, under their names of then.
EARLIER_IDENTITIES = {"b9cfd9d3245dccac": "lamella-48k"}


def model_id(model: StreamingCodec) -> bytes:
    """Return the identity of a loaded model, 8 bytes, as files name it."""
    if model in _identities:
        return _identities[model]
    prior = {} if model.prior is None else model.prior.arrays
    identity = _digest(model.config, stored(weights_of(model)["quantizer"]), prior)
    if hasattr(model, "parts"):  # the weights of a NumpyCodec never change; those of a Keras model do
        _identities[model] = identity
    return identity


def load_by_identity(identity: bytes, extra: Iterable[PathLike] = (), effort: int = 2) -> NumpyCodec:
    """Load the model with this identity; arguments and errors are those of `find_by_identity` and `load`."""
    model = load(find_by_identity(identity, extra), effort)
    _identities[model] = _current(identity)
    return model


def identity_of(name: PathLike) -> bytes:
    """Return the identity of a model on disk, given by name or folder, without loading all of it.

    Raises:
        PresetError: there is no such model, or it is damaged.
    """
    folder = find_preset(name)
    files = (folder / CONFIG, part_path(folder, "quantizer"), folder / PRIOR)
    return _identity_of(folder.resolve(), tuple(_version(file) for file in files))


def accepts(model: StreamingCodec, identity: bytes) -> bool:
    """Return True if a model decodes files of this identity: its own, or an earlier one of the same preset."""
    return model_id(model) == _current(identity)


def find_by_identity(identity: bytes, extra: Iterable[PathLike] = ()) -> Path:
    """Return the folder of the model with this identity.

    Args:
        identity: 8 bytes, from the header of a file.
        extra: names or folders of models to look at before those of the installation and of LAMELLA_MODELS.

    Raises:
        PresetError: no model has this identity; says which models were looked at, and how to add one.
    """
    wanted, looked_at = _current(identity), list[str]()
    for folder in [*map(find_preset, extra), *(model.path for model in list_models())]:
        try:
            found = identity_of(folder)
        except PresetError as error:
            looked_at.append(f"{folder} ({error})")
            continue
        if found == wanted:
            return folder
        looked_at.append(f"{folder} ({found.hex()})")
    raise PresetError(
        f"no model has the identity {identity.hex()}; looked at {', '.join(looked_at) or 'none'}; name the folder "
        f"of the model that made the file (--model, model=) or put it into a folder listed in {MODELS_VARIABLE}"
    )


def _current(identity: bytes) -> bytes:
    """Return the present identity of the shipped preset with this earlier identity; return others as they are."""
    earlier = EARLIER_IDENTITIES.get(identity.hex())
    if earlier is None:
        return identity
    folders = [preset.path for preset in list_presets() if preset.name == earlier]
    return identity_of(folders[0]) if folders else identity


def _version(file: Path) -> tuple[int, int, int] | None:
    """Return numbers that change when a file is replaced."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=64)
def _identity_of(folder: Path, versions: tuple[tuple[int, int, int] | None, ...]) -> bytes:
    config = read_config(folder)
    prior = read_prior_arrays(folder / PRIOR, config) if has_prior(folder) else {}
    return _digest(config, read_part(folder, "quantizer", config), prior)


def _digest(
    config: CodecConfig, quantizer: Mapping[str, np.ndarray], prior: Mapping[str, np.ndarray]
) -> bytes:
    digest = hashlib.sha256(config.codes_json().encode())
    for tensors in (quantizer, prior):
        for name, value in sorted(tensors.items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(value).data)
    return digest.digest()[:8]
