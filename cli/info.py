"""`lamella info`: print what a .lam file contains and check it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from cli import options
from cli.files import resolve_input

if TYPE_CHECKING:
    from codec.bitstream import Reader


@click.command(epilog=options.examples("lamella info talk.lam"))
@click.argument("file")
def info(file: str) -> None:
    """Print what a .lam file contains, and check it.

    The file is read to its end, and any damage is an error. FILE may be `-`, a pipe. No model is needed.
    """
    from codec.bitstream import Reader
    from codec.files import name_of, naming_damage, reading

    source = resolve_input(file)
    with reading(source) as stream, naming_damage(name_of(source)):
        facts = describe(Reader(stream))
    for name, fact in facts.items():
        click.echo(f"{name + ':':13}{fact}")


@dataclasses.dataclass
class Totals:
    """Sums over the chunks of a file."""

    chunks: int = 0
    range_coded: int = 0  # chunks
    silent: int = 0  # chunks
    frames: int = 0
    codes: int = 0  # of one channel
    bytes: int = 0


def describe(reader: Reader) -> dict[str, str]:
    """Read a stream to its end and return facts about it by name."""
    header, totals = reader.header, add_up(reader)
    frame_rate = header.model_sample_rate / header.hop_length
    codebooks: float = header.num_codebooks
    in_words = f"{header.num_codebooks} codebooks"
    if header.varies:
        codebooks = totals.codes / max(1, totals.frames)
        in_words = (
            f"{codebooks:.1f} of {in_words} on average, {totals.silent} of {totals.chunks} chunks silent"
        )
    bitrate = codebooks * header.bits_per_code * frame_rate / 1000
    stored = totals.bytes * 8 / 1000 * frame_rate / max(1, totals.frames) / header.channels
    samples = reader.num_samples or 0
    return {
        "duration": f"{samples / header.sample_rate:.3f} s ({samples} samples)",
        "sample rate": f"{header.sample_rate} Hz",
        "channels": str(header.channels),
        "bitrate": f"{round(bitrate, 3):g} kbit/s a channel ({in_words})",
        "stored": f"{stored:.2f} kbit/s a channel, {totals.range_coded} of {totals.chunks} chunks range coded",
        "frames": f"{totals.frames} at {frame_rate:g} Hz, {header.frames_per_chunk} in a chunk",
        "model": f"{model_name(header.model_id)} at {header.model_sample_rate} Hz",
    }


def add_up(reader: Reader) -> Totals:
    """Read all chunks of a stream and return their totals."""
    totals = Totals()
    for chunk in reader.stored_chunks():
        totals.chunks += 1
        totals.range_coded += chunk.coding != 0
        totals.silent += chunk.codebooks == 0
        totals.frames += chunk.frames
        totals.codes += chunk.frames * chunk.codebooks
        totals.bytes += len(chunk.payload)
    return totals


def model_name(model_id: bytes) -> str:
    """Return the name of a model with its identity, or the identity alone if the model is not installed."""
    from codec.errors import PresetError
    from codec.presets import find_by_identity

    try:
        name = find_by_identity(model_id).name
    except PresetError:
        return f"{model_id.hex()} (not installed)"
    return f"{name} ({model_id.hex()})"
