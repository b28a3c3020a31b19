"""Errors are one line with exit code 1, and existing files are safe."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command_line import fails, run, works

import codec
from cli.errors import one_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (BrokenPipeError(32, "Broken pipe"), "the program that reads the output has ended"),
        (FileNotFoundError(2, "No such file or directory", "a.wav"), "a.wav: No such file or directory"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("odd"), "odd"),
        (codec.CodecError("two\nlines"), "two lines"),
        (MemoryError(), "not enough memory"),
        (KeyError("x"), "internal error, please report it: KeyError: 'x'"),
    ],
)
def test_every_error_is_one_line(error: BaseException, line: str) -> None:
    assert one_line(error) == line


def test_a_traceback_can_be_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAMELLA_TRACEBACK", "1")
    assert isinstance(run("info", tmp_path / "no.lam").exception, codec.CodecError)


def test_nothing_is_overwritten_without_force(folder: Path, wav: Path, lam: Path, tiny_preset: Path) -> None:
    target = folder / "there"
    target.write_bytes(b"mine")
    assert "--force" in fails("compress", "-m", tiny_preset, wav, target)
    assert "--force" in fails("decompress", "-m", tiny_preset, lam, target)
    assert target.read_bytes() == b"mine"
    works("compress", "-m", tiny_preset, "-f", wav, target)
    assert target.read_bytes() == lam.read_bytes()


@pytest.mark.parametrize("place", ["nothing/talk.lam", "/proc/talk.lam", "."])
def test_a_place_that_cannot_be_written_is_an_error(
    place: str, folder: Path, wav: Path, tiny_preset: Path
) -> None:
    fails("compress", "-m", tiny_preset, wav, folder / place)


def test_a_device_is_written_to_and_not_replaced(wav: Path, tiny_preset: Path) -> None:
    works("compress", "-m", tiny_preset, wav, "/dev/null")
    assert not Path("/dev/null").is_file()


def test_an_interrupt_leaves_no_file(
    folder: Path, wav: Path, tiny_preset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: object, codes: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("codec.bitstream.Writer.write_chunks", interrupt)
    assert "interrupted" in fails("compress", "-m", tiny_preset, wav, folder / "talk.lam")
    assert list(folder.iterdir()) == []


def test_the_version_is_that_of_the_package() -> None:
    assert works("--version").stdout == f"lamella, version {codec.__version__}\n"


def test_help_documents_the_environment_variables() -> None:
    printed = works("--help").stdout
    assert "LAMELLA_MODELS" in printed
    assert "LAMELLA_TRACEBACK" in printed
