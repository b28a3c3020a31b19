"""Run a job on one file in this process, or on many files with one process for each core."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from cli import stopping
from cli.errors import one_line
from cli.options import FileArguments
from codec.files import mark_unfinished, remove_marked, remove_unfinished
from codec.stop_signals import signals_held

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

# Called as job(source, target, quiet=...), it returns the line to print. It must be possible to pickle it.
Job = Callable[..., str]


class Outcome(NamedTuple):
    """The result of a job on one file: the line to print, or an error."""

    line: str = ""
    error: str = ""


def run_job(job: Job, files: FileArguments, ending: str, quiet: bool) -> None:
    """Run a job on the files of a command line and print what it returns.

    Args:
        job: compresses or decompresses one file.
        files: IN and OUT, or any number of IN and an output folder.
        ending: of the new files in the output folder, such as ".lam".
        quiet: print only errors.

    Raises:
        ClickException: the job failed for some of several files. The others are done nevertheless.
    """
    if files.output_dir is None:
        line = job(*files.input_and_output(), quiet=quiet)
        outcomes = iter([Outcome(line)])
    else:
        pairs = files.inputs_and_outputs(files.output_dir, ending)
        files.output_dir.mkdir(parents=True, exist_ok=True)
        outcomes = _run_in_processes(job, pairs)
    failed = 0
    for outcome in outcomes:
        if outcome.error:
            failed += 1
            click.echo(f"Error: {outcome.error}", err=True)
        elif not quiet:
            click.echo(outcome.line, err=True)
    if failed:
        raise click.ClickException(f"{failed} of {len(files.names)} files failed")


def _run_in_processes(job: Job, pairs: list[tuple[str, str]]) -> Iterator[Outcome]:
    """Yield the outcome of each file as soon as it is done."""
    from multiprocessing import resource_tracker

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    resource_tracker.ensure_running()  # its start ends what `signals_held` does
    workers = _Workers(job)
    with stopping.before_end(workers.kill), contextlib.closing(workers):
        yield from workers.run(pairs, min(cores, len(pairs)))


class _Workers:
    """Processes that run a job on one file after the other. One that dies takes only its own file along.

    They ignore stop signals: this process alone reacts to them. It kills the others, and when they have ended it
    removes what they have not finished. So nobody can make a file after somebody has looked for it.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._workers: list[_Worker] = []

    def run(self, pairs: Iterable[tuple[str, str]], count: int) -> Iterator[Outcome]:
        """Yield the outcome of each pair of input and output, of which `count` are worked on at a time."""
        from multiprocessing.connection import wait

        left = iter(pairs)
        for pair in itertools.islice(left, count):
            self._start(pair)
        while self._workers:
            ready = wait([worker.connection for worker in self._workers])
            for worker in [worker for worker in self._workers if worker.connection in ready]:
                outcome = worker.receive()
                following = next(left, None)
                if outcome and following:
                    worker.send(following)
                else:
                    self._end(worker)
                    if following:
                        self._start(following)
                yield outcome or worker.failure()

    def kill(self) -> None:
        """End all processes and remove what they have not finished. For a signal handler."""
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.remove_unfinished()

    def close(self) -> None:
        """End all processes."""
        self.kill()
        self._workers.clear()

    def _start(self, pair: tuple[str, str]) -> None:
        with signals_held():
            self._workers.append(_Worker(self._job))
        self._workers[-1].send(pair)

    def _end(self, worker: _Worker) -> None:
        worker.kill()
        worker.remove_unfinished()
        self._workers.remove(worker)


class _Worker:
    """A process that runs a job on one file at a time."""

    def __init__(self, job: Job) -> None:
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self._mark = secrets.token_hex(8)
        self._source = self._target = ""
        self._process = context.Process(target=_work, args=(other, job, self._mark), daemon=True)
        self._process.start()
        other.close()

    def send(self, pair: tuple[str, str]) -> None:
        """Let the process work on this pair of input and output."""
        self._source, self._target = pair
        with contextlib.suppress(OSError):  # it has died, and `receive` finds the end of the connection
            self.connection.send(pair)

    def receive(self) -> Outcome | None:
        """Return the outcome of the last pair; None if the process has died."""
        try:
            outcome: Outcome = self.connection.recv()
        except (EOFError, OSError):
            return None
        return outcome

    def failure(self) -> Outcome:
        """Return the outcome of a process that has died."""
        code = self._process.exitcode or 0
        end = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return Outcome(error=f"{self._source}: the process that worked on it {end}")

    def kill(self) -> None:
        """End the process, if it has not ended."""
        self._process.kill()

    def remove_unfinished(self) -> None:
        """Wait for the end of the process and remove the file that it has not finished."""
        self._process.join()
        remove_marked(self._mark, Path(os.path.realpath(self._target)).parent)


def _work(connection: Connection, job: Job, mark: str) -> None:
    """Run the job on each pair that comes through the connection, until its other end is closed."""
    mark_unfinished(mark)
    with stopping.before_end(remove_unfinished), contextlib.suppress(EOFError, OSError):
        stopping.end_with_parent()
        while True:
            connection.send(_run_here(job, *connection.recv()))


def _run_here(job: Job, source: str, target: str) -> Outcome:
    """Run the job in this process."""
    try:
        return Outcome(job(source, target, quiet=True))
    except Exception as error:
        text = one_line(error)
        return Outcome(error=text if source in text else f"{source}: {text}")
