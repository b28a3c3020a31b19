"""Open, replace and copy files, read and write pipes completely, and name files in error messages."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

from codec.errors import BitstreamError, CodecError

PathLike: TypeAlias = "str | os.PathLike[str]"

COPY_BLOCK = 1 << 20  # bytes
COPY_SHARE = 0.5  # of the free space that a temporary copy may take
UNFINISHED = ".part"  # ending of unfinished files
LONGEST_START = 64  # bytes of a file's name that the name of its unfinished content begins with
WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
NAMED_DESCRIPTORS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
NUMBERED_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/([0-9]{1,9})")
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
    """Return True for a device, a named pipe or an open descriptor such as /dev/stdout.

    These are written to directly, never replaced, and read only once.
    """
    if descriptor_of(path) is not None:
        return True
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def descriptor_of(path: PathLike) -> int | None:
    """Return the number of the open descriptor that a path such as /dev/fd/3 or /dev/stdout names, else None."""
    numbered = NUMBERED_DESCRIPTOR.fullmatch(os.fspath(path))
    return int(numbered[1]) if numbered else NAMED_DESCRIPTORS.get(os.fspath(path))


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
        CodecError: the file cannot be read, or the copy cannot be written or would fill the disk.
    """
    name, folder = name_of(file), tempfile.gettempdir()
    room = COPY_SHARE * shutil.disk_usage(folder).free
    with naming_errors(f"a temporary copy of {name} in {folder}"):
        copy = tempfile.TemporaryFile()  # noqa: SIM115
    with copy:
        for block in itertools.chain([start], _blocks(file)):
            room -= len(block)
            if room < 0:
                raise CodecError(
                    f"{name}: a copy takes more than half of the free space in {folder}, set TMPDIR to a larger disk"
                )
            with naming_errors(f"a temporary copy of {name} in {folder}"):
                copy.write(block)
                copy.flush()
        copy.seek(0)
        yield copy


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield everything that a file or pipe gives; raise CodecError if it cannot be read."""
    with naming_damage(name_of(file)):
        while block := read_up_to(file, COPY_BLOCK):
            yield block


# -- replacing --

_unfinished: set[Path] = set()  # files and directories that must not outlive this process
_mark = secrets.token_hex(8)  # part of their names


class NewPath(os.PathLike[str]):
    """A path that nothing may exist at: a file that another program puts there meanwhile is never replaced."""

    def __init__(self, path: PathLike) -> None:
        self._path = os.fspath(path)

    def __fspath__(self) -> str:
        return self._path

    def __str__(self) -> str:
        return self._path


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Yield a path where the body may make a file or a directory, and remove it at the end if it is still there.

    `remove_unfinished` removes it too, whatever the body is doing.

    Raises:
        FileExistsError: there is something at the path already, which is kept.
    """
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    _unfinished.add(path)
    try:
        yield path
    finally:
        _remove(path)
        _unfinished.discard(path)


def remove_unfinished() -> None:
    """Remove everything that this process has not finished. Only for a process that ends immediately after it."""
    for path in tuple(_unfinished):
        _remove(path)


def mark_unfinished(mark: str) -> None:
    """Put a mark into the names of the files that this process has not finished, for `remove_marked`."""
    global _mark
    _mark = mark


def remove_marked(mark: str, directory: Path) -> None:
    """Remove what a process with this mark has left unfinished in a directory. The process must have ended."""
    for path in directory.glob(f".*.{mark}-*{UNFINISHED}"):
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def hidden_beside(target: Path) -> Path:
    """Return a path beside `target` for its unfinished content."""
    start = os.fsencode(target.name)[:LONGEST_START].decode(errors="ignore")
    return target.with_name(f".{start}.{_mark}-{secrets.token_hex(4)}{UNFINISHED}")


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Yield the path of a new, empty file in the same directory, and rename it to `path` at the end.

    After an error the new file is removed. So `path` holds either the old content or all of the new. A file that is
    replaced passes its permissions on. A device or a named pipe is not replaced: its own path is yielded.

    Raises:
        CodecError: the new file cannot be written or renamed, for example because the disk is full, because the old
            file is write-protected, or because there is a file at a `NewPath`.
    """
    if is_special(path):
        with naming_errors(path):
            yield Path(path)
        return
    target = Path(os.path.realpath(path))
    with naming_errors(path):
        permissions = _permissions(target)
        with unfinished(hidden_beside(target)) as temporary:
            open(temporary, "xb").close()
            yield temporary
            if isinstance(path, NewPath):
                _place(temporary, target)
            else:
                if permissions is not None:
                    temporary.chmod(permissions)
                os.replace(temporary, target)


def _permissions(target: Path) -> int | None:
    """Return the permissions of the file to replace, None if there is none; raise OSError if it is write-protected."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    try:
        mode = stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return None
    if not mode & WRITABLE:
        raise PermissionError(errno.EACCES, "the file is write-protected")
    return mode


def _place(temporary: Path, target: Path) -> None:
    """Rename a file to a name that is free; raise FileExistsError if it is not.

    A file system without hard links cannot do both in one operation. There the name is only looked up before.
    """
    exists = FileExistsError(errno.EEXIST, "another program has written this file meanwhile; it is kept")
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise exists from None
    except OSError:
        if os.path.lexists(target):
            raise exists from None
        os.replace(temporary, target)


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
    descriptor = descriptor_of(target)
    # Opened again by its path, a file behind a descriptor would lose what is already in it.
    with (
        replacing(target) as temporary,
        open(temporary if descriptor is None else os.dup(descriptor), "wb") as file,
    ):
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
