"""Run a job on one file in this process, or on many files with one process for each core."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import NamedTuple

import click

from cli.errors import one_line
from cli.options import FileArguments

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
    import multiprocessing  # imported here because one file needs no processes
    from concurrent.futures import ProcessPoolExecutor, as_completed

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    spawn, stop_signals = multiprocessing.get_context("spawn"), (signal.SIGINT, signal.SIGTERM)
    with ProcessPoolExecutor(min(cores, len(pairs)), spawn, _ignore, stop_signals) as pool:
        sources = {pool.submit(_run_here, job, *pair): pair[0] for pair in pairs}
        try:
            for future in as_completed(sources):
                crash = future.exception()
                yield Outcome(error=f"{sources[future]}: {crash}") if crash else future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()  # SIGTERM interrupts the job, which removes its unfinished file
            raise


def _ignore(*signals: signal.Signals) -> None:
    """Ignore these signals: between two jobs, only the parent process reacts to them."""
    for number in signals:
        signal.signal(number, signal.SIG_IGN)


def _run_here(job: Job, source: str, target: str) -> Outcome:
    """Run the job in a process of the pool. SIGTERM interrupts it like Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return Outcome(job(source, target, quiet=True))
    except (Exception, KeyboardInterrupt) as error:
        text = one_line(error)
        return Outcome(error=text if source in text else f"{source}: {text}")
    finally:
        _ignore(signal.SIGTERM)
