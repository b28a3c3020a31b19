"""Named pipes, open descriptors and closed ones work as files do, and files of others are kept."""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.command_line import fails, shell, works


@contextlib.contextmanager
def written_to(path: Path | int, *pieces: bytes | Callable[[], object]) -> Iterator[None]:
    """Write pieces to a named pipe or a descriptor in the background; a piece that is a function is called."""

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), open(path, "wb", buffering=0) as file:
            for piece in pieces:
                if callable(piece):
                    piece()
                else:
                    file.write(piece)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    yield
    thread.join(60)
    assert not thread.is_alive()


@contextlib.contextmanager
def descriptor_with(data: bytes) -> Iterator[str]:
    """Yield the path of an open descriptor that gives these bytes once, like `<(...)` in a shell."""
    receive, send = os.pipe()
    with written_to(send, data):
        yield f"/dev/fd/{receive}"
        os.close(receive)


@pytest.fixture
def named_pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_a_named_pipe_is_decompressed(lam: Path, named_pipe: Path, folder: Path, tiny_preset: Path) -> None:
    command = ("decompress", "-q", "-m", tiny_preset)
    works(*command, lam, folder / "file.wav")
    for option in ([], ["--recover"]):
        with written_to(named_pipe, lam.read_bytes()):
            works(*command, *option, named_pipe, folder / f"pipe{len(option)}.wav")
    sizes = {path.stat().st_size for path in folder.iterdir()}
    assert len(sizes) == 1
    assert (folder / "pipe0.wav").read_bytes() == (folder / "file.wav").read_bytes()


@pytest.mark.parametrize("verb", ["decompress", "info", "verify", "thin"])
def test_every_verb_reads_an_open_descriptor(verb: str, lam: Path, folder: Path, tiny_preset: Path) -> None:
    options = {"thin": ["--bitrate", "3k"]}.get(verb, [])
    model = [] if verb == "verify" else ["-m", tiny_preset]
    targets = [folder / "out.wav"] if verb in ("decompress", "thin") else []
    with descriptor_with(lam.read_bytes()) as path:
        works(verb, *model, *options, path, *targets)
    assert all(target.stat().st_size for target in targets)


def test_compress_reads_an_open_descriptor(wav: Path, lam: Path, folder: Path, tiny_preset: Path) -> None:
    with descriptor_with(wav.read_bytes()) as path:
        works("compress", "-m", tiny_preset, path, folder / "out.lam")
    assert (folder / "out.lam").read_bytes() == lam.read_bytes()


def test_every_verb_writes_to_an_open_descriptor_behind_what_is_there(
    wav: Path, lam: Path, folder: Path, tiny_preset: Path
) -> None:
    for verb, source in (("compress", wav), ("decompress", lam), ("thin --bitrate 3k", lam)):
        path = folder / verb.split()[0]
        with open(path, "wb", buffering=0) as file:
            file.write(b"before")
            works(*verb.split(), "-q", "-m", tiny_preset, source, f"/dev/fd/{file.fileno()}")
            file.write(b"after")
        assert path.read_bytes().startswith(b"before") and path.read_bytes().endswith(b"after")
    assert (folder / "compress").read_bytes() == b"before" + lam.read_bytes() + b"after"


def test_a_named_pipe_is_written_to_and_stays(
    wav: Path, lam: Path, named_pipe: Path, tiny_preset: Path
) -> None:
    received = []
    reader = threading.Thread(target=lambda: received.append(named_pipe.read_bytes()), daemon=True)
    reader.start()
    works("compress", "-q", "-m", tiny_preset, wav, named_pipe)
    reader.join(60)
    assert received == [lam.read_bytes()]
    assert named_pipe.is_fifo()


def test_a_descriptor_that_is_not_open_is_an_error(wav: Path, tiny_preset: Path) -> None:
    line = fails("compress", "-m", tiny_preset, wav, "/dev/fd/987")
    assert line == "Error: /dev/fd/987: cannot be written: Bad file descriptor\n"


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("lamella info {lam} 2>&-", 0, ""),
        ("lamella info {missing} 2>&-", 1, ""),
        ("lamella info {lam} >&-", 1, "standard output: cannot be written: Bad file descriptor"),
        ("lamella info - <&-", 1, "standard input: cannot be read: Bad file descriptor"),
        ("lamella info {lam} > /dev/full", 1, "standard output: cannot be written: No space left on device"),
        ("lamella --help > /dev/full", 1, "standard output: cannot be written: No space left on device"),
    ],
)
def test_closed_and_full_streams_give_one_line(
    command: str, code: int, message: str, lam: Path, tmp_path: Path
) -> None:
    missing = shlex.quote(str(tmp_path / "missing"))
    result = shell(command.format(lam=shlex.quote(str(lam)), missing=missing))
    assert (result.returncode, result.stderr.decode()) == (code, message and f"Error: {message}\n")


def test_a_file_that_appears_during_the_work_is_kept(
    wav: Path, named_pipe: Path, folder: Path, tiny_preset: Path
) -> None:
    target = folder / "out.lam"
    command = ("compress", "-q", "-m", tiny_preset, named_pipe, target)
    with written_to(named_pipe, wav.read_bytes(), lambda: target.write_bytes(b"mine")):
        line = fails(*command)
    assert f"{target}: cannot be written: another program has written this file meanwhile" in line
    assert target.read_bytes() == b"mine"
    with written_to(named_pipe, wav.read_bytes()):
        works(*command, "--force")
    assert target.read_bytes() != b"mine"


def test_force_keeps_the_permissions_and_refuses_a_protected_file(
    wav: Path, folder: Path, tiny_preset: Path
) -> None:
    target = folder / "out.lam"
    target.write_bytes(b"mine")
    command = ("compress", "-q", "--force", "-m", tiny_preset, wav, target)
    target.chmod(0o400)
    assert f"{target}: cannot be written: the file is write-protected" in fails(*command)
    assert target.read_bytes() == b"mine"
    target.chmod(0o600)
    works(*command)
    assert target.read_bytes() != b"mine"
    assert target.stat().st_mode & 0o777 == 0o600


def test_the_longest_names_are_written(wav: Path, folder: Path, tiny_preset: Path) -> None:
    target = folder / ("\N{GRINNING FACE}" * 62 + ".lam")
    works("compress", "-q", "-m", tiny_preset, wav, target)
    assert target.exists()
