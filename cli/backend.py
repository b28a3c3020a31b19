"""What computes: numpy on one core for coding, Keras and its backend for training and export."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from codec.training.replicas import Replicas


def use_one_core() -> None:
    """Keep numpy, which must not be imported yet, to one thread: a second one doubled the work and saved no time."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def load_backend(say: Callable[[str], None]) -> Replicas:
    """Import Keras and its backend for training, JAX where TensorFlow is not installed; find what trains together.

    TensorFlow is set up by what makes it quicker in training and is not wanted anywhere else. It writes to stderr
    meanwhile, whatever it is told; that is dropped. What takes so long is told to `say`.

    Raises ClickException, saying what to install, where there is nothing to train with, and CodecError where TF_CONFIG
    cannot be used.
    """
    if not (_installed("keras") and (_installed("tensorflow") or _installed("jax"))):
        words = "training needs Keras, and TensorFlow or JAX: pip install keras tensorflow"
        raise click.ClickException(words)
    from cli.silence import silent_stderr

    say("starting; the first steps come in about two minutes")
    if not _installed("tensorflow"):
        os.environ.setdefault("KERAS_BACKEND", "jax")
    cores = os.cpu_count() or 2
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "2")  # the two halves of a batch side by side,
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, cores // 2)))  # each with half the cores
    with silent_stderr():
        from codec.training.replicas import find_replicas

        return find_replicas()


def load_tensorflow() -> None:
    """Import TensorFlow for Keras, with what it writes to stderr dropped.

    Raises ClickException, saying what to install, where it is missing.
    """
    if not (_installed("keras") and _installed("tensorflow")):
        raise click.ClickException("export needs TensorFlow and Keras: pip install keras tensorflow")
    from cli.silence import silent_stderr

    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with silent_stderr():
        import keras  # noqa: F401


def _installed(package: str) -> bool:
    """Say whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None
