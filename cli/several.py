"""One file in this process, or any number into a folder, a process for each core."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import click

from cli.failures import one_line
from cli.options import Places

Job = Callable[..., str]  # (source, target, quiet=...): gives what to say; it is pickled


def run(job: Job, places: Places, ending: str, quiet: bool) -> None:
    """Do the job for IN and OUT, or for several files; raises ClickException at the end if any of these failed."""
    if places.folder is None:
        results = iter([(job(*places.pair(), quiet=quiet), "")])
    else:
        pairs = places.pairs(places.folder, ending)
        places.folder.mkdir(parents=True, exist_ok=True)
        results = _at_once(job, pairs)
    failed = 0
    for said, error in results:
        failed += bool(error)
        if error or not quiet:
            click.echo(f"Error: {error}" if error else said, err=True)
    if failed:
        raise click.ClickException(f"{failed} of {len(places.names)} files failed")


def _at_once(job: Job, pairs: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Of each file, as it is done, what to say and what went wrong."""
    import multiprocessing  # here, since one file does without them
    from concurrent.futures import ProcessPoolExecutor, as_completed

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    context, deaf = multiprocessing.get_context("spawn"), (signal.SIGINT, signal.SIGTERM)
    with ProcessPoolExecutor(min(cores, len(pairs)), context, _ignore, deaf) as pool:
        futures = {pool.submit(_done, job, *pair): pair[0] for pair in pairs}
        try:
            for future in as_completed(futures):
                died = future.exception()
                yield ("", f"{futures[future]}: {died}") if died else future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()  # what is half written goes away with it
            raise


def _ignore(*numbers: signal.Signals) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def _done(job: Job, source: str, target: str) -> tuple[str, str]:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return job(source, target, quiet=True), ""
    except (Exception, KeyboardInterrupt) as error:
        text = one_line(error)
        return "", text if source in text else f"{source}: {text}"
    finally:
        _ignore(signal.SIGTERM)
