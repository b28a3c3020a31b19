"""Runs of training of a few steps: one that nothing interrupted, and what is wanted to go on with it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file
from support import tiny_training as tiny

from codec.training import checkpoint, trainer
from codec.training.trainer import train
from codec.training.validation import Validation

RECIPE = tiny.recipe(6)  # after 2 steps of warm-up


class FinishedRun(NamedTuple):
    """A run that nothing interrupted."""

    folder: Path
    output: Path
    said: list[str]
    results: Validation | None


@contextlib.contextmanager
def little_time() -> Iterator[None]:
    """Steps without graphs, which take longer to build than a few steps; short validation."""
    eagerly, patch = tf.config.functions_run_eagerly(), pytest.MonkeyPatch()
    patch.setattr(trainer, "HELD_OUT_SECONDS", 1.0)
    patch.setattr(trainer, "HELD_OUT_COUNT", 2)
    patch.setattr(trainer, "REPORT_SECONDS", 1e9)  # on a busy machine too
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(eagerly)
        patch.undo()


@pytest.fixture(scope="module", autouse=True)
def in_little_time() -> Iterator[None]:
    """For every test of a module that imports this."""
    with little_time():
        yield


def run_to_the_end(folder: Path) -> FinishedRun:
    """Train on a few recordings; both are below `folder`."""
    said = list[str]()
    tiny.recordings(folder / "in")
    with little_time():
        results = train(folder / "in", folder / "model", RECIPE, said.append, config=tiny.CONFIG)
    return FinishedRun(folder / "in", folder / "model", said, results)


def copy_of(run: Path, output: Path) -> Path:
    """A run of one's own, to go on with."""
    (output / "training").mkdir(parents=True)
    for name in ("config.json", "weights.safetensors", "training/checkpoint.safetensors"):
        (output / name).write_bytes((run / name).read_bytes())
    return output


def state(output: Path) -> dict[str, np.ndarray]:
    return load_file(output / "training" / checkpoint.NAME)


def silent(line: str) -> None:
    """Nobody listens."""


def at_step(wanted: int, act: Callable[[], None]) -> Callable[[str], None]:
    """A status that acts once, after a step."""
    return lambda line: act() if line.startswith(f"step {wanted},") else None


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)
