"""Ctrl-C in a long run: it waits while work is in progress that must be completed."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Self

from codec.stop_signals import STOP_SIGNALS


class Interrupts:
    """Defers KeyboardInterrupt where the program asks for it.

        with Interrupts(say) as interrupts:
            ...                        # Ctrl-C raises KeyboardInterrupt immediately, as usual
            with interrupts.deferred():
                ...                    # runs to its end; KeyboardInterrupt is raised only then

    It applies to every signal for which Python's own handler would raise KeyboardInterrupt: SIGINT, and SIGTERM
    and SIGHUP where the program has set it so. Outside the main thread nothing changes.

    Attributes:
        pending: True after an interrupt that is still deferred; other code may set it to request one.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.signals: list[int] = []
        self.deferring = self.pending = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
            self.signals = [n for n, handler in handlers.items() if handler is signal.default_int_handler]
        for number in self.signals:
            signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number in self.signals:
            signal.signal(number, signal.default_int_handler)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Run the body to its end; then raise KeyboardInterrupt if an interrupt arrived meanwhile."""
        self.deferring = True
        try:
            yield
        finally:
            self.deferring = False
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.deferring:
            raise KeyboardInterrupt
        if not self.pending:
            self.pending = True
            with contextlib.suppress(
                RuntimeError
            ):  # the signal came in the middle of a write to the same stream
                self.say("stopping after this step")
