"""A progress bar on stderr, for verbs that read or write one sound."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

import click

TICKS_PER_SECOND = 10  # steps of the bar in a second of audio


@contextlib.contextmanager
def progress_bar(seconds: float | None, quiet: bool) -> Iterator[Callable[[float], None] | None]:
    """Show a progress bar if stderr is a terminal.

    Args:
        seconds: length of the sound; None if it is not known yet, then the bar is a count of seconds.
        quiet: show nothing.

    Yields:
        A function to call with the seconds of audio done so far, or None if nothing is shown.
    """
    if quiet or not sys.stderr.isatty():
        yield None
    elif seconds is None:
        yield lambda done: click.echo(f"\r{done:.0f} s", nl=False, file=sys.stderr)
        click.echo(file=sys.stderr)
    else:
        length = max(1, round(seconds * TICKS_PER_SECOND))
        with click.progressbar(length=length, file=sys.stderr) as bar:
            yield lambda done: bar.update(round(done * TICKS_PER_SECOND) - bar.pos)
