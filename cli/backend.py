"""Loading the network's backend without its chatter."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


def load_backend() -> None:
    """Import Keras and its backend. TensorFlow writes to stderr meanwhile, whatever it is told; that is dropped."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silent_stderr():
        import keras  # noqa: F401


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
