"""Open, replace and copy files, read and write pipes completely, and name files in error messages."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

from codec.errors import BitstreamError, CodecError

PathLike: TypeAlias = "str | os.PathLike[str]"

COPY_BLOCK = 1 << 20  # bytes
STANDARD_STREAMS = {
    "<stdin>": "standard input",
    "<stdout>": "standard output",
    0: "standard input",
    1: "standard output",
}


# -- names and errors --


def name_of(file: PathLike | BinaryIO) -> str:
    """Return the name of a path or a file object for messages."""
    if isinstance(file, (str, os.PathLike)):
        return os.fspath(file)
    name = getattr(file, "name", None)
    return STANDARD_STREAMS.get(name, name if isinstance(name, str) else "the stream")


def is_special(path: PathLike) -> bool:
    """Return True for a device or a named pipe, which is written to directly and never replaced."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


@contextlib.contextmanager
def naming_errors(path: PathLike) -> Iterator[None]:
    """Turn an OSError raised while writing into a CodecError that names `path`.

    BrokenPipeError passes through: the program that reads our pipe has stopped, which only the command can handle.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CodecError(f"{os.fspath(path)}: cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def naming_damage(name: str) -> Iterator[None]:
    """Put the file's name before the message of a BitstreamError or an OSError raised while reading.

    A BitstreamError keeps its type; an OSError becomes a CodecError.
    """
    try:
        yield
    except BitstreamError as error:
        raise type(error)(f"{name}: {error}") from error
    except OSError as error:
        raise CodecError(f"{name}: cannot be read: {error.strerror or error}") from error


# -- reading and writing completely --


def read_up_to(file: BinaryIO, size: int) -> bytes:
    """Read `size` bytes, fewer only where the file ends.

    A pipe may give fewer bytes than requested at a time; reading goes on until all are there.

    Raises:
        BlockingIOError: the file is in non-blocking mode.
    """
    pieces = []
    while size > 0:
        piece = file.read(size)
        if piece is None:
            raise BlockingIOError("the file is in non-blocking mode, expected one that waits for data")
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all bytes, also to a pipe that takes only some of them at a time.

    Raises:
        BlockingIOError: the file is in non-blocking mode.
    """
    while data:
        written = file.write(data)
        if written is None and isinstance(file, io.RawIOBase):
            raise BlockingIOError(
                "the file is in non-blocking mode, expected one that waits until it has room"
            )
        data = data[len(data) if written is None else written :]


@contextlib.contextmanager
def seekable(file: BinaryIO) -> Iterator[BinaryIO]:
    """Yield the file itself if it can seek, else a temporary copy of everything it gives.

    Raises:
        CodecError: the pipe cannot be read.
    """
    if file.seekable():
        yield file
        return
    with temporary_copy(file) as copy:
        yield copy


@contextlib.contextmanager
def temporary_copy(file: BinaryIO, start: bytes = b"") -> Iterator[BinaryIO]:
    """Yield a temporary file that holds `start` and then the rest of `file`, and delete it at the end.

    Args:
        file: a file or pipe.
        start: the bytes that were already read from it.

    Raises:
        CodecError: the file cannot be read, or the copy cannot be written.
    """
    with tempfile.TemporaryFile() as copy:
        with naming_damage(name_of(file)):
            copy.write(start)
            while block := read_up_to(file, COPY_BLOCK):
                copy.write(block)
            copy.seek(0)
        yield copy


# -- replacing --


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Yield the path of a new, empty file in the same directory, and rename it to `path` at the end.

    After an error the new file is removed. So `path` holds either the old content or all of the new. A device or
    a named pipe is not replaced: its own path is yielded.

    Raises:
        CodecError: the new file cannot be written or renamed, for example because the disk is full.
    """
    target = Path(os.path.realpath(path))
    if is_special(target):
        with naming_errors(path):
            yield target
        return
    temporary = target.with_name(f".{target.name[:64]}.{secrets.token_hex(4)}.part")
    with naming_errors(path):
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        open(temporary, "xb").close()
        try:
            yield temporary
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


def write_atomically(path: PathLike, content: bytes) -> None:
    """Write a file so that `path` holds either the old content or all of the new."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


# -- opening --


class CountedFile:
    """A file for writing that counts its bytes and names itself in errors.

    Attributes:
        size: bytes written so far.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.size = 0
        self._file, self._name = file, name

    def write(self, data: bytes) -> int:
        """Write all bytes and return their number; raise CodecError where that fails."""
        with naming_errors(self._name):
            write_all(self._file, data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Pass buffered bytes on to the operating system."""
        with naming_errors(self._name):
            self._file.flush()


@contextlib.contextmanager
def writing(target: PathLike | BinaryIO) -> Iterator[CountedFile]:
    """Yield the target opened for writing.

    A path is replaced only if all goes well; a file object stays open.
    """
    name = name_of(target)
    if not isinstance(target, (str, os.PathLike)):
        yield CountedFile(target, name)
        return
    with replacing(target) as temporary, open(temporary, "wb") as file:
        yield CountedFile(file, name)


@contextlib.contextmanager
def reading(source: PathLike | BinaryIO) -> Iterator[BinaryIO]:
    """Yield the source opened for reading; a file object stays open.

    Raises:
        CodecError: the path cannot be opened.
    """
    if not isinstance(source, (str, os.PathLike)):
        yield source
        return
    with naming_damage(name_of(source)):
        file = open(source, "rb")  # noqa: SIM115
    with file:
        yield file
