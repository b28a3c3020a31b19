"""`lamella export`: write a model for programs in other languages."""

from __future__ import annotations

from pathlib import Path

import click

from cli import options, stopping
from cli.backend import use_tensorflow
from cli.silence import silent_stderr

FORMATS = {
    "onnx": "export_onnx",
    "web": "export_web",
    "saved-model": "export_saved_model",
    "litert": "export_litert",
}


@click.command(
    epilog=options.examples(
        "lamella export --format onnx lamella-48k lamella-onnx",
        "lamella export --format web lamella-48k lamella-web",
        "lamella export --format litert lamella-48k lamella-litert",
    )
)
@click.argument("model", metavar="MODEL")
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    type=click.Choice(list(FORMATS)),
    required=True,
    help="For ONNX Runtime, as a page for browsers, for TensorFlow, or for LiteRT (TensorFlow Lite).",
)
@click.option(
    "--weights",
    type=click.Choice(["float16", "float32", "int8"]),
    help="How ONNX stores the weights. Default: float16, as the model itself does.",
)
@options.runtime
@options.force
@options.quiet
def export(
    model: str,
    output: Path,
    format_name: str,
    weights: str | None,
    runtime: Path | None,
    force: bool,
    quiet: bool,
) -> None:
    """Export a model for use without Python.

    MODEL is a name that `lamella models` lists, or a folder. The folder OUT gets the model and a manifest.json that
    describes its inputs and outputs. The format web also has the page that plays and makes .lam files, for any web
    server; see `lamella serve`.
    """
    if weights and format_name != "onnx":
        raise click.UsageError("--weights is for --format onnx")
    if runtime and format_name != "web":
        raise click.UsageError("--runtime is for --format web")
    use_tensorflow()
    from codec import export as formats

    write = getattr(formats, FORMATS[format_name])
    settings = {name: value for name, value in (("weights", weights), ("runtime", runtime)) if value}
    with stopping.handlers_restored(), silent_stderr():
        stopping.raise_interrupts()
        write(model, output, force, **settings)
    if not quiet:
        size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
        click.echo(f"{output}: {size / 1e6:.1f} MB", err=True)
