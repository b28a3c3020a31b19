"""The state of a training run in one file, from which it goes on as if it had never stopped.

    checkpoint.safetensors     master, average    the trained weights in one vector, and its moving average
                               weights.*          the codec, statistics and codebook averages included
                               optimizer.*        the optimizer's own
                               metadata           progress, recipe and config as JSON; CRC-32 of the tensors

A stage of training names its variables; these are those of the joint stage.

One file, written beside and renamed, so a run that dies while writing leaves the state before.
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
from codec.training.recipe import Recipe
from codec.training.steps import Stage

NAME = "checkpoint.safetensors"


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run is: the next step, in which stage, and the seconds spent training."""

    stage: str = "warm-up"
    step: int = 0
    seconds: float = 0.0
    since: float = 0.0  # seconds at which the stage began
    since_step: int = 0  # step at which it began
    audio_seconds: float = 0.0  # of audio seen
    mel_before: float = 0.0  # held-out log-mel distance before the decoder stage, mean over the rates


def save_checkpoint(
    folder: Path, stage: Stage, config: CodecConfig, progress: Progress, recipe: Recipe
) -> None:
    """Write the state of a run; the file before it stays until this one is whole, and where it cannot be written.

    Raises:
        CodecError: the folder cannot be written to, or the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    tensors = {name: np.array(ops.convert_to_numpy(value)) for name, value in stage.state().items()}
    metadata = {
        "progress": json.dumps(dataclasses.asdict(progress)),
        "recipe": json.dumps(dataclasses.asdict(recipe)),
        "config": config.to_json(),
        "crc32": str(_checksum(tensors)),
    }
    beside = folder / (NAME + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, beside, metadata=metadata)
        beside.replace(folder / NAME)
    except (SafetensorError, OSError) as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise CodecError(f"{folder / NAME} cannot be written: {error}") from error


def _checksum(tensors: dict[str, np.ndarray]) -> int:
    """CRC-32 over all tensors in the order of their names."""
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(np.ascontiguousarray(tensors[name]).data, crc)
    return crc


def read_progress(folder: Path) -> tuple[Progress, CodecConfig] | None:
    """How far the run in a folder is, and its model's sizes; None where there is none.

    Raises:
        PresetError: what is there cannot be read.
    """
    if not (folder / NAME).is_file():
        return None
    with _opened(folder) as file:
        metadata = file.metadata() or {}
    try:
        return Progress(**json.loads(metadata["progress"])), CodecConfig.from_json(metadata["config"])
    except (KeyError, TypeError, ValueError, PresetError) as error:
        raise PresetError(f"{folder / NAME} is not a checkpoint of this version: {error}") from error


def load_checkpoint(folder: Path, stage: Stage) -> None:
    """Put the stored state into a stage of the same sizes.

    Raises:
        PresetError: the file is damaged or does not fit; the stage is then as it was.
    """
    with _opened(folder) as file:
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


Shapes = dict[str, tuple[int, ...]]


def _require_same(found: Shapes, expected: Shapes, path: Path) -> None:
    """Raise PresetError unless the tensors of a file are those of the model."""
    odd = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if odd:
        first = f"{odd[0]}: found {found.get(odd[0])}, expected {expected.get(odd[0])}"
        raise PresetError(f"{path} does not fit the model: {len(odd)} tensors differ, first {first}")


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[Any]:
    """The file, open to read tensors and metadata from; PresetError where that cannot be done."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / NAME, framework="numpy") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise PresetError(f"{folder / NAME} is damaged: {error}") from error
