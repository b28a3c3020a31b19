"""`lamella info`: print what a .lam file contains and check it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from cli import options
from cli.files import print_line, resolve_input

if TYPE_CHECKING:
    from codec.bitstream import Reader


@click.command(epilog=options.examples("lamella info talk.lam"))
@click.argument("file")
@options.model_of_file
def info(file: str, model: str | None) -> None:
    """Print what a .lam file contains, and check it.

    The file is read to its end, and any damage is an error. FILE may be `-`, a pipe. The model that made the file is
    named if it is known here, but it is not needed.
    """
    from codec.bitstream import Reader
    from codec.files import name_of, naming_damage, reading

    source = resolve_input(file)
    with reading(source) as stream, naming_damage(name_of(source)):
        reader = Reader(stream)
        facts = describe(reader, model_name(reader.header.model_id, model))
    for name, fact in facts.items():
        print_line(f"{name + ':':13}{fact}")


@dataclasses.dataclass
class Totals:
    """Sums over the chunks of a file."""

    chunks: int = 0
    range_coded: int = 0  # chunks
    silent: int = 0  # chunks
    frames: int = 0
    codes: int = 0  # of one channel
    bytes: int = 0


def describe(reader: Reader, model: str) -> dict[str, str]:
    """Read a stream to its end and return facts about it by name; `model` is the name of the model."""
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
        "bitrate": f"{round(bitrate, 3):g} kbit/s per channel ({in_words})",
        "stored": f"{stored:.2f} kbit/s per channel, {totals.range_coded} of {totals.chunks} chunks range coded",
        "frames": f"{totals.frames} at {frame_rate:g} Hz, {header.frames_per_chunk} per chunk",
        "model": f"{model} at {header.model_sample_rate} Hz",
    }


def add_up(reader: Reader) -> Totals:
    """Read all chunks of a stream and return their totals."""
    totals = Totals()
    for chunk in reader.checked_chunks():
        totals.chunks += 1
        totals.range_coded += chunk.coding != 0
        totals.silent += chunk.codebooks == 0
        totals.frames += chunk.frames
        totals.codes += chunk.frames * chunk.codebooks
        totals.bytes += len(chunk.payload)
    return totals


def model_name(model_id: bytes, model: str | None) -> str:
    """Return the name of the model with this identity, or the identity alone if the model is not known here.

    Args:
        model_id: the identity, from the file.
        model: a model to look at first, by name or folder.

    Raises:
        PresetError: there is no such model to look at.
    """
    from codec.errors import PresetError
    from codec.presets import find_by_identity, find_preset

    extra = () if model is None else (find_preset(model),)
    try:
        folder = find_by_identity(model_id, extra)
    except PresetError:
        return f"{model_id.hex()} (not known here)"
    return f"{folder.resolve().name} ({model_id.hex()})"
