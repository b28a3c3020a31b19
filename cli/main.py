"""The command: its verbs, and what goes wrong in the world as one line and exit code 1 (2 is a wrong command line)."""

from __future__ import annotations

import os
import signal

import click

import codec
from cli.compress import compress
from cli.decompress import decompress
from cli.demo import demo
from cli.export import export
from cli.failures import one_line
from cli.info import info
from cli.models import models
from cli.thin import thin
from cli.train import train
from cli.verify import verify


class Verbs(click.Group):
    """A group whose verbs never end in a traceback; LAMELLA_TRACEBACK=1 shows it all the same."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the verbs in the order of use, not of the alphabet."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> object:
        """Run the verb; raises ClickException (one line, exit code 1) for everything that is not click's own."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, SystemExit):
            raise
        except BaseException as error:
            if os.environ.get("LAMELLA_TRACEBACK"):
                raise
            raise click.ClickException(one_line(error)) from error


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(codec.__version__, prog_name="lamella")
def lamella() -> None:
    """Compress speech and music to 1.5, 3, 6, 12 or 15 kbit/s with a small neural network.

    \b
    lamella compress talk.wav talk.lam
    lamella decompress talk.lam talk.wav
    """


for verb in (compress, decompress, info, verify, thin, demo, train, export, models):
    lamella.add_command(verb)


def main() -> None:
    """Run the command line of this process; a polite kill leaves no partial file behind."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    lamella(prog_name="lamella")


if __name__ == "__main__":
    main()
