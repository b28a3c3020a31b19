"""The weights of a model in the files of a preset: one safetensors file for each part."""

from __future__ import annotations

import math
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from codec.architecture import Shapes, weight_shapes
from codec.errors import PresetError, printable, shortened
from codec.presets.catalog import CONFIG

if TYPE_CHECKING:
    from codec.config import CodecConfig
    from codec.network import Codec
    from codec.protocol import StreamingCodec

Tensors = dict[str, np.ndarray]
Layout = Mapping[str, tuple[str, tuple[int, ...]]]  # type, as safetensors names it, and shape of each tensor
NUMPY_TYPES = {"I8": "int8", "I16": "int16", "I32": "int32"}
TYPES = ("F16", "F32")  # of stored weights
EXPONENTS = {"float16": (np.uint16, 0x7C00), "float32": (np.uint32, 0x7F800000)}  # all ones: infinity or NaN
# `lamella-48k` has 9 million weights, and its headers take 5,000 bytes.
MAX_WEIGHTS = 2**27  # of a model
MAX_HEADER = 2**20  # bytes of JSON at the start of a file


class StoredParts(Mapping[str, Tensors]):
    """The weights of a preset by part and name, as they are stored. Each file is read on first use.

    The constructor opens all files and checks their headers. So a damaged preset is refused early, and the parts
    belong together even if the preset is replaced before they are read.

    Raises:
        PresetError: a file is missing, damaged or does not fit the config.
    """

    def __init__(self, folder: Path, config: CodecConfig) -> None:
        shapes = _shapes_of(folder, config)
        self._files = {part: _Opened(part_path(folder, part), _fits(shapes[part])) for part in shapes}
        self._tensors: dict[str, Tensors] = {}
        self._lock = threading.Lock()

    def __getitem__(self, part: str) -> Tensors:
        with self._lock:
            if part not in self._tensors:
                self._tensors[part] = self._files[part].read_weights()
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
    return _Opened(part_path(folder, part), _fits(_shapes_of(folder, config)[part])).read_weights()


def read_prior_arrays(path: Path, config: CodecConfig) -> Tensors:
    """Read the arrays of a prior, whose sizes are checked before; their values are not.

    Raises:
        PresetError: the file is damaged, or the sizes are not those of a prior for the config.
    """
    from codec.bitstream.prior_arrays import check_sizes

    def check(found: Layout) -> None:
        sizes = check_sizes(
            {name: (NUMPY_TYPES.get(kind, kind), shape) for name, (kind, shape) in found.items()}
        )
        counts, expected = (sizes["codebooks"], sizes["size"]), (config.num_codebooks, config.codebook_size)
        if counts != expected:
            raise ValueError(f"(codebooks, codewords) {counts}, expected {expected} as in the config")

    return _Opened(path, check).read()


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


class _Opened:
    """A safetensors file whose header has been checked; its data are not read yet.

    Args:
        path: of the file.
        check: raises ValueError unless these are the expected tensors.

    Raises:
        PresetError: the file is missing or damaged, or it has other tensors.
    """

    def __init__(self, path: Path, check: Callable[[Layout], None]) -> None:
        from safetensors import SafetensorError, safe_open

        _check_file(path)
        self._path = path
        try:
            self._file: Any = safe_open(path, framework="numpy")
            slices = {name: self._file.get_slice(name) for name in self._file.keys()}  # noqa: SIM118
            check({name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()})
        except (OSError, SafetensorError) as error:
            raise PresetError(f"{path} cannot be read: {printable(str(error), 200)}") from error
        except ValueError as error:
            raise PresetError(f"{path}: {error}") from error

    def read(self) -> Tensors:
        """Read all tensors."""
        return {name: self._file.get_tensor(name) for name in self._file.keys()}  # noqa: SIM118

    def read_weights(self) -> Tensors:
        """Read all tensors; raise PresetError if a number is not finite, or a variance is negative."""
        tensors = self.read()
        for name, tensor in tensors.items():
            if not _is_finite(tensor):
                raise PresetError(f"{self._path}: {name} has NaN or infinity, expected finite numbers")
            if name.endswith(".variance") and tensor.min() < 0:
                raise PresetError(f"{self._path}: {name} is {tensor.min():g}, expected no negative number")
        return tensors


def _check_file(path: Path) -> None:
    """Raise PresetError unless a path is a regular file whose header has a size that can be believed.

    Opening a named pipe would wait for ever, and reading a device would never end.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise PresetError(
                f"{path} cannot be read: found a folder, pipe or device, expected a regular file"
            )
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
    except OSError as error:
        raise PresetError(f"{path} cannot be read: {error.strerror or error}") from error
    if size > MAX_HEADER:
        raise PresetError(
            f"{path} cannot be read: a header of {size} bytes, expected at most {MAX_HEADER}, as in a safetensors file"
        )


def _shapes_of(folder: Path, config: CodecConfig) -> dict[str, Shapes]:
    """Return the shapes of all weights by part; raise PresetError for a model that is too large."""
    shapes = weight_shapes(config)
    numbers = sum(math.prod(shape) for part in shapes.values() for shape in part.values())
    if numbers > MAX_WEIGHTS:
        raise PresetError(
            f"{folder / CONFIG}: the sizes give {numbers} weights, expected at most {MAX_WEIGHTS}"
        )
    return shapes


def _fits(shapes: Shapes) -> Callable[[Layout], None]:
    """Return a check that raises ValueError for other names, shapes or types than these weights have."""

    def check(found: Layout) -> None:
        odd = {"missing": shapes.keys() - found.keys(), "unknown": found.keys() - shapes.keys()}
        for words, names in odd.items():
            if names:
                raise ValueError(f"does not fit its config: {words} tensors: {shortened(names)}")
        for name, expected in shapes.items():
            kind, shape = found[name]
            if shape != expected:
                raise ValueError(f"{name} has shape {shape}, expected {expected}")
            if kind not in TYPES:
                raise ValueError(f"{name} is {kind}, expected {' or '.join(TYPES)}")

    return check


def _is_finite(tensor: np.ndarray) -> bool:
    """Return True unless a number is NaN or infinite: its exponent is all ones. `np.isfinite` takes much longer."""
    kind, exponent = EXPONENTS[tensor.dtype.name]
    bits = tensor.view(kind)
    return bool(np.max(bits & kind(exponent), initial=0) < exponent)
