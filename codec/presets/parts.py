"""The weights of a model in the files of a preset: one safetensors file for each part."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from codec.architecture import Shapes, weight_shapes
from codec.errors import PresetError

if TYPE_CHECKING:
    from codec.config import CodecConfig
    from codec.network import Codec
    from codec.protocol import StreamingCodec

Tensors = dict[str, np.ndarray]
TYPES = ("F16", "F32")  # of stored weights


class StoredParts(Mapping[str, Tensors]):
    """The weights of a preset by part and name, as they are stored. Each file is read on first use.

    The constructor opens all files and checks their headers. So a damaged preset is refused early, and the parts
    belong together even if the preset is replaced before they are read.

    Raises:
        PresetError: a file is missing, damaged or does not fit the config.
    """

    def __init__(self, folder: Path, config: CodecConfig) -> None:
        shapes = weight_shapes(config)
        self._files = {part: _opened(part_path(folder, part), shapes[part]) for part in shapes}
        self._tensors: dict[str, Tensors] = {}
        self._lock = threading.Lock()

    def __getitem__(self, part: str) -> Tensors:
        with self._lock:
            if part not in self._tensors:
                self._tensors[part] = _read(self._files[part])
                del self._files[part]
            return self._tensors[part]

    def __iter__(self) -> Iterator[str]:
        return iter((*self._tensors, *self._files))

    def __len__(self) -> int:
        return len(self._tensors) + len(self._files)


def part_path(folder: Path, part: str) -> Path:
    """Return the path of the file that holds the weights of a part."""
    return folder / f"{part}.safetensors"


def read_part(folder: Path, part: str, config: CodecConfig) -> Tensors:
    """Read the weights of one part; raise PresetError as `StoredParts` does."""
    return _read(_opened(part_path(folder, part), weight_shapes(config)[part]))


def read_tensors(path: Path) -> Tensors:
    """Read all tensors of a safetensors file; raise PresetError if it is missing or damaged."""
    return _read(_opened(path, None))


def weights_of(model: StreamingCodec) -> Mapping[str, Mapping[str, Any]]:
    """Return the weights of a model that a preset stores, by part and name."""
    parts: Mapping[str, Tensors] | None = getattr(model, "parts", None)  # a NumpyCodec has them at hand
    if parts is not None:
        return parts
    from codec.network.weights import shipped_weights

    return shipped_weights(cast("Codec", model))


def stored(weights: Mapping[str, Any]) -> Tensors:
    """Return weights as a preset stores them: float16, or float32 for a tensor with a number beyond 65,504."""
    return {name: _halved(np.asarray(weight)) for name, weight in weights.items()}


def _halved(weight: np.ndarray) -> np.ndarray:
    if weight.dtype == np.float16:
        return weight
    with np.errstate(over="ignore"):
        half = weight.astype(np.float16)
    return half if np.isfinite(half).all() else weight.astype(np.float32)


def _opened(path: Path, shapes: Shapes | None) -> Any:
    """Open a safetensors file and check its header, without reading its data."""
    from safetensors import SafetensorError, safe_open

    try:
        file = safe_open(path, framework="numpy")
    except (OSError, SafetensorError) as error:
        raise PresetError(f"{path} cannot be read: {error}") from error
    if shapes is not None:
        _check(file, shapes, path)
    return file


def _check(file: Any, shapes: Shapes, path: Path) -> None:
    """Raise PresetError for missing or unknown tensors, or those with another shape or type."""
    names = set(file.keys())
    for words, odd in (("missing", shapes.keys() - names), ("unknown", names - shapes.keys())):
        if odd:
            more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
            listed = ", ".join(sorted(odd)[:3]) + more
            raise PresetError(f"{path} does not fit its config: {words} tensors: {listed}")
    for name, expected in shapes.items():
        tensor = file.get_slice(name)
        if tuple(tensor.get_shape()) != expected:
            raise PresetError(f"{path}: {name} has shape {tuple(tensor.get_shape())}, expected {expected}")
        if tensor.get_dtype() not in TYPES:
            raise PresetError(f"{path}: {name} is {tensor.get_dtype()}, expected {' or '.join(TYPES)}")


def _read(file: Any) -> Tensors:
    return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
