"""What computes: numpy on one core for coding, Keras and its backend for training and export."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator

import click


def use_one_core() -> None:
    """Keep numpy, which must not be imported yet, to one thread: a second one doubled the work and saved no time."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def load_backend(say: Callable[[str], None]) -> None:
    """Import Keras and its backend for training, JAX where TensorFlow is not installed.

    TensorFlow is set up by what makes it quicker in training and is not wanted anywhere else. It writes to stderr
    meanwhile, whatever it is told; that is dropped. What takes so long is told to `say`.

    Raises ClickException, saying what to install, where there is nothing to train with.
    """
    if not (_installed("keras") and (_installed("tensorflow") or _installed("jax"))):
        words = "training needs Keras, and TensorFlow or JAX: pip install keras tensorflow"
        raise click.ClickException(words)
    say("starting; the first steps come in about two minutes")
    if not _installed("tensorflow"):
        os.environ.setdefault("KERAS_BACKEND", "jax")
    cores = os.cpu_count() or 2
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "2")  # the two halves of a batch side by side,
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, cores // 2)))  # each with half the cores
    with silent_stderr():
        import keras  # noqa: F401


def load_tensorflow() -> None:
    """Import TensorFlow for Keras, with what it writes to stderr dropped.

    Raises ClickException, saying what to install, where it is missing.
    """
    if not (_installed("keras") and _installed("tensorflow")):
        raise click.ClickException("export needs TensorFlow and Keras: pip install keras tensorflow")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with silent_stderr():
        import keras  # noqa: F401


def _installed(package: str) -> bool:
    """Say whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Send file descriptor 2 nowhere: C++ code writes to it without asking Python."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
