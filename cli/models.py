"""`lamella models`: list the models that can be used."""

from __future__ import annotations

from pathlib import Path

import click

from cli import options
from cli.files import print_line


@click.command(epilog=options.examples("lamella compress --model lamella-48k talk.wav talk.lam"))
def models() -> None:
    """List the models that can be used.

    These are the models that come with lamella, and those in the folders of the environment variable LAMELLA_MODELS.
    --model takes a name from this list. It also takes the folder of any model, such as one that `lamella train` made.
    A .lam file stores the identity of its model.
    """
    from codec.presets import DEFAULT_PRESET, list_models

    presets = list_models()
    if not presets:
        raise click.ClickException("no model is installed; make one with `lamella train`")
    for preset in presets:
        default = " (default)" if preset.name == DEFAULT_PRESET else ""
        description = preset.description.removeprefix(f"{preset.name}: ")
        print_line(f"{preset.name}{default}: {description}")
        print_line(f"    {describe(preset.path)}")
        print_line(f"    folder   {preset.path}")


def describe(folder: Path) -> str:
    """Return the bitrates and the identity of a model in two lines, or why it cannot be used."""
    from codec.errors import PresetError
    from codec.presets import identity_of, read_config

    try:
        bitrates = ", ".join(map(options.format_bitrate, read_config(folder).bitrates))
        return f"bitrates {bitrates}\n    identity {identity_of(folder).hex()}"
    except PresetError as error:
        return f"damaged: {error}"
