"""Loading the network's backend without its chatter."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator


def load_backend() -> None:
    """Import Keras and its backend, JAX where TensorFlow is not installed.

    TensorFlow writes to stderr meanwhile, whatever it is told; that is dropped.
    """
    if importlib.util.find_spec("tensorflow") is None:
        os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silent_stderr():
        import keras  # noqa: F401


def load_backend_for_training() -> None:
    """`load_backend`, with what makes TensorFlow quicker in training and is not wanted anywhere else."""
    cores = os.cpu_count() or 2
    os.environ.setdefault("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "2")  # the two halves of a batch side by side,
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, cores // 2)))  # each with half the cores
    load_backend()


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
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
