"""`lamella models`: what --model takes."""

from __future__ import annotations

import click


@click.command()
def models() -> None:
    """List the models that came with this installation.

    A folder that `lamella train` made can be used in place of a name.

    \b
    lamella compress --model lamella-48k talk.wav talk.lam
    """
    from codec.presets import DEFAULT_PRESET, list_presets

    presets = list_presets()
    if not presets:
        raise click.ClickException("no model came with this installation; train one with `lamella train`")
    for preset in presets:
        default = " (default)" if preset.name == DEFAULT_PRESET else ""
        click.echo(f"{preset.name}{default}: {preset.description}\n    {preset.path}")
