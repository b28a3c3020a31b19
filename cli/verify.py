"""`lamella verify`: check that .lam files are undamaged."""

from __future__ import annotations

import click

from cli import options
from cli.files import resolve_input


@click.command(epilog=options.examples("lamella verify recordings/*.lam"))
@click.argument("names", metavar="FILE...", nargs=-1, required=True)
@options.quiet
def verify(names: tuple[str, ...], quiet: bool) -> None:
    """Check .lam files from beginning to end. No model is needed.

    Stops at the first damage with exit code 1 and prints where it is. FILE may be `-`, a pipe.
    """
    from codec.bitstream import Reader
    from codec.files import name_of, naming_damage, reading

    for name in names:
        source = resolve_input(name)
        with reading(source) as stream, naming_damage(name_of(source)):
            reader = Reader(stream)
            chunks = sum(1 for _ in reader.stored_chunks())
        if not quiet:
            seconds = (reader.num_samples or 0) / reader.header.sample_rate
            click.echo(f"{name}: undamaged, {seconds:.2f} s in {chunks} chunks")
