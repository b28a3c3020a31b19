"""What is said on stderr while a verb works: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

import click

TICKS = 10  # a second of audio


@contextlib.contextmanager
def progress(seconds: float | None, quiet: bool) -> Iterator[Callable[[float], None] | None]:
    """Give what to call with the seconds of audio done so far; None where nobody would see it.

    Args:
        seconds: of audio in all; None if only the end will tell.
        quiet: show nothing even on a terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield None
    elif seconds is None:
        yield lambda done: click.echo(f"\r{done:.0f} s", nl=False, file=sys.stderr)
        click.echo(file=sys.stderr)
    else:
        with click.progressbar(length=max(1, round(seconds * TICKS)), file=sys.stderr) as bar:
            yield lambda done: bar.update(round(done * TICKS) - bar.pos)
