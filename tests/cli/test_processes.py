"""The command in processes of its own, in pipes and on terminals."""

from __future__ import annotations

import io
import os
import pty
import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
import soundfile
from support.command_line import ROOT, folder, lam, shell

import codec
from cli import files
from cli.progress import progress

__all__ = ["folder", "lam"]  # fixtures


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal in the place of stderr."""
    screen = Terminal()
    monkeypatch.setattr("cli.progress.sys", SimpleNamespace(stderr=screen))
    return screen


class TestTerminal:
    def test_a_bar(self, screen: Terminal) -> None:
        with progress(10.0, quiet=False) as tell:
            assert tell is not None
            tell(5.0)
            tell(10.0)
        assert "100%" in screen.getvalue()

    def test_seconds_where_the_end_is_not_known(self, screen: Terminal) -> None:
        with progress(None, quiet=False) as tell:
            assert tell is not None
            tell(7.0)
        assert "\r7 s" in screen.getvalue()

    def test_nothing_when_quiet_or_no_terminal(self, screen: Terminal) -> None:
        with progress(10.0, quiet=True) as tell:
            assert tell is None
        screen.isatty = lambda: False  # type: ignore[method-assign]
        with progress(10.0, quiet=False) as tell:
            assert tell is None
        assert screen.getvalue() == ""

    def test_binary_stays_off_the_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        main, terminal = pty.openpty()
        with open(terminal, "r+b", buffering=0) as screen, io.TextIOWrapper(screen) as text:  # type: ignore[type-var]
            monkeypatch.setattr(sys, "stdout", text)
            monkeypatch.setattr(sys, "stdin", text)
            with pytest.raises(click.UsageError, match="does not go to a terminal"):
                files.target("-", force=False)
            with pytest.raises(click.UsageError, match="standard input is a terminal"):
                files.source("-")
            monkeypatch.undo()
        os.close(main)


class TestProcesses:
    """Real processes; each that loads the model takes some seconds."""

    @pytest.fixture
    def model(self, tiny_preset: Path) -> str:
        return f"-m {shlex.quote(str(tiny_preset))}"

    def test_a_pipe(self, wav: Path, model: str, folder: Path) -> None:
        target = shlex.quote(str(folder / "out.wav"))
        chain = f"cat {wav} | lamella compress {model} - - | lamella decompress {model} - - > {target}"
        result = shell(chain)
        assert result.returncode == 0, result.stderr
        assert soundfile.info(folder / "out.wav").frames == soundfile.info(wav).frames

    def test_errors_are_all_that_is_said(self, model: str, folder: Path, lam: Path) -> None:
        bad = folder / "bad.lam"
        bad.write_bytes(lam.read_bytes()[:-150])
        result = shell(f"lamella decompress {model} - {folder}/bad.wav < {bad}")
        assert (result.returncode, result.stdout) == (1, b"")
        assert result.stderr.startswith(b"Error: standard input: ")
        assert result.stderr.count(b"\n") == 1
        assert not (folder / "bad.wav").exists()

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device that is always full")
    def test_a_full_disk(self, wav: Path, model: str) -> None:
        result = shell(f"lamella compress {model} {wav} - > /dev/full")
        assert result.returncode == 1
        assert result.stderr == b"Error: standard output: cannot be written: No space left on device\n"

    def test_a_disk_that_fills_up(self, lam: Path, model: str, folder: Path) -> None:
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # noqa: E731
        result = shell(f"lamella decompress {model} {lam} {folder}/out.wav", preexec_fn=limit)
        assert result.returncode == 1
        assert result.stderr.startswith(b"Error: ")
        assert result.stderr.count(b"\n") == 1
        assert list(folder.iterdir()) == []

    def test_a_reader_that_leaves(self, lam: Path, model: str) -> None:
        result = shell(f"lamella decompress {model} {lam} - | head -c 10 | wc -c")
        assert result.returncode == 1
        assert result.stdout.strip() == b"10"
        assert result.stderr == b"Error: whoever read the output has stopped reading\n"

    @pytest.mark.parametrize("verb", ["", "compress", "decompress", "info", "demo", "train", "models"])
    def test_help_is_quick(self, verb: str) -> None:
        def seconds() -> float:
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            return used.ru_utime + used.ru_stime

        took = []
        for _ in range(3):
            before = seconds()
            command = [sys.executable, "-m", "cli.main", *verb.split(), "--help"]
            assert subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
            took.append(seconds() - before)
        assert min(took) < 0.3

    def test_the_installed_command(self, tmp_path: Path) -> None:
        if not (command := shutil.which("lamella", path=str(Path(sys.executable).parent))):
            pytest.skip("lamella is not installed here")
        result = subprocess.run([command, "--version"], cwd=tmp_path, capture_output=True, check=True)
        assert result.stdout == f"lamella, version {codec.__version__}\n".encode()
