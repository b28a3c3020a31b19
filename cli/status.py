"""Messages of a long-running verb on stderr."""

from __future__ import annotations

import shutil
import sys
import time

import click

CLEAR_LINE = "\r\x1b[K"  # return to the start of the terminal's line and erase it
UPDATE_SECONDS = 0.5  # between two updates of the status line


class Status:
    """Print lines, and on a terminal a status line below them that is updated in place.

    Args:
        quiet: print nothing.

    Attributes:
        updater: `update` on a terminal, else None.
    """

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.terminal = not quiet and sys.stderr.isatty()
        self.updater = self.update if self.terminal else None
        self.updated_at = 0.0

    def print_line(self, line: str) -> None:
        """Print a line that stays."""
        if not self.quiet:
            click.echo((CLEAR_LINE if self.terminal else "") + line, err=True)

    def update(self, line: str) -> None:
        """Replace the status line, cut to the width of the terminal; skip updates that come too soon."""
        now = time.monotonic()
        if now - self.updated_at >= UPDATE_SECONDS:
            self.updated_at = now
            width = shutil.get_terminal_size().columns - 1
            click.echo(CLEAR_LINE + line[:width], nl=False, err=True)

    def clear(self) -> None:
        """Erase the status line."""
        if self.terminal:
            click.echo(CLEAR_LINE, nl=False, err=True)
