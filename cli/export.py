"""`lamella export`: a model for programs that have no Python."""

from __future__ import annotations

from pathlib import Path

import click

from cli.backend import load_tensorflow
from cli.options import force, quiet


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["saved-model", "litert"]),
    required=True,
    help="For TensorFlow, or for LiteRT (TensorFlow Lite).",
)
@force
@quiet
def export(model: str, output: Path, kind: str, force: bool, quiet: bool) -> None:
    """Write MODEL, a name or folder, for other programs, to the folder OUT.

    It has the functions encode, decode, encode_step and decode_step, and a manifest.json that tells their shapes.

    \b
    lamella export --format litert lamella-48k lamella-litert
    """
    load_tensorflow()
    from cli.silence import silent_stderr
    from codec.export import export_litert, export_saved_model

    run = {"saved-model": export_saved_model, "litert": export_litert}[kind]
    with silent_stderr():
        run(model, output, force)
    if not quiet:
        size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
        click.echo(f"{output}: {size / 1e6:.1f} MB", err=True)
