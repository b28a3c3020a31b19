"""`lamella export`: write a model for programs in other languages."""

from __future__ import annotations

from pathlib import Path

import click

from cli import options
from cli.backend import use_tensorflow
from cli.silence import silent_stderr


@click.command(epilog=options.examples("lamella export --format litert lamella-48k lamella-litert"))
@click.argument("model", metavar="MODEL")
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["saved-model", "litert"]),
    required=True,
    help="For TensorFlow, or for LiteRT (TensorFlow Lite).",
)
@options.force
@options.quiet
def export(model: str, output: Path, format_name: str, force: bool, quiet: bool) -> None:
    """Export a model for use without Python.

    MODEL is a name that `lamella models` lists, or a folder. The folder OUT gets the functions encode, decode,
    encode_step and decode_step, and a manifest.json that describes their inputs and outputs.
    """
    use_tensorflow()
    from codec.export import export_litert, export_saved_model

    write = {"saved-model": export_saved_model, "litert": export_litert}[format_name]
    with silent_stderr():
        write(model, output, force)
    if not quiet:
        size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
        click.echo(f"{output}: {size / 1e6:.1f} MB", err=True)
