"""What a long-running verb says on stderr: lines, and on a terminal a status below them that changes in place."""

from __future__ import annotations

import shutil
import sys
import time

import click

CLEAR = "\r\x1b[K"  # back to the start of the terminal's line, and empty it
PAUSE = 0.5  # seconds between two statuses


class Status:
    """Says lines, and shows the present status on a terminal; `quiet` says nothing at all."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.terminal = not quiet and sys.stderr.isatty()
        self.screen = self.show if self.terminal else None
        self.shown_at = 0.0

    def say(self, line: str) -> None:
        """Write a line that stays."""
        if not self.quiet:
            click.echo((CLEAR if self.terminal else "") + line, err=True)

    def show(self, line: str) -> None:
        """Put the status in place of the last one, cut to the terminal's width."""
        now = time.monotonic()
        if now - self.shown_at >= PAUSE:
            self.shown_at = now
            click.echo(CLEAR + line[: shutil.get_terminal_size().columns - 1], nl=False, err=True)

    def clear(self) -> None:
        """Leave an empty line for what comes next."""
        if self.terminal:
            click.echo(CLEAR, nl=False, err=True)
