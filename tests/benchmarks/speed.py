"""Measure speed and memory on one core, as the tables of the README.

    python tests/benchmarks/speed.py --runs 3
    python tests/benchmarks/speed.py --peers PYTHON     beside EnCodec and Mimi
    python tests/benchmarks/speed.py --export FOLDER    the network alone in numpy, and as LiteRT or ONNX

The costs are those of whole `lamella` processes, start-up included, and of live steps in one process. They are
processor time (user and system), which other work on the machine lengthens less than the time of the clock. PYTHON is
the interpreter of an environment with `pip install torch encodec transformers`; the weights are random, which does not
change the speed. FOLDER is what `lamella export lamella-48k FOLDER` wrote with `--format litert` or `--format onnx`;
the option may be given several times, and nothing else is measured then.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import soundfile
from exports import format_of, timed

ROOT = Path(__file__).parents[2]
SAMPLE_RATE = 48000  # Hz
SHORT, LONG = 10, 300  # seconds
BITRATE = 6000  # bits per second
STEPS = 1000  # of a live stream
PEERS, EXPORTS = Path(__file__).with_name("peers.py"), Path(__file__).with_name("exports.py")
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}  # an installed package has compiled modules


class Cost(NamedTuple):
    """The cost of a process."""

    processor: float  # seconds, user and system
    clock: float  # seconds
    memory: float  # MiB at most


def cost_of(command: list[str], core: int) -> Cost:
    """Run a command on one core and return its cost."""
    environment = {**os.environ, **ONE_THREAD, **COMPILED, "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    pin = functools.partial(os.sched_setaffinity, 0, {core})
    process = subprocess.Popen(command, env=environment, preexec_fn=pin, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    clock = time.perf_counter() - start
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return Cost(usage.ru_utime + usage.ru_stime, clock, usage.ru_maxrss / 1024)


def medians(costs: list[Cost]) -> Cost:
    """Return the median of each cost."""
    return Cost(*(median(values) for values in zip(*costs, strict=True)))


def figures_of(command: list[str], core: int) -> dict[str, float]:
    """Run a script of this folder on one core; return the JSON object on its last line."""
    pin = functools.partial(os.sched_setaffinity, 0, {core})
    environment = {**os.environ, **ONE_THREAD}
    run = subprocess.run(
        command, env=environment, preexec_fn=pin, stdout=subprocess.PIPE, check=True, text=True
    )
    figures: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return figures


def write_clip(path: Path, seconds: int) -> None:
    """Write the shipped clips, repeated to a length."""
    clips = [
        soundfile.read(clip, dtype="float32", always_2d=True)
        for clip in sorted(ROOT.glob("assets/samples/*.flac"))
    ]
    sound = np.concatenate([samples[:, 0] for samples, rate in clips if rate == SAMPLE_RATE])
    soundfile.write(path, np.resize(sound, seconds * SAMPLE_RATE), SAMPLE_RATE)


def time_in_process(clip: str) -> dict[str, float]:
    """Code in this process, without start-up: seconds of the processor for a clip, milliseconds for live steps."""
    sys.path.insert(0, str(ROOT))
    from codec import DecoderStream, EncoderStream, load

    model = load()
    sound = soundfile.read(clip, dtype="float32", always_2d=True)[0]
    times: dict[str, float] = {}
    for _ in range(2):  # the first run prepares tables
        encoder = EncoderStream(model, SAMPLE_RATE, 1, bitrate=BITRATE, seconds_per_step=8)
        decoder = DecoderStream(model, SAMPLE_RATE, 1)
        start = time.process_time()
        chunks = [*encoder.push(sound), *encoder.flush()]
        middle = time.process_time()
        decoder.push(np.concatenate(chunks, axis=1))
        times = {"encode": middle - start, "decode": time.process_time() - middle}
    frames = np.resize(sound, (STEPS, model.config.hop_length, 1))
    encoder = EncoderStream(model, SAMPLE_RATE, 1, bitrate=BITRATE, frames_per_chunk=1)
    decoder = DecoderStream(model, SAMPLE_RATE, 1)
    chunks_of_steps, encoding = timed("encode", encoder.push, frames)
    _, decoding = timed("decode", decoder.push, list(itertools.chain(*chunks_of_steps)))
    return {**times, **encoding, **decoding}


def machine() -> str:
    """Return the name of the processor and the load of the machine."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{names[0].split(':')[1].strip() if names else 'unknown'}, load {os.getloadavg()[0]:.1f} before"


