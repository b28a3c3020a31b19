"""`lamella thin`: a lower bitrate of a .lam file, without decoding it."""

from __future__ import annotations

from typing import BinaryIO, cast

import click

from cli import files, options


@click.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@options.rate
@options.model
@options.force
@options.quiet
def thin(source: str, target: str, bits: options.Rate, model: str, force: bool, quiet: bool) -> None:
    """Lower the bitrate of the .lam file IN, to OUT.

    That gives what compressing the same sound at that bitrate gives. Either side may be `-`, a pipe.

    \b
    lamella thin --bitrate 3k talk.lam small.lam
    """
    if bits == (None, None):
        raise click.UsageError("say how low: --bitrate RATE or --codebooks N")
    output = files.target(target, force)
    config = options.config_of(model)
    count = options.choose_codebooks(config, bits)
    if count < config.base_codebooks:
        raise click.UsageError(
            f"--codebooks {count}: below {config.base_codebooks}, sound must be compressed anew"
        )
    from codec.bitstream import Reader
    from codec.bitstream import thin as run
    from codec.files import name_of, naming_damage, reading, writing
    from codec.presets import load, model_id

    given = files.source(source)
    with reading(given) as stream, naming_damage(name_of(given)), writing(output) as result:
        reader, codec = Reader(stream), load(model)
        if reader.header.model_id == model_id(codec):
            reader.prior = codec.prior
        try:
            run(reader, cast(BinaryIO, result), count)
        except ValueError as error:
            raise click.ClickException(f"{name_of(given)}: {error}") from error
    if not quiet:
        click.echo(f"{target}: {result.size} bytes", err=True)
