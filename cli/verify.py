"""`lamella verify`: check that .lam files are undamaged."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import click

from cli import options
from cli.files import print_line, resolve_input

if TYPE_CHECKING:
    from codec.bitstream import Reader


@click.command(epilog=options.examples("lamella verify recordings/*.lam"))
@click.argument("names", metavar="FILE...", nargs=-1, required=True)
@options.quiet
def verify(names: tuple[str, ...], quiet: bool) -> None:
    """Check .lam files from beginning to end. No model is needed.

    Stops at the first damage with exit code 1 and prints where it is. FILE may be `-`, a pipe.
    """
    from codec.files import name_of, naming_damage, reading

    for name in names:
        source = resolve_input(name)
        with reading(source) as stream, naming_damage(name_of(source)):
            reader = open_reader(stream)
            chunks = sum(1 for _ in reader.checked_chunks())
        if not quiet:
            seconds = (reader.num_samples or 0) / reader.header.sample_rate
            print_line(f"{name}: undamaged, {seconds:.2f} s in {chunks} chunks")


def open_reader(stream: BinaryIO) -> Reader:
    """Return a reader of a file; raise BitstreamError if its header is damaged, and say whether it can be repaired."""
    from codec.bitstream import Reader
    from codec.errors import BitstreamError

    start = stream.tell() if stream.seekable() else None
    try:
        return Reader(stream)
    except BitstreamError as error:
        if start is None or not can_be_repaired(stream, start):
            raise
        raise type(error)(f"{error}; `lamella decompress --recover` repairs the header") from error


def can_be_repaired(stream: BinaryIO, start: int) -> bool:
    """Return True if the stream that begins at a byte of a file has a damaged header that can be repaired."""
    from codec.bitstream import RecoveringReader
    from codec.errors import BitstreamError

    stream.seek(start)
    try:
        return RecoveringReader(stream).header_repaired
    except BitstreamError:
        return False
