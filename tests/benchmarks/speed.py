"""Speed and memory on one core, as the tables of the README: `python tests/benchmarks/speed.py`.

Whole processes of `lamella`, start-up included: processor time (user and system), which other work on the machine
lengthens less than it does the clock's; of live steps in one process too. With `--peers PYTHON`, the interpreter
of an environment with `pip install torch encodec transformers`, also EnCodec and Mimi on the same sound, their weights
drawn at random, which changes nothing about their speed. With `--litert FOLDER`, what `lamella export --format litert
lamella-48k FOLDER` wrote, its network beside the one in numpy.
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
from litert import timed

ROOT = Path(__file__).parent.parent.parent
RATE, SHORT, LONG = 48000, 10, 300  # Hz, seconds
STEPS = 1000
PEERS, LITERT = Path(__file__).with_name("peers.py"), Path(__file__).with_name("litert.py")
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}  # as what is installed is, from the second run on


class Cost(NamedTuple):
    """Of a process: seconds of the processor and of the clock, and the most memory it had, MiB."""

    processor: float
    clock: float
    memory: float


def cost_of(command: list[str], core: int) -> Cost:
    """Run a command on one core."""
    environment = {**os.environ, **ONE_THREAD, **COMPILED, "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    pin = functools.partial(os.sched_setaffinity, 0, {core})
    process = subprocess.Popen(command, env=environment, preexec_fn=pin, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    clock = time.perf_counter() - start
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return Cost(usage.ru_utime + usage.ru_stime, clock, usage.ru_maxrss / 1024)


def typical(command: list[str], core: int, runs: int) -> Cost:
    """The median of each cost."""
    return medians([cost_of(command, core) for _ in range(runs)])


def medians(costs: list[Cost]) -> Cost:
    return Cost(*(median(values) for values in zip(*costs, strict=True)))


def write_clip(path: Path, seconds: int) -> None:
    """The shipped samples, over and over."""
    clips = [
        soundfile.read(clip, dtype="float32", always_2d=True)
        for clip in sorted(ROOT.glob("assets/samples/*.flac"))
    ]
    sound = np.concatenate([samples[:, 0] for samples, rate in clips if rate == RATE])
    soundfile.write(path, np.resize(sound, seconds * RATE), RATE)


def alone(clip: str) -> dict[str, float]:
    """Coding without start-up, in this process: seconds of the processor for a clip, milliseconds of live steps."""
    sys.path.insert(0, str(ROOT))
    from codec import DecoderStream, EncoderStream, load

    codec = load()
    sound = soundfile.read(clip, dtype="float32", always_2d=True)[0]
    found: dict[str, float] = {}
    for run in ("warm", ""):  # the first time its tables are made
        encoder, decoder = (
            EncoderStream(codec, RATE, 1, 12, seconds_per_step=8),
            DecoderStream(codec, RATE, 1),
        )
        start = time.process_time()
        chunks = [*encoder.push(sound), *encoder.flush()]
        middle = time.process_time()
        decoder.push(np.concatenate(chunks, axis=1))
        found[f"{run}encode"], found[f"{run}decode"] = middle - start, time.process_time() - middle
    hop = codec.config.hop_length
    frames = np.resize(sound, (STEPS, hop, 1))
    encoder, decoder = EncoderStream(codec, RATE, 1, 12, 1), DecoderStream(codec, RATE, 1)
    coded, encoding = timed("encode", encoder.push, frames)
    _, decoding = timed("decode", decoder.push, list(itertools.chain(*coded)))
    return {**found, **encoding, **decoding}


def measured(command: list[str], core: int) -> dict[str, float]:
    """What a script of this folder prints, a JSON object on its last line."""
    pin = functools.partial(os.sched_setaffinity, 0, {core})
    environment = {**os.environ, **ONE_THREAD}
    run = subprocess.run(
        command, env=environment, preexec_fn=pin, stdout=subprocess.PIPE, check=True, text=True
    )
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


def machine() -> str:
    """The processor's name, and how busy the machine is."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{names[0].split(':')[1].strip() if names else 'unknown'}, load {os.getloadavg()[0]:.1f} before"


