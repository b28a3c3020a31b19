"""`lamella thin`: lower the bitrate of a .lam file without decoding it."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, cast

import click

from cli import options
from cli.backend import use_one_core
from cli.files import find_model, resolve_input, resolve_output

if TYPE_CHECKING:
    from codec.config import CodecConfig


@click.command(epilog=options.examples("lamella thin --bitrate 3k talk.lam small.lam"))
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@options.lower_rate
@options.model_of_file
@options.force
@options.quiet
def thin(
    source: str, target: str, rate: options.RateOptions, model: str | None, force: bool, quiet: bool
) -> None:
    """Lower the bitrate of a .lam file.

    Keeps the first codes of each frame and decodes nothing. The result sounds almost like the original compressed at
    that bitrate. It is exactly that if the original was compressed with --effort 0. IN or OUT may be `-`, a pipe.
    A file for much more sound than its size lets expect needs --force.
    """
    use_one_core()
    output = resolve_output(target, force)
    from codec.bitstream import Reader
    from codec.bitstream import thin as write_thinned
    from codec.files import name_of, naming_damage, reading, writing
    from codec.presets.reading import read_config, read_prior

    opened = resolve_input(source)
    with reading(opened) as stream, naming_damage(name_of(opened)):
        reader = Reader(stream)
        directory = find_model(reader.header.model_id, model, name_of(opened))
        config = read_config(directory)
        num_codebooks = choose_codebooks(rate, config, reader.header.num_codebooks, name_of(opened))
        reader.prior = read_prior(directory, config)
        with writing(output) as result:
            write_thinned(reader, cast(BinaryIO, result), num_codebooks, bounded=not force)
    if not quiet:
        click.echo(f"{target}: {result.size} bytes", err=True)


def choose_codebooks(rate: options.RateOptions, config: CodecConfig, available: int, name: str) -> int:
    """Return the number of codebooks to keep.

    Args:
        rate: the options of the command line.
        config: of the model.
        available: codebooks in the file.
        name: of the file, for the error.

    Raises:
        UsageError: the model does not have this rate, or files cannot be thinned to it.
        ClickException: the file has fewer codebooks.
    """
    rate.check(config)
    num_codebooks = config.choose_codebooks(rate.bitrate, rate.num_codebooks)
    least = config.base_codebooks
    if num_codebooks < least:
        raise click.UsageError(
            f"cannot thin below {least} codebooks; compress the original again at a lower bitrate"
        )
    if num_codebooks > available:
        raise click.ClickException(
            f"{name}: has {available} codebooks, fewer than {num_codebooks}; thin only lowers the bitrate"
        )
    return num_codebooks
