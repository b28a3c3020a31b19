"""The verbs of the command `lamella`, and errors as one line with exit code 1 (2 is a wrong command line)."""

from __future__ import annotations

import os

import click

import codec
from cli.compress import compress
from cli.decompress import decompress
from cli.demo import demo
from cli.errors import one_line
from cli.export import export
from cli.info import info
from cli.models import models
from cli.serve import serve
from cli.thin import thin
from cli.train import train
from cli.verify import verify

EPILOG = """\b
Examples:
  lamella compress talk.wav talk.lam
  lamella decompress talk.lam talk.wav

\b
Environment variables:
  LAMELLA_MODELS       more folders with models, separated by `:`
  LAMELLA_TRACEBACK=1  print a Python traceback for an error in place of one line
"""


class VerbGroup(click.Group):
    """A group of verbs whose errors are one line; with LAMELLA_TRACEBACK=1 they are Python tracebacks."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order in which they were added."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> object:
        """Run the verb; turn every exception that is not click's own into a ClickException."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, SystemExit):
            raise
        except BaseException as error:
            if os.environ.get("LAMELLA_TRACEBACK"):
                raise
            raise click.ClickException(one_line(error)) from error


@click.group(
    cls=VerbGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(codec.__version__, prog_name="lamella")
def lamella() -> None:
    """Compress speech and music to 1.5, 3, 6, 12 or 15 kbit/s with a small neural network."""


for verb in (compress, decompress, info, verify, thin, demo, train, export, models, serve):
    lamella.add_command(verb)