def row(*cells: str) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def own_table(folder: Path, core: int, runs: int) -> list[str]:
    """Return the table of whole processes and live steps."""
    lamella, costs = [sys.executable, "-m", "cli.main"], {}
    for seconds in (LONG, SHORT):
        wav, lam = folder / f"{seconds}.wav", folder / f"{seconds}.lam"
        write_clip(wav, seconds)
        for verb, paths in (("compress", (wav, lam)), ("decompress", (lam, folder / "back.wav"))):
            command = [*lamella, verb, "-qf", *map(str, paths)]
            costs[verb, seconds] = medians([cost_of(command, core) for _ in range(runs)])
    start = medians([cost_of([*lamella, "--help"], core) for _ in range(runs)])
    steps = figures_of([sys.executable, __file__, "--in-process", str(folder / f"{SHORT}.wav")], core)
    long, short = ([costs[verb, seconds] for verb in ("compress", "decompress")] for seconds in (LONG, SHORT))
    live = [
        f"{steps[f'{name} step']:.2f} ms, {steps[f'{name} 99 %']:.2f} ms" for name in ("encode", "decode")
    ]
    return [
        row("", "compress", "decompress"),
        row(*["---"] * 3),
        row("5 minutes", *(f"{c.processor:.2f} s: {LONG / c.processor:.0f} times real time" for c in long)),
        row(
            "10 seconds", *(f"{c.processor:.2f} s: {SHORT / c.processor:.0f} times real time" for c in short)
        ),
        row("10 seconds by the clock", *(f"{c.clock:.2f} s" for c in short)),
        row("peak memory", *(f"{c.memory:.0f} MiB" for c in long)),
        row("a live step of 20 ms: median, 99 %", *live),
        "",
        f"`lamella --help`: {start.processor:.2f} s ({start.clock:.2f} s by the clock)",
    ]


def peer_table(folder: Path, core: int, runs: int, python: str) -> list[str]:
    """Return the table of coding alone beside other codecs, with models in memory and interleaved runs."""
    clip = str(folder / f"{SHORT}.wav")
    commands = {"Lamella, 48 kHz, 6 kbit/s": [sys.executable, __file__, "--in-process", clip]}
    for name, peer in (("EnCodec, 24 kHz, 6 kbit/s", "encodec"), ("Mimi, 24 kHz, 4.4 kbit/s", "mimi")):
        commands[name] = [python, "-W", "ignore", str(PEERS), peer, clip]
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            figures[name].append(figures_of(command, core))
    rows = [row("10 seconds, start-up and loading excluded", "encode", "decode"), row(*["---"] * 3)]
    own: dict[str, float] = {}
    for name, of_runs in figures.items():
        seconds = {verb: median(run[verb] for run in of_runs) for verb in ("encode", "decode")}
        own = own or seconds
        rows.append(row(name, *(f"{s:.2f} s ({s / own[verb]:.0f} times)" for verb, s in seconds.items())))
    return rows


def export_table(folder: Path, core: int, runs: int, exports: list[str]) -> list[str]:
    """Return the table of the network alone, without the file format, in interleaved runs."""
    runtimes, tasks = ("numpy", *exports), ("start", "encode", "decode")
    wav, codes = str(folder / f"{LONG}.wav"), str(folder / "codes.npy")
    write_clip(Path(wav), LONG)
    costs: dict[tuple[str, str], list[Cost]] = {(name, task): [] for task in tasks for name in runtimes}
    steps: dict[str, list[dict[str, float]]] = {name: [] for name in runtimes}
    for _ in range(runs):
        for (name, task), of_runs in costs.items():
            sound = str(folder / "back.wav") if task == "decode" else wav
            of_runs.append(cost_of([sys.executable, str(EXPORTS), name, task, sound, codes], core))
        for name in runtimes:
            steps[name].append(figures_of([sys.executable, str(EXPORTS), name, "live", wav, codes], core))
    names = ("numpy", *map(format_of, exports))
    rows = [row("the network alone", *names), row(*["---"] * (1 + len(names)))]
    typical = {key: medians(of_runs) for key, of_runs in costs.items()}
    rows.append(
        row("start and one step", *(f"{typical[name, 'start'].processor:.2f} s" for name in runtimes))
    )
    for task in ("encode", "decode"):
        cells = [
            f"{cost.processor:.2f} s: {LONG / cost.processor:.0f} times real time, {cost.memory:.0f} MiB"
            for cost in (typical[name, task] for name in runtimes)
        ]
        rows.append(row(f"{task} 5 minutes", *cells))
    for verb in ("encode", "decode"):
        keys = (f"{verb} step", f"{verb} 99 %")
        times = [[median(run[key] for run in steps[name]) for key in keys] for name in runtimes]
        rows.append(
            row(f"{verb} 20 ms: median, 99 %", *(f"{step:.2f} ms, {most:.2f} ms" for step, most in times))
        )
    return rows


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="the tables have the median of so many")
    parser.add_argument("--core", type=int, default=0, help="the core that everything runs on")
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter with torch, encodec and transformers")
    parser.add_argument("--export", metavar="FOLDER", action="append", help="an export for LiteRT or as ONNX")
    parser.add_argument("--in-process", metavar="WAV", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_process:
        print(json.dumps(time_in_process(options.in_process)))
        return
    print(machine(), "", sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.export:
            print(*export_table(folder, options.core, options.runs, options.export), sep="\n")
            return
        print(*own_table(folder, options.core, options.runs), "", sep="\n", flush=True)
        if options.peers:
            print(*peer_table(folder, options.core, options.runs, options.peers), "", sep="\n")


if __name__ == "__main__":
    main()
