"""`lamella verify`: whether .lam files are whole."""

from __future__ import annotations

import click

from cli import files


@click.command()
@click.argument("names", metavar="FILE...", nargs=-1, required=True)
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors.")
def verify(names: tuple[str, ...], quiet: bool) -> None:
    """Check .lam files from end to end, without a model.

    The first damage ends it, with exit code 1 and where it is. FILE may be `-`, a pipe.

    \b
    lamella verify recordings/*.lam
    """
    from codec.bitstream import Reader
    from codec.files import name_of, naming_damage, reading

    for name in names:
        source = files.source(name)
        with reading(source) as stream, naming_damage(name_of(source)):
            reader = Reader(stream)
            chunks = sum(1 for _ in reader.stored_chunks())
        if not quiet:
            seconds = (reader.num_samples or 0) / reader.header.sample_rate
            click.echo(f"{name}: whole, {seconds:.2f} s in {chunks} chunks")
