"""`lamella train`: train a model on a folder of recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli import options, stopping
from cli.backend import load_for_training
from cli.status import Status

FOLDER = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)
CHECKPOINT = "training/checkpoint.safetensors"


@click.command(epilog=options.examples("lamella train ~/recordings --output my-model --hours 2"))
@click.argument("folder", type=FOLDER)
@click.option(
    "--output", "-o", default="lamella-model", type=FOLDER, metavar="DIR", help="Folder of the new model."
)
@click.option(
    "--hours",
    type=options.FiniteRange(min=0, min_open=True),
    metavar="H",
    help="Training time.  [default: 1]",
)
@click.option("--steps", type=COUNT, metavar="N", help="In place of --hours: the number of training steps.")
@click.option(
    "--recipe",
    "device",
    type=click.Choice(["cpu", "gpu"]),
    default="cpu",
    help="Settings for this device.  [default: cpu]",
)
@click.option("--batch-size", type=COUNT, metavar="N", help="Segments in a step.  [default: 8; gpu: 64]")
@click.option(
    "--segment",
    "segment_seconds",
    type=options.FiniteRange(min=0.5),
    metavar="S",
    help="Seconds.  [default: 2]",
)
@click.option("--from", "start", metavar="NAME|DIR", help="Start from this model.")
@options.force
@options.quiet
def train(folder: Path, output: Path, start: str | None, force: bool, quiet: bool, **settings: Any) -> None:
    """Train a model on a folder of recordings.

    Uses all sound files in FOLDER and its subfolders. Ctrl-C stops the training; the same command resumes it, also
    after its end with more hours or steps. An existing model that cannot be resumed is overwritten only with --force.
    """
    if settings["hours"] is not None and settings["steps"] is not None:
        raise click.UsageError("give --hours or --steps, not both")
    if not folder.is_dir():
        raise click.ClickException(f"the folder {folder} does not exist")
    if (output / "config.json").is_file() and not (output / CHECKPOINT).is_file() and not force:
        raise click.ClickException(
            f"{output} is a model whose training cannot be resumed; --force overwrites it"
        )
    status = Status(quiet)
    replicas = load_for_training(status.print_line)
    from codec.presets import load_keras
    from codec.training.precision import training_policy
    from codec.training.recipe import recipe_for
    from codec.training.trainer import train as run_training

    recipe = recipe_for(**{name: value for name, value in settings.items() if value is not None})
    with replicas.scope():
        codec = load_keras(start, training_policy()) if start else None
    try:
        with stopping.handlers_restored():
            stopping.raise_interrupts()
            run_training(
                folder, output, recipe, status.print_line, codec, show=status.updater, replicas=replicas
            )
    except KeyboardInterrupt as error:
        raise click.ClickException(str(error) or "interrupted before the training began") from error
    finally:
        status.clear()
