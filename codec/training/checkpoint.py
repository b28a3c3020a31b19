"""The state of a training run in one file, from which it goes on as if it had never stopped.

    checkpoint.safetensors     master, average    the trained weights in one vector, and its moving average
                               weights.*          the codec, statistics and codebook averages included
                               optimizer.*        the optimizer's own
                               metadata           progress, recipe and config as JSON

One file, written beside and renamed, so a run that dies while writing leaves the state before.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
from keras import ops

from codec.config import CodecConfig
from codec.errors import PresetError
from codec.presets import named_weights
from codec.training.recipe import Recipe
from codec.training.steps import Trainee

NAME = "checkpoint.safetensors"


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run is: the next step, in which stage, and the seconds spent training."""

    stage: str = "warm-up"
    step: int = 0
    seconds: float = 0.0
    joint_since: float = 0.0  # seconds at which the joint stage began
    audio_seconds: float = 0.0  # of audio seen


def state_variables(trainee: Trainee) -> dict[str, keras.Variable]:
    """Every variable of a run by name."""
    return {
        "master": trainee.master,
        "average": trainee.average,
        **{f"weights.{name}": weight for name, weight in named_weights(trainee.codec).items()},
        **{f"optimizer.{i}": variable for i, variable in enumerate(trainee.optimizer.variables)},
    }


def save_checkpoint(folder: Path, trainee: Trainee, progress: Progress, recipe: Recipe) -> None:
    """Write the state of a run; the file before it stays until this one is whole."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    metadata = {
        "progress": json.dumps(dataclasses.asdict(progress)),
        "recipe": json.dumps(dataclasses.asdict(recipe)),
        "config": trainee.codec.config.to_json(),
    }
    beside = folder / (NAME + ".part")
    tensors = {
        name: np.array(ops.convert_to_numpy(value)) for name, value in state_variables(trainee).items()
    }
    save_file(tensors, beside, metadata=metadata)
    beside.replace(folder / NAME)


def read_progress(folder: Path) -> tuple[Progress, CodecConfig] | None:
    """How far the run in a folder is, and its model's sizes; None where there is none."""
    from safetensors import SafetensorError, safe_open

    if not (folder / NAME).is_file():
        return None
    try:
        with safe_open(folder / NAME, framework="numpy") as file:
            metadata = file.metadata()
        return Progress(**json.loads(metadata["progress"])), CodecConfig.from_json(metadata["config"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise PresetError(f"{folder / NAME} is not a checkpoint of this version: {error}") from error


def load_checkpoint(folder: Path, trainee: Trainee) -> None:
    """Put the stored state into a trainee of the same sizes; raises PresetError where it does not fit."""
    from safetensors.numpy import load_file

    tensors, targets = load_file(folder / NAME), state_variables(trainee)
    if set(tensors) != set(targets):
        odd = sorted(set(tensors) ^ set(targets))
        raise PresetError(
            f"{folder / NAME} does not fit the model: {len(odd)} tensors differ, first {odd[0]}"
        )
    for name, target in targets.items():
        target.assign(tensors[name].astype(target.dtype))
