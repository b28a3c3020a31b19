"""`lamella serve`: the page that plays .lam files, on this machine alone."""

from __future__ import annotations

import contextlib
import tempfile
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import options, stopping

if TYPE_CHECKING:
    from cli.web_server import Server


@click.command(epilog=options.examples("lamella serve", "lamella serve ~/recordings"))
@click.argument(
    "folder",
    required=False,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="[FOLDER]",
)
@options.model
@options.runtime
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: any free port.")
@click.option("--browser/--no-browser", default=True, help="Open the browser.  [default: browser]")
@options.quiet
def serve(
    folder: Path | None, model: str, runtime: Path | None, port: int, browser: bool, quiet: bool
) -> None:
    """Play and make .lam files in the browser.

    The page is for this machine alone, and lists the .lam files in FOLDER. Ctrl-C ends it. `lamella export --format
    web` writes the same page for a web server.
    """
    from codec.export.web import export_web

    with stopping.handlers_restored(), tempfile.TemporaryDirectory(prefix="lamella-") as temporary:
        stopping.raise_interrupts()
        page = Path(temporary) / "page"
        export_web(model, page, runtime=runtime)
        with _listening(page, folder, port) as server:
            if not quiet:
                click.echo(f"{server.url} (Ctrl-C ends)", err=True)
            if browser:
                webbrowser.open(server.url)
            with contextlib.suppress(KeyboardInterrupt):  # the usual end
                server.serve_forever()
            stopping.ignore()  # a second Ctrl-C would interrupt the removal of the page


def _listening(page: Path, folder: Path | None, port: int) -> Server:
    """Return a server that listens; raise ClickException if the port is in use."""
    from cli.web_server import Server

    try:
        return Server(page, folder, port)
    except OSError as error:
        raise click.ClickException(f"port {port}: {error.strerror}; choose another --port") from error
