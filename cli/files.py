"""Input and output of the verbs: paths, or standard input and output for `-`."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import click

from codec.files import NewPath, PathLike, is_special, naming_errors

if TYPE_CHECKING:
    from cli.options import RawFormat
    from codec.audio import SampleReader
    from codec.runtime.codec import NumpyCodec

STANDARD = "-"  # standard input or output


def resolve_input(name: str) -> str | BinaryIO:
    """Return the path, or standard input for `-`; raise UsageError if that is a terminal."""
    if name != STANDARD:
        return name
    stream = sys.stdin.buffer
    if stream.isatty():
        raise click.UsageError("standard input is a terminal; name a file or use a pipe")
    return stream


def resolve_output(name: str, force: bool) -> PathLike | BinaryIO:
    """Return the path to write to, or standard output for `-`.

    Without `force` it is a `NewPath`: a file that another program writes there meanwhile is not replaced either.

    Raises:
        ClickException: the file exists and `force` is not given, it is a folder, or its folder does not exist.
        UsageError: standard output is a terminal.
    """
    if name != STANDARD:
        _check_writable(Path(name), force)
        return name if force or is_special(name) else NewPath(name)
    stream = sys.stdout.buffer
    if stream.isatty():
        raise click.UsageError("binary data cannot be written to a terminal; name a file or use a pipe")
    return stream


def _check_writable(path: Path, force: bool) -> None:
    """Raise ClickException if a new file must not or cannot be written, before any work is done for it."""
    if path.is_dir():
        raise click.ClickException(f"{path} is a folder; name a file")
    if path.is_file() and not force and not is_special(path):
        raise click.ClickException(f"{path} exists; --force overwrites it")
    if not path.parent.is_dir():
        raise click.ClickException(f"the folder {path.parent} does not exist")


def print_line(line: str) -> None:
    """Print a line to standard output; raise CodecError if that fails."""
    with naming_errors("standard output"):
        click.echo(line)


def open_sound(name: str, raw_format: RawFormat | None, recover: bool = False) -> SampleReader:
    """Open a sound to compress, with `recover` what is left of it; raise AudioError if it is not supported."""
    from codec.audio import AudioReader, RawReader

    source = resolve_input(name)
    if raw_format is None:
        return AudioReader(source, recover)
    return RawReader(source, *raw_format, recover=recover)


class FileFacts(NamedTuple):
    """What the header of a .lam file says about it."""

    model_id: bytes
    seconds: float | None  # None: unknown until the whole file is read


def read_facts(name: str) -> FileFacts:
    """Read the header of a .lam file, so that damage is found before the model is loaded.

    Raises:
        BitstreamError: it is not a .lam file, or it is damaged.
        CodecError: it cannot be read.
    """
    from codec.bitstream import Reader
    from codec.files import naming_damage, reading

    with reading(name) as file, naming_damage(name):
        reader = Reader(file)
    seconds = None if reader.num_samples is None else reader.num_samples / reader.header.sample_rate
    return FileFacts(reader.header.model_id, seconds)


def find_model(model_id: bytes, model: str | None, name: str) -> Path:
    """Return the folder of the model that made a .lam file.

    Args:
        model_id: the identity of the model, from the file.
        model: a model to look at first, by name or folder.
        name: of the file, for the error.

    Raises:
        PresetError: the model is not known here.
    """
    from codec.errors import PresetError
    from codec.presets import find_by_identity, find_preset

    extra = () if model is None else (find_preset(model),)
    try:
        return find_by_identity(model_id, extra)
    except PresetError as error:
        raise PresetError(f"{name}: {error}") from error


def load_for_file(model_id: bytes, model: str | None, name: str) -> NumpyCodec:
    """Load the model that made a .lam file, once in each process; arguments and errors are those of `find_model`."""
    return _load_by_identity(model_id, find_model(model_id, model, name))


@functools.cache
def _load_by_identity(model_id: bytes, folder: Path) -> NumpyCodec:
    from codec.presets import load_by_identity

    return load_by_identity(model_id, (folder,), effort=0)


@functools.cache
def load_once(model: str, effort: int) -> NumpyCodec:
    """Load a model once in each process; raise PresetError if that fails."""
    from codec.presets import load

    return load(model, effort)