def own_table(folder: Path, core: int, runs: int) -> list[str]:
    """Whole processes, and live steps."""
    lamella, costs = [sys.executable, "-m", "cli.main"], {}
    for seconds in (LONG, SHORT):
        wav, lam = folder / f"{seconds}.wav", folder / f"{seconds}.lam"
        write_clip(wav, seconds)
        for verb, paths in (("compress", (wav, lam)), ("decompress", (lam, folder / "back.wav"))):
            costs[verb, seconds] = typical([*lamella, verb, "-qf", *map(str, paths)], core, runs)
    start = typical([*lamella, "--help"], core, runs)
    steps = measured([sys.executable, __file__, "--alone", str(folder / f"{SHORT}.wav")], core)
    rows = [["", "compress", "decompress"], ["---"] * 3]
    for seconds, name in ((LONG, "5 minutes"), (SHORT, "10 seconds")):
        each = [costs[verb, seconds] for verb in ("compress", "decompress")]
        rows.append(
            [name, *(f"{c.processor:.2f} s: {seconds / c.processor:.0f} times real time" for c in each)]
        )
    each = [costs[verb, SHORT] for verb in ("compress", "decompress")]
    rows.append(["10 seconds, cold start to finished file by the clock", *(f"{c.clock:.2f} s" for c in each)])
    each = [costs[verb, LONG] for verb in ("compress", "decompress")]
    rows.append(["peak memory", *(f"{c.memory:.0f} MiB" for c in each)])
    live = [
        f"{steps[f'{name} step']:.2f} ms, {steps[f'{name} 99 %']:.2f} ms" for name in ("encode", "decode")
    ]
    rows.append(["a live step of 20 ms: median, 99 %", *live])
    return [
        *map(row, rows),
        "",
        f"`lamella --help`: {start.processor:.2f} s ({start.clock:.2f} s by the clock)",
    ]


def peer_table(folder: Path, core: int, runs: int, python: str) -> list[str]:
    """Coding alone of the same ten seconds, models in memory, runs in turn."""
    clip = str(folder / f"{SHORT}.wav")
    commands = {"Lamella, 48 kHz, 6 kbit/s": [sys.executable, __file__, "--alone", clip]}
    for name, what in (("EnCodec, 24 kHz, 6 kbit/s", "encodec"), ("Mimi, 24 kHz, 4.4 kbit/s", "mimi")):
        commands[name] = [python, "-W", "ignore", str(PEERS), what, clip]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            found[name].append(measured(command, core))
    rows = [["10 seconds, start-up and loading excluded", "encode", "decode"], ["---"] * 3]
    own = {}
    for name, runs_of in found.items():
        each = {verb: median(run[verb] for run in runs_of) for verb in ("encode", "decode")}
        own = own or each
        rows.append([name, *(f"{s:.2f} s ({s / own[verb]:.0f} times)" for verb, s in each.items())])
    return [row(cells) for cells in rows]


def litert_table(folder: Path, core: int, runs: int, export: str) -> list[str]:
    """The network without the file format, runs in turn."""
    runtimes, tasks = ("numpy", export), ("start", "encode", "decode")
    paths = [str(folder / f"{LONG}.wav"), str(folder / "codes.npy")]
    costs: dict[tuple[str, str], list[Cost]] = {(name, task): [] for task in tasks for name in runtimes}
    steps: dict[str, list[dict[str, float]]] = {name: [] for name in runtimes}
    for _ in range(runs):
        for (name, task), found in costs.items():
            sound = str(folder / "back.wav") if task == "decode" else paths[0]
            found.append(cost_of([sys.executable, str(LITERT), name, task, sound, paths[1]], core))
        for name in runtimes:
            steps[name].append(measured([sys.executable, str(LITERT), name, "live", *paths], core))
    rows = [["the network alone", "numpy", "LiteRT"], ["---"] * 3]
    for task, name in (
        ("start", "start, a step there and back"),
        ("encode", "encode 5 minutes"),
        ("decode", "decode"),
    ):
        each = [medians(costs[runtime, task]) for runtime in runtimes]
        rows.append([name, *(f"{c.processor:.2f} s, {c.memory:.0f} MiB" for c in each)])
    for verb in ("encode", "decode"):
        each = [
            [median(run[f"{verb} {of}"] for run in steps[name]) for of in ("step", "99 %")]
            for name in runtimes
        ]
        rows.append(
            [f"{verb} 20 ms: median, 99 %", *(f"{half:.2f} ms, {most:.2f} ms" for half, most in each)]
        )
    return [row(cells) for cells in rows]


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="of which the median is taken")
    parser.add_argument("--core", type=int, default=0, help="that everything runs on")
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter with torch, encodec and transformers")
    parser.add_argument("--litert", metavar="FOLDER", help="what `lamella export --format litert` wrote")
    parser.add_argument("--alone", metavar="WAV", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(alone(options.alone)))
        return
    print(machine(), "", sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        print(*own_table(Path(folder), options.core, options.runs), "", sep="\n", flush=True)
        if options.peers:
            print(*peer_table(Path(folder), options.core, options.runs, options.peers), "", sep="\n")
        if options.litert:
            print(*litert_table(Path(folder), options.core, options.runs, options.litert), sep="\n")


if __name__ == "__main__":
    main()
