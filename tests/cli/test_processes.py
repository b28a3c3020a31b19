"""The command in processes of its own: pipes, full disks, and terminals."""

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

import click
import pytest
import soundfile
from support.command_line import ROOT, shell

import codec
from cli.files import resolve_input, resolve_output


@pytest.fixture
def model(tiny_preset: Path) -> str:
    """The option that selects the tiny model."""
    return f"-m {shlex.quote(str(tiny_preset))}"


def test_a_pipe_compresses_and_decompresses(wav: Path, model: str, folder: Path) -> None:
    target = shlex.quote(str(folder / "out.wav"))
    chain = f"cat {wav} | lamella compress {model} - - | lamella decompress {model} - - > {target}"
    result = shell(chain)
    assert result.returncode == 0, result.stderr
    assert soundfile.info(folder / "out.wav").frames == soundfile.info(wav).frames


def test_only_the_error_is_printed(model: str, folder: Path, lam: Path) -> None:
    bad = folder / "bad.lam"
    bad.write_bytes(lam.read_bytes()[:-150])
    result = shell(f"lamella decompress {model} - {folder}/bad.wav < {bad}")
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.startswith(b"Error: standard input: ")
    assert result.stderr.count(b"\n") == 1
    assert not (folder / "bad.wav").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device that is always full")
def test_a_full_disk_behind_a_pipe_is_an_error(wav: Path, model: str) -> None:
    result = shell(f"lamella compress {model} {wav} - > /dev/full")
    assert result.returncode == 1
    assert result.stderr == b"Error: standard output: cannot be written: No space left on device\n"


def test_a_disk_that_fills_up_leaves_no_file(lam: Path, model: str, folder: Path) -> None:
    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    result = shell(f"lamella decompress {model} {lam} {folder}/out.wav", preexec_fn=limit_file_size)
    assert result.returncode == 1
    assert result.stderr.startswith(b"Error: ")
    assert result.stderr.count(b"\n") == 1
    assert list(folder.iterdir()) == []


def test_a_reader_that_ends_is_an_error(lam: Path, model: str) -> None:
    result = shell(f"lamella decompress {model} {lam} - | head -c 10 | wc -c")
    assert result.returncode == 1
    assert result.stdout.strip() == b"10"
    assert result.stderr == b"Error: the program that reads the output has ended\n"


def test_binary_data_is_kept_off_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    main, terminal = pty.openpty()
    with open(terminal, "r+b", buffering=0) as screen, io.TextIOWrapper(screen) as text:  # type: ignore[type-var]
        monkeypatch.setattr(sys, "stdout", text)
        monkeypatch.setattr(sys, "stdin", text)
        with pytest.raises(click.UsageError, match="cannot be written to a terminal"):
            resolve_output("-", force=False)
        with pytest.raises(click.UsageError, match="standard input is a terminal"):
            resolve_input("-")
        monkeypatch.undo()
    os.close(main)


def test_the_installed_command_starts(tmp_path: Path) -> None:
    if not (command := shutil.which("lamella", path=str(Path(sys.executable).parent))):
        pytest.skip("lamella is not installed here")
    result = subprocess.run([command, "--version"], cwd=tmp_path, capture_output=True, check=True)
    assert result.stdout == f"lamella, version {codec.__version__}\n".encode()


def test_help_loads_neither_numpy_nor_a_framework() -> None:
    script = """if True:
        import sys
        from cli.verbs import lamella

        for verb in [[], *([name] for name in lamella.commands)]:
            lamella([*verb, "--help"], standalone_mode=False)
        heavy = {"numpy", "soundfile", "soxr", "safetensors", "keras", "tensorflow", "jax", "multiprocessing"}
        print(sorted(heavy & sys.modules.keys()))
    """
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
