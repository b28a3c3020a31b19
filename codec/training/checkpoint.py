"""The state of a training run in one file, from which it continues as if it had never stopped.

    checkpoint.safetensors     master, average    the trained weights as one vector, and its moving average
                               optimizer.*        the variables of the optimizer
                               weights.*          the codec, including statistics and codebook averages
                               metadata           version, progress, recipe and config; CRC-32 of the tensors

The stage names its variables (`Stage.state`); these are the joint stage's. The file is replaced only when the new one
is complete, so a run that is killed while writing keeps the state before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from codec.config import CodecConfig
from codec.errors import CodecError, PresetError
from codec.files import replacing
from codec.training.progress import Progress
from codec.training.recipe import Recipe
from codec.training.steps import Stage

NAME = "checkpoint.safetensors"
VERSION = "2"

Shapes = dict[str, tuple[int, ...]]


def save_checkpoint(
    folder: Path, stage: Stage, config: CodecConfig, progress: Progress, recipe: Recipe
) -> None:
    """Write the state of a run in place of the last one.

    Raises:
        CodecError: the folder cannot be written to, or the disk is full; the last file is then as before.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    tensors = {name: np.array(ops.convert_to_numpy(value)) for name, value in stage.state().items()}
    metadata = {
        "version": VERSION,
        "progress": json.dumps(dataclasses.asdict(progress)),
        "recipe": json.dumps(dataclasses.asdict(recipe)),
        "config": config.to_json(),
        "crc32": str(_checksum(tensors)),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / NAME) as beside:
            save_file(tensors, beside, metadata=metadata)
    except (SafetensorError, OSError) as error:
        raise CodecError(f"{folder / NAME} cannot be written: {error}") from error


def _checksum(tensors: dict[str, np.ndarray]) -> int:
    """Return the CRC-32 over all tensors in the order of their names."""
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(np.ascontiguousarray(tensors[name]).data, crc)
    return crc


def read_progress(folder: Path) -> tuple[Progress, CodecConfig] | None:
    """Return how far the run in a folder is, and its model's config; None if there is no run.

    Raises:
        PresetError: the checkpoint is damaged or was written by another version.
    """
    if not (folder / NAME).is_file():
        return None
    with _open(folder) as file:
        metadata = file.metadata() or {}
    version = metadata.get("version", "none")
    try:
        if version != VERSION:
            raise ValueError(f"version {version}, expected {VERSION}")
        return Progress(**json.loads(metadata["progress"])), CodecConfig.from_json(metadata["config"])
    except (KeyError, TypeError, ValueError, PresetError) as error:
        raise PresetError(
            f"{folder / NAME} is not a checkpoint of this version ({error}); "
            f"train into another folder, or delete {folder} and start again"
        ) from error


def load_checkpoint(folder: Path, stage: Stage) -> None:
    """Set the variables of a stage to the stored state.

    Raises:
        PresetError: the file is damaged or does not fit the stage; the variables are then as before.
    """
    with _open(folder) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        expected = (file.metadata() or {}).get("crc32")
    if expected != str(_checksum(tensors)):
        raise PresetError(f"{folder / NAME} is damaged: its checksum is wrong")
    targets = stage.state()
    _require_same(
        {name: array.shape for name, array in tensors.items()},
        {name: tuple(target.shape) for name, target in targets.items()},
        folder / NAME,
    )
    for name, target in targets.items():
        target.assign(tensors[name].astype(target.dtype))


def _require_same(found: Shapes, expected: Shapes, path: Path) -> None:
    """Raise PresetError unless the tensors of a file are those of the stage."""
    odd = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if odd:
        first = f"{odd[0]}: found {found.get(odd[0])}, expected {expected.get(odd[0])}"
        raise PresetError(f"{path} does not fit the model: {len(odd)} tensors differ, first {first}")


@contextlib.contextmanager
def _open(folder: Path) -> Iterator[Any]:
    """Yield the file, open to read tensors and metadata; raises PresetError if that fails."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / NAME, framework="numpy") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise PresetError(f"{folder / NAME} is damaged: {error}") from error
