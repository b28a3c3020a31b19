"""Ctrl-C, SIGTERM and SIGHUP: the command ends, with one line, and leaves no unfinished file and no process."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import soundfile
from support.command_line import ROOT
from support.sounds import tone

if not sys.platform.startswith("linux"):
    pytest.skip("looks into /proc for the processes that are left", allow_module_level=True)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 60.0  # seconds, on a busy machine


@pytest.fixture(autouse=True, scope="module")
def signals_not_ignored() -> Iterator[None]:
    """Let the command get signals that this process ignores, as when the tests run in the background."""
    ignored = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return four sounds that take longer to compress than any test takes."""
    folder = tmp_path_factory.mktemp("sounds")
    paths = [folder / f"{name}.wav" for name in "abcd"]
    soundfile.write(paths[0], tone(1, 8000).repeat(2000), 8000)
    for path in paths[1:]:
        path.hardlink_to(paths[0])
    return paths


class Run:
    """The command in a session of its own, like one that a terminal started."""

    def __init__(self, output: Path, *arguments: object) -> None:
        self.output = output
        output.mkdir()
        command = [sys.executable, "-m", "cli.main", *map(str, arguments)]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True)

    def wait_for_work(self) -> None:
        """Wait until there is an unfinished file."""
        until(lambda: self.process.poll() is not None or bool(list(self.output.glob(".*.part"))))
        assert self.process.poll() is None

    def wait_for_handlers(self) -> None:
        """Wait until the command handles signals. Before that, the interpreter ends in ways of its own."""
        status = Path(f"/proc/{self.process.pid}/status")
        bit = 1 << (signal.SIGHUP - 1)  # the last one that it prepares for
        until(lambda: int(re.findall(r"SigCgt:\s*(\w+)", status.read_text())[0], 16) & bit != 0)

    def stop(self, number: signal.Signals) -> None:
        """Send a signal as a terminal does: to all processes for Ctrl-C and a lost terminal, else to the first one."""
        everybody = number != signal.SIGTERM
        (os.killpg if everybody else os.kill)(self.process.pid, number)

    def end(self) -> tuple[int, str]:
        """Return the exit code and what was printed; check that neither files nor processes are left."""
        _, printed = self.process.communicate(timeout=PATIENCE)
        until(lambda: not members(self.process.pid))
        assert [path.name for path in self.output.iterdir() if path.name.endswith(".part")] == []
        return self.process.returncode, printed.decode()


