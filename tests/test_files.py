"""Files are replaced only when they are whole, pipes are read and written completely, and messages name both."""

from __future__ import annotations

import errno
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.streams import Pipe

from codec.errors import CodecError, Truncated
from codec.files import (
    CountedFile,
    NewPath,
    hidden_beside,
    mark_unfinished,
    name_of,
    naming_damage,
    read_up_to,
    reading,
    remove_marked,
    replacing,
    seekable,
    temporary_copy,
    write_all,
    write_atomically,
    writing,
)


def pipe(data: bytes = b"", step: int = 3) -> BinaryIO:
    return cast(BinaryIO, Pipe(data, step))


class NonBlocking(io.RawIOBase):
    """A pipe in non-blocking mode that has no data and no room."""

    def read(self, size: int = -1) -> None:  # type: ignore[override]
        return None

    def write(self, data: object) -> None:  # type: ignore[override]
        return None


class TestReplacing:
    def test_follows_links(self, tmp_path: Path) -> None:
        real, link = tmp_path / "real", tmp_path / "link"
        real.write_bytes(b"old")
        link.symlink_to(real)
        with replacing(link) as temporary:
            temporary.write_bytes(b"new")
        assert link.is_symlink() and real.read_bytes() == b"new"

    def test_writes_to_devices_themselves(self) -> None:
        with replacing("/dev/null") as path:
            assert path == Path("/dev/null")

    def test_refuses_directories_and_missing_folders(self, tmp_path: Path) -> None:
        with pytest.raises(CodecError, match="directory"), replacing(tmp_path):
            raise AssertionError("not reached")
        with pytest.raises(CodecError, match="No such file"), replacing(tmp_path / "no" / "a"):
            raise AssertionError("not reached")

    def test_keeps_the_old_content_after_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        path.write_bytes(b"old")
        with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_never_overwrites_a_file_at_a_new_path(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also on a file system that has no hard links, such as FAT."""

        def link(*_: object) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        for path in (tmp_path / "a", tmp_path / "b"):
            write_atomically(NewPath(path), b"new")
            with pytest.raises(CodecError, match="meanwhile; it is kept"):
                write_atomically(NewPath(path), b"newer")
            assert path.read_bytes() == b"new"
            monkeypatch.setattr(os, "link", link)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]

    def test_remove_marked_leaves_the_files_of_others(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("codec.files._mark", "")  # restored at the end
        mark_unfinished("a")
        hidden_beside(tmp_path / "x").touch()
        mark_unfinished("b")
        other = hidden_beside(tmp_path / "x")
        other.touch()
        remove_marked("a", tmp_path)
        assert list(tmp_path.iterdir()) == [other]

    def test_never_opens_a_file_that_is_already_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Somebody who guesses the temporary name could otherwise redirect the output by a link."""
        monkeypatch.setattr("secrets.token_hex", lambda size: "0")
        victim, guessed = tmp_path / "victim", hidden_beside(tmp_path / "a")
        guessed.symlink_to(victim)
        with pytest.raises(CodecError, match="File exists"), replacing(tmp_path / "a"):
            raise AssertionError("not reached")
        assert guessed.is_symlink() and not victim.exists()


def test_write_atomically_replaces_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in (b"old", b"", b"new"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@given(st.binary(max_size=40), st.integers(0, 50), st.integers(1, 9))
def test_reading_from_a_pipe_is_complete(data: bytes, size: int, step: int) -> None:
    source = pipe(data, step)
    assert read_up_to(source, size) == data[:size]
    assert read_up_to(source, 100) == data[size:]


@given(st.binary(max_size=40), st.integers(1, 9))
def test_writing_to_a_pipe_is_complete(data: bytes, step: int) -> None:
    target = Pipe(step=step)
    counted = CountedFile(cast(BinaryIO, target), "pipe")
    assert counted.write(data) == counted.size == len(data)
    assert target.written == data


def test_a_pipe_in_non_blocking_mode_is_an_error_and_not_the_end() -> None:
    file = cast(BinaryIO, NonBlocking())
    with pytest.raises(BlockingIOError, match="non-blocking"):
        read_up_to(file, 1)
    with pytest.raises(BlockingIOError, match="non-blocking"):
        write_all(file, b"a")


def test_a_pipe_is_copied_to_seek_in_it() -> None:
    with seekable(pipe(b"0123456789")) as file:
        assert (file.seek(4), file.read()) == (4, b"456789")
    with temporary_copy(pipe(b"456"), start=b"0123") as file:
        assert file.read() == b"0123456"
    file = io.BytesIO(b"0123")
    file.seek(2)
    with seekable(file) as same:
        assert same is file and same.read() == b"23"
    non_blocking = cast(BinaryIO, NonBlocking())
    with pytest.raises(CodecError, match="the stream: cannot be read: the file"), seekable(non_blocking):
        raise AssertionError("not reached")


def test_a_pipe_without_end_does_not_fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = shutil.disk_usage(tempfile.gettempdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk._replace(free=18))
    with temporary_copy(pipe(b"123456789")) as file:
        assert file.read() == b"123456789"
    message = "the stream: a copy takes more than half of the free space in .*, set TMPDIR to a larger disk"
    with pytest.raises(CodecError, match=message), temporary_copy(pipe(b"123456789"), start=b"0"):
        raise AssertionError("not reached")


def test_a_full_disk_for_temporary_files_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    message = "a temporary copy of the stream in .*: cannot be written: No space left on device"
    with pytest.raises(CodecError, match=message), temporary_copy(pipe(b"1")):
        raise AssertionError("not reached")


def test_opening_leaves_file_objects_open(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with writing(buffer) as target:
        target.write(b"abc")
    with reading(buffer) as source:
        assert source is buffer
    with writing(tmp_path / "a") as target:
        target.write(buffer.getvalue())
        assert not (tmp_path / "a").exists()
    with reading(tmp_path / "a") as source:
        assert source.read() == b"abc"


def test_errors_name_the_file(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(CodecError, match="missing: cannot be read: No such file"), reading(missing):
        raise AssertionError("not reached")
    with pytest.raises(Truncated, match="talk: cut short"), naming_damage("talk"):
        raise Truncated("cut short")


def test_a_closed_pipe_is_left_to_the_command() -> None:
    receive, send = os.pipe()
    os.close(receive)
    with pytest.raises(BrokenPipeError), open(send, "wb", buffering=0) as file, writing(file) as target:
        target.write(b"a")


def test_names_of_streams() -> None:
    assert name_of(Path("a.wav")) == "a.wav"
    assert name_of(io.BytesIO()) == "the stream"
    with open(0, "rb", closefd=False) as stdin:
        assert name_of(stdin) == "standard input"
