"""Which file or pipe a verb reads and writes; the library itself writes beside and renames."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

if TYPE_CHECKING:
    from cli.options import Pcm
    from codec.audio import SampleReader
    from codec.runtime.codec import NumpyCodec

STANDARD = "-"  # standard input or output


def source(name: str) -> str | BinaryIO:
    """Give the file's path, or standard input for `-`; raises UsageError if that is a terminal."""
    if name != STANDARD:
        return name
    stream = sys.stdin.buffer
    if stream.isatty():
        raise click.UsageError("standard input is a terminal; name a file or use a pipe")
    return stream


def target(name: str, force: bool) -> str | BinaryIO:
    """Give the path to write to, or standard output for `-`.

    Raises:
        ClickException: the file exists and `force` is not given, it is a folder, or its folder does not exist.
        UsageError: standard output is a terminal.
    """
    if name != STANDARD:
        refuse_overwriting(Path(name), force)
        return name
    stream = sys.stdout.buffer
    if stream.isatty():
        raise click.UsageError("binary data does not go to a terminal; name a file or use a pipe")
    return stream


def refuse_overwriting(path: Path, force: bool) -> None:
    """Raise ClickException where a new file may not or cannot be, before any work is done for it."""
    if path.is_dir():
        raise click.ClickException(f"{path} is a folder; name a file")
    if path.is_file() and not force:
        raise click.ClickException(f"{path} exists; --force overwrites it")
    if not path.parent.is_dir():
        raise click.ClickException(f"there is no folder {path.parent}")


def open_sound(name: str, pcm: Pcm | None) -> SampleReader:
    """Open what is to be compressed, so that bad audio is found before the model is loaded; raises AudioError."""
    from codec.audio import AudioReader, RawReader

    return AudioReader(source(name)) if pcm is None else RawReader(source(name), *pcm)


def stream_seconds(name: str) -> float | None:
    """Give the length of a .lam file, None for one that does not know it and for a pipe.

    Raises:
        BitstreamError: it is no such file, or a damaged one, found before the model is loaded.
    """
    from codec.bitstream import Reader
    from codec.files import naming_damage, reading

    if name == STANDARD:
        return None
    with reading(name) as file, naming_damage(name):
        stream = Reader(file)
    return None if stream.num_samples is None else stream.num_samples / stream.header.sample_rate


@functools.cache
def loaded(model: str, candidates: int = 1) -> NumpyCodec:
    """Load a model, in each process once; raises PresetError."""
    from codec.presets import load

    return load(model, candidates)


def shipped_clip() -> Path:
    """Give the first clip that came with this installation; raises ClickException if none did."""
    from codec.presets import samples

    clips = sorted(path for path in samples().glob("*") if path.suffix in (".flac", ".wav", ".ogg"))
    if not clips:
        raise click.ClickException("no clip came with this installation; name a sound file of your own")
    return clips[0]
