"""Set up numpy for coding, and Keras with its backend for training and export."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from cli.silence import silent_stderr

if TYPE_CHECKING:
    from codec.training.replicas import Replicas


def use_one_core() -> None:
    """Keep numpy to one thread. Must run before numpy is imported; a second thread doubles the work, not the speed."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def load_for_training(report: Callable[[str], None]) -> Replicas:
    """Import Keras with TensorFlow, or with JAX if TensorFlow is not installed, and find the devices to train on.

    TensorFlow gets the settings that make training faster. What it prints while it is imported is hidden.

    Args:
        report: gets a line that explains the wait.

    Raises:
        ClickException: a package is missing; the message gives the pip command.
        CodecError: the environment variable TF_CONFIG cannot be used.
    """
    tensorflow = _is_installed("tensorflow")
    if not _is_installed("keras") or not (tensorflow or _is_installed("jax")):
        raise click.ClickException(
            "training needs TensorFlow: pip install 'lamella[train]' (or JAX: pip install 'lamella[jax]')"
        )
    report("starting; the first training steps take about two minutes to begin")
    if not tensorflow:
        os.environ.setdefault("KERAS_BACKEND", "jax")
    cores = os.cpu_count() or 2
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    # The two halves of a batch run side by side, each with half of the cores.
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "2")
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, cores // 2)))
    with silent_stderr():
        from codec.training.replicas import find_replicas

        return find_replicas()


def use_tensorflow() -> None:
    """Select TensorFlow as the backend of Keras, and let it log only errors. Must run before Keras is imported."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _is_installed(package: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None