def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true; fail if that takes too long."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def members(session: int) -> list[int]:
    """Return the processes of a session that are alive."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, _, number = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(number) == session and state != "Z":
                found.append(int(entry.name))
    return found


def writes(process: int, start: str) -> bool:
    """Return True if the process has a file open whose name starts like this."""
    with contextlib.suppress(OSError):  # it closes a file, or ends
        descriptors = Path(f"/proc/{process}/fd").iterdir()
        return any(os.readlink(each).rpartition("/")[2].startswith(start) for each in descriptors)
    return False


def one_file(sounds: list[Path], output: Path, model: Path) -> Run:
    return Run(output, "compress", "-m", model, sounds[0], output / "a.lam")


def several_files(sounds: list[Path], output: Path, model: Path) -> Run:
    return Run(output, "compress", "-m", model, *sounds, "-d", output)


def moments() -> list[tuple[Callable[..., Run], Callable[[Run], None], signal.Signals, float]]:
    """Return fifty moments: what runs, what to wait for, the signal, and seconds after that event."""
    generator = random.Random(1)
    starts = [one_file, one_file, one_file, several_files]
    waits = [Run.wait_for_handlers, Run.wait_for_work]
    return [
        (
            starts[number % 4],
            generator.choice(waits),
            SIGNALS[number % 3],
            0.0 if number % 5 == 0 else generator.uniform(0, 0.6),
        )
        for number in range(50)
    ]


def test_a_signal_at_any_moment_ends_all_and_leaves_nothing(
    sounds: list[Path], tmp_path: Path, tiny_preset: Path
) -> None:
    def stopped(number: int) -> tuple[int, str]:
        start, wait, kind, delay = moments()[number]
        run = start(sounds, tmp_path / str(number), tiny_preset)
        wait(run)
        time.sleep(delay)
        run.stop(kind)
        if number % 2 and run.process.poll() is None:
            run.stop(kind)  # again, out of impatience
        return run.end()

    with ThreadPoolExecutor(4) as threads:
        ends = dict(enumerate(threads.map(stopped, range(len(moments())))))
    assert {number: end for number, end in ends.items() if end != (1, "Error: interrupted\n")} == {}


def test_a_signal_while_the_command_starts_leaves_nothing(
    sounds: list[Path], tmp_path: Path, tiny_preset: Path
) -> None:
    for n, delay in enumerate((0.0, 0.1, 0.2, 0.4)):
        run = several_files(sounds, tmp_path / str(n), tiny_preset)
        time.sleep(delay)
        run.stop(signal.SIGTERM)
        code, _ = run.end()
        assert code != 0


@pytest.mark.parametrize("has_writer", [False, True])
def test_a_signal_ends_the_wait_for_a_pipe(has_writer: bool, tmp_path: Path, tiny_preset: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR) if has_writer else None  # waits for no reader
    run = Run(tmp_path / "out", "decompress", "-m", tiny_preset, pipe, tmp_path / "out" / "a.wav")
    run.wait_for_handlers()
    time.sleep(0.5)  # the pipe is probably open then
    run.stop(signal.SIGINT)
    assert run.end() == (1, "Error: interrupted\n")
    if writer is not None:
        os.close(writer)


@pytest.mark.parametrize("start", [one_file, several_files])
def test_a_lost_terminal_is_ignored_under_nohup(
    start: Callable[..., Run], sounds: list[Path], tmp_path: Path, tiny_preset: Path
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run = start(sounds, tmp_path / "out", tiny_preset)
    finally:
        signal.signal(signal.SIGHUP, before)
    run.wait_for_work()
    run.stop(signal.SIGHUP)
    time.sleep(0.3)
    assert run.process.poll() is None
    run.stop(signal.SIGTERM)
    assert run.end() == (1, "Error: interrupted\n")


def test_workers_end_when_their_parent_is_killed(
    sounds: list[Path], tmp_path: Path, tiny_preset: Path
) -> None:
    run = several_files(sounds, tmp_path / "out", tiny_preset)
    run.wait_for_work()
    run.process.kill()
    code, printed = run.end()
    assert (code, printed) == (-signal.SIGKILL, "")


def test_a_worker_that_is_killed_costs_its_file_alone(tmp_path: Path, tiny_preset: Path) -> None:
    long, short = tmp_path / "long.wav", [tmp_path / f"{n}.wav" for n in range(6)]
    soundfile.write(long, tone(1, 8000).repeat(2000), 8000)
    for path in short:
        soundfile.write(path, tone(0.2, 8000), 8000)
    run = Run(tmp_path / "out", "compress", "-m", tiny_preset, long, *short, "-d", tmp_path / "out")
    workers: list[int] = []
    until(
        lambda: (
            workers.extend(n for n in members(run.process.pid) if writes(n, ".long.lam.")) or bool(workers)
        )
    )
    os.kill(workers[0], signal.SIGKILL)
    code, printed = run.end()
    assert code == 1
    assert f"Error: {long}: the process that worked on it was killed by signal 9" in printed.splitlines()
    assert printed.splitlines()[-1] == "Error: 1 of 7 files failed"
    assert sorted(path.name for path in run.output.iterdir()) == [f"{n}.lam" for n in range(6)]


@pytest.mark.slow
@pytest.mark.parametrize("start", [one_file, several_files])
def test_the_end_comes_within_a_second(
    start: Callable[..., Run], sounds: list[Path], tmp_path: Path, tiny_preset: Path
) -> None:
    for n, number in enumerate(SIGNALS):
        run = start(sounds, tmp_path / str(n), tiny_preset)
        run.wait_for_work()
        started = time.monotonic()
        run.stop(number)
        run.end()
        assert time.monotonic() - started < 1
