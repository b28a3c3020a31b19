"""Call a C library with nothing on standard error."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

STANDARD_ERROR = 2


class SilentStandardError:
    """A context in which nothing that this process writes to standard error appears.

    libmpg123 prints its warnings there, and libsndfile offers no way to stop it. The errors that matter are raised by
    our own checks. The context is for calls of some milliseconds, from one thread or several.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_inside = 0
        self._saved: int | None = None

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Enter the context."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def _enter(self) -> None:
        with self._lock:
            self._num_inside += 1
            if self._num_inside > 1:
                return
            with contextlib.suppress(OSError):  # standard error is closed
                self._saved = os.dup(STANDARD_ERROR)
                with open(os.devnull, "wb") as nothing:
                    os.dup2(nothing.fileno(), STANDARD_ERROR)

    def _leave(self) -> None:
        with self._lock:
            self._num_inside -= 1
            if self._num_inside == 0 and self._saved is not None:
                os.dup2(self._saved, STANDARD_ERROR)
                os.close(self._saved)
                self._saved = None
