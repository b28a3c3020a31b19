"""Ctrl-C in a long run: it waits while something is under way that must not be cut in two."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Self


class Interrupts:
    """Holds KeyboardInterrupt back where the program asks for it.

        with Interrupts(say) as interrupts:
            ...                        # Ctrl-C raises KeyboardInterrupt at once, as ever
            with interrupts.held():
                ...                    # runs to its end, and only then KeyboardInterrupt is raised

    This is about every signal that would raise KeyboardInterrupt by Python's own handler: SIGINT, and SIGTERM where
    the program has set it so. Outside the main thread nothing changes.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.numbers: list[int] = []
        self.holding = self.waiting = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            wanted = (signal.SIGINT, signal.SIGTERM)
            self.numbers = [n for n in wanted if signal.getsignal(n) is signal.default_int_handler]
        for number in self.numbers:
            signal.signal(number, self._arrived)
        return self

    def __exit__(self, *_: object) -> None:
        for number in self.numbers:
            signal.signal(number, signal.default_int_handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Run what stands inside to its end; raises KeyboardInterrupt after it if one came meanwhile."""
        self.holding = True
        try:
            yield
        finally:
            self.holding = False
        if self.waiting:
            self.waiting = False
            raise KeyboardInterrupt

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        if not self.holding:
            raise KeyboardInterrupt
        if not self.waiting:
            self.waiting = True
            with contextlib.suppress(RuntimeError):  # in the middle of a write to the same stream
                self.say("stopping after this step")
