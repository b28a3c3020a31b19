"""Paths and pipes: how messages call them, and how a file takes its place only when it is whole."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

from codec.errors import BitstreamError, CodecError

PathLike: TypeAlias = "str | os.PathLike[str]"


def name_of(file: PathLike | BinaryIO) -> str:
    """How messages call a path or a file object."""
    if isinstance(file, (str, os.PathLike)):
        return os.fspath(file)
    name = getattr(file, "name", None)
    standard = {
        "<stdin>": "standard input",
        "<stdout>": "standard output",
        0: "standard input",
        1: "standard output",
    }
    return standard.get(name, name if isinstance(name, str) else "the stream")


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Yield a new path beside `path` to write to; rename it at the end, or remove it after any error.

    So `path` holds the old content or the new, never half of it. If a device or a named pipe is there, it is
    yielded itself. OSError, such as of a full disk, becomes a CodecError with the path.
    """
    target = Path(os.path.realpath(path))
    if is_special(target):
        with naming_errors(path):
            yield target
        return
    beside = target.with_name(f".{target.name[:64]}.{secrets.token_hex(4)}.part")
    with naming_errors(path):
        try:
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            yield beside
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)


def is_special(path: PathLike) -> bool:
    """Whether a device or a named pipe is there, which is written to and not replaced."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


@contextlib.contextmanager
def naming_errors(path: PathLike) -> Iterator[None]:
    """Turn an OSError of what is done inside into a CodecError that names `path`."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of our pipe has left: not a fault, and the command's to handle
    except OSError as error:
        raise CodecError(f"{os.fspath(path)}: cannot be written: {error.strerror or error}") from error


class CountedFile:
    """A file to write to that counts its bytes and names itself in errors."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.size = 0
        self._file, self._name = file, name

    def write(self, data: bytes) -> int:
        """Write as the file does; CodecError where it fails."""
        with naming_errors(self._name):
            written = self._file.write(data)
        self.size += written
        return written

    def flush(self) -> None:
        """Pass on what is still held back."""
        with naming_errors(self._name):
            self._file.flush()


@contextlib.contextmanager
def writing(target: PathLike | BinaryIO) -> Iterator[CountedFile]:
    """The target to write to: a path takes its place when all went well, a stream stays open."""
    name = name_of(target)
    if not isinstance(target, (str, os.PathLike)):
        yield CountedFile(target, name)
        return
    with replacing(target) as beside, open(beside, "wb") as file:
        yield CountedFile(file, name)


@contextlib.contextmanager
def reading(source: PathLike | BinaryIO) -> Iterator[BinaryIO]:
    """The source as an open file; raises CodecError where it cannot be opened."""
    if not isinstance(source, (str, os.PathLike)):
        yield source
        return
    with naming_damage(name_of(source)):
        file = open(source, "rb")  # noqa: SIM115
    with file:
        yield file


@contextlib.contextmanager
def seekable(file: BinaryIO) -> Iterator[BinaryIO]:
    """The file if it can be sought, else a temporary copy of all that it gives; raises CodecError where that fails."""
    if file.seekable():
        yield file
        return
    with tempfile.TemporaryFile() as copy:
        with naming_damage(name_of(file)):
            shutil.copyfileobj(file, copy)
        copy.seek(0)
        yield copy


@contextlib.contextmanager
def naming_damage(name: str) -> Iterator[None]:
    """Put the file's name before what is wrong with it."""
    try:
        yield
    except BitstreamError as error:
        raise type(error)(f"{name}: {error}") from error
    except OSError as error:
        raise CodecError(f"{name}: cannot be read: {error.strerror or error}") from error
