"""`lamella train`: a model from a folder of recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.backend import load_backend
from cli.options import force, quiet
from cli.status import Status

FOLDER, COUNT, DEVICE = click.Path(path_type=Path), click.IntRange(min=1), click.Choice(["cpu", "gpu"])
HOURS, SECONDS = click.FloatRange(min=0, min_open=True), click.FloatRange(min=0.5)
CHECKPOINT = "training/checkpoint.safetensors"


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--output", "-o", default="lamella-model", type=FOLDER, metavar="DIR", help="The new model.")
@click.option("--hours", type=HOURS, metavar="H", help="How long.  [default: 1]")
@click.option("--steps", type=COUNT, metavar="N", help="How many steps, in place of --hours.")
@click.option("--recipe", "device", type=DEVICE, default="cpu", help="For what it runs on.  [default: cpu]")
@click.option("--batch-size", type=COUNT, metavar="N", help="Segments in a step.  [default: 8; gpu: 64]")
@click.option("--segment", "segment_seconds", type=SECONDS, metavar="S", help="In seconds.  [default: 2]")
@click.option("--from", "start", metavar="NAME|DIR", help="Start from this model.")
@force
@quiet
def train(folder: Path, output: Path, start: str | None, force: bool, quiet: bool, **given: Any) -> None:
    """Train a model on a folder of recordings.

    All sound files in FOLDER and the folders in it are used. Ctrl-C stops; the same command goes on from there, and
    with more hours or steps also after the end. Only --force overwrites a model whose training cannot go on.

    \b
    lamella train ~/recordings --output my-model --hours 2
    """
    if given["hours"] is not None and given["steps"] is not None:
        raise click.UsageError("give --hours or --steps, not both")
    if not folder.is_dir():
        raise click.ClickException(f"{folder}: there is no such folder")
    if (output / "config.json").is_file() and not (output / CHECKPOINT).is_file() and not force:
        raise click.ClickException(f"{output} is a model with no training to go on; --force overwrites it")
    status = Status(quiet)
    replicas = load_backend(status.say)
    from codec.presets import load_keras
    from codec.training.recipe import recipe_for
    from codec.training.steps import present_policy
    from codec.training.trainer import train as run

    recipe = recipe_for(**{name: value for name, value in given.items() if value is not None})
    with replicas.scope():
        codec = load_keras(start, present_policy()) if start else None
    try:
        run(folder, output, recipe, status.say, codec, show=status.screen, replicas=replicas)
    except KeyboardInterrupt as stopped:
        raise click.ClickException(str(stopped) or "interrupted before the training began") from stopped
    finally:
        status.clear()
