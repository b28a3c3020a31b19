"""`lamella info`: what a .lam file holds, and whether it is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli import files
from cli.options import show_bitrate

if TYPE_CHECKING:
    from codec.bitstream import Reader


@click.command()
@click.argument("file")
def info(file: str) -> None:
    """Say what a .lam file holds, and check it.

    FILE may be `-`, a pipe. It is read to its end, and anything damaged is an error; no model is needed.

    \b
    lamella info talk.lam
    """
    from codec.bitstream import Reader
    from codec.files import name_of, naming_damage, reading

    source = files.source(file)
    with reading(source) as stream, naming_damage(name_of(source)):
        click.echo(describe(Reader(stream)))


def describe(reader: Reader) -> str:
    """Read a stream to its end and tell about it, a fact a line."""
    header, totals = reader.header, [0] * 6
    for chunk in reader.stored_chunks():
        kinds = chunk.coding != 0, chunk.codebooks == 0
        seen = (1, *kinds, chunk.frames, chunk.frames * chunk.codebooks, len(chunk.payload))
        totals = [total + value for total, value in zip(totals, seen, strict=True)]
    chunks, coded, silent, frames, codes, size = totals
    frame_rate = header.model_sample_rate / header.hop_length
    books = codes / frames if header.varies and frames else header.num_codebooks
    bitrate = round(books * header.bits_per_code * frame_rate)
    rate = size * 8 / 1000 * frame_rate / max(frames, 1) / header.channels
    number = f"{header.num_codebooks} codebooks"
    if header.varies:
        number = f"{books:.1f} of {number} on average, {silent} of {chunks} chunks silent"
    samples = reader.num_samples or 0
    facts = {
        "duration": f"{samples / header.sample_rate:.3f} s ({samples} samples)",
        "sample rate": f"{header.sample_rate} Hz",
        "channels": str(header.channels),
        "bitrate": f"{show_bitrate(bitrate)}bit/s a channel ({number})",
        "stored": f"{rate:.2f} kbit/s a channel, {coded} of {chunks} chunks range coded",
        "frames": f"{frames} at {frame_rate:g} Hz, {header.frames_per_chunk} a chunk",
        "model": f"{header.model_id.hex()} at {header.model_sample_rate} Hz",
    }
    return "\n".join(f"{name + ':':13}{fact}" for name, fact in facts.items())
