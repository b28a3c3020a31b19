"""`lamella train`: a model from a folder of recordings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from cli.backend import load_backend
from cli.options import quiet

POSITIVE = click.FloatRange(min=0, min_open=True)
COUNT = click.IntRange(min=1)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, metavar="DIR", help="The new model.")
@click.option("--minutes", type=POSITIVE, metavar="M", help="How long.  [default: 60]")
@click.option("--steps", type=COUNT, metavar="N", help="How many steps, in place of --minutes.")
@click.option("--batch-size", type=COUNT, metavar="N", help="Segments in a step.  [default: 8]")
@click.option("--segment", type=click.FloatRange(min=0.5), metavar="S", help="Seconds of each.  [default: 2]")
@click.option("--from", "start", metavar="NAME|DIR", help="Start from this model.")
@quiet
def train(
    folder: Path,
    output: str,
    minutes: float | None,
    steps: int | None,
    batch_size: int | None,
    segment: float | None,
    start: str | None,
    quiet: bool,
) -> None:
    """Train a model on a folder of recordings.

    All sound files in FOLDER and the folders in it are used. Ctrl-C stops; the same command goes on from there.

    \b
    lamella train ~/recordings --output my-model --minutes 60
    lamella compress --model my-model talk.wav talk.lam
    """
    if minutes is not None and steps is not None:
        raise click.UsageError("give --minutes or --steps, not both")
    if not folder.is_dir():
        raise click.ClickException(f"{folder}: there is no such folder")
    os.environ.setdefault("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")  # faster on many CPUs; read by TensorFlow
    load_backend()
    from codec.presets import load_codec
    from codec.training.recipe import Recipe
    from codec.training.trainer import train as run

    given: dict[str, Any] = {"minutes": minutes, "steps": steps}
    given |= {"batch_size": batch_size, "segment_seconds": segment}
    recipe = Recipe(**{name: value for name, value in given.items() if value is not None})
    codec = load_codec(start) if start else None
    run(folder, Path(output), recipe, lambda line: None if quiet else click.echo(line, err=True), codec)
