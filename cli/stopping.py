"""End the command on Ctrl-C, SIGTERM or SIGHUP: with one line, exit code 1, and no unfinished file."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TypeAlias

from codec.stop_signals import STOP_SIGNALS

Handler: TypeAlias = Callable[[int, "FrameType | None"], object]

PARENT_DIED = getattr(signal, "SIGUSR1", signal.SIGTERM)

_actions: list[Callable[[], object]] = []  # before the end


def end_at_once() -> None:
    """Let a stop signal end this process from now on, whatever it is doing.

    An exception would not do: it can be lost in C code that calls back, and a second signal can interrupt what the
    first one cleans up.
    """
    _handle(_end)


@contextlib.contextmanager
def before_end(action: Callable[[], object]) -> Iterator[None]:
    """While the body runs, call `action` before a stop signal ends this process."""
    _actions.append(action)
    try:
        yield
    finally:
        _actions.remove(action)


def end_with_parent() -> None:
    """Ignore stop signals, and end this process silently when the process that started it has died.

    For the processes of `multiprocessing`. The end is a signal to the main thread, since a second thread could not
    remove a file that the main thread makes in the same moment.
    """
    import multiprocessing
    import threading

    ignore()
    signal.signal(PARENT_DIED, _end)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), PARENT_DIED)

    threading.Thread(target=watch, daemon=True).start()


def raise_interrupts() -> None:
    """Let every stop signal raise KeyboardInterrupt: for verbs that save something when they are stopped."""
    _handle(signal.default_int_handler)


def ignore() -> None:
    """Ignore stop signals from now on."""
    _handle(signal.SIG_IGN)


@contextlib.contextmanager
def handlers_restored() -> Iterator[None]:
    """Restore the handlers of the stop signals after the body."""
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    ignore()
    for action in reversed(_actions):
        with contextlib.suppress(Exception):  # nothing must keep the process from its end
            action()
    if number in STOP_SIGNALS:
        text = "\nError: interrupted\n" if os.isatty(2) else "Error: interrupted\n"  # below a progress bar
        with contextlib.suppress(OSError):  # the terminal may be gone
            os.write(2, text.encode())
    os._exit(1)


def _handle(handler: Handler | signal.Handlers) -> None:
    """Set the handler of the stop signals, but for those that were ignored when the program began, as by `nohup`."""
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def open_closed_descriptors() -> None:
    """Put something that fails when it is used in the place of a standard stream that is closed.

    Otherwise the next file that is opened takes its number, and Python has None for the stream.
    """
    for descriptor, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest free number, which is this one
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
