"""Training runs of a few steps: one that ended normally, and helpers to continue it."""

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

from codec.training import checkpoint, reporter
from codec.training.trainer import train
from codec.training.validation import Validation

RECIPE = tiny.recipe(6)  # after 2 steps of warm-up


class FinishedRun(NamedTuple):
    """A run that ended normally."""

    folder: Path
    output: Path
    said: list[str]
    results: Validation | None


@contextlib.contextmanager
def short_time() -> Iterator[None]:
    """Run steps eagerly, because building a graph takes longer than a few steps; no reports by time."""
    eagerly, patch = tf.config.functions_run_eagerly(), pytest.MonkeyPatch()
    patch.setattr(reporter, "REPORT_SECONDS", 1e9)  # so that a busy machine gives no more reports
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(eagerly)
        patch.undo()


@pytest.fixture(scope="module", autouse=True)
def in_short_time() -> Iterator[None]:
    """Apply `short_time` to every test of a module that imports this."""
    with short_time():
        yield


def run_to_the_end(folder: Path) -> FinishedRun:
    """Train on a few recordings; both are below `folder`."""
    said = list[str]()
    tiny.recordings(folder / "in")
    with short_time():
        results = train(folder / "in", folder / "model", RECIPE, said.append, config=tiny.CONFIG)
    return FinishedRun(folder / "in", folder / "model", said, results)


def copy_of(run: Path, output: Path) -> Path:
    """Copy a run, without its prior and its audio cache, so that a test may continue it."""
    (output / "training").mkdir(parents=True)
    for path in (*run.glob("*"), run / "training" / checkpoint.NAME):
        if path.is_file() and path.name != "prior.safetensors":
            (output / path.relative_to(run)).write_bytes(path.read_bytes())
    return output


def state(output: Path) -> dict[str, np.ndarray]:
    """Return the tensors of the last checkpoint."""
    return load_file(output / "training" / checkpoint.NAME)


def different(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> list[str]:
    """Return the names of the tensors that are not the same to the last bit."""
    assert set(found) == set(expected)
    return [name for name in found if not np.array_equal(found[name], expected[name])]


def silent(line: str) -> None:
    """Ignore a line."""


def at_step(wanted: int, act: Callable[[], None]) -> Callable[[str], None]:
    """Return a status display that calls `act` after step `wanted`."""
    return lambda line: act() if line.startswith(f"step {wanted},") else None


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)
