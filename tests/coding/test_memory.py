"""Both commands take less than 200 MiB, whatever the length of chunks, the channels and the sample rate.

    pytest -m slow -n 0 -rP tests/coding/test_memory.py

takes five minutes and prints the peak of each command.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from codec.presets import samples

ROOT = Path(__file__).parents[2]
LIMIT = 200  # MiB
RUN = """
import atexit, sys
from cli.main import main

def show() -> None:
    with open("/proc/self/status") as file:
        print(next(line.split()[1] for line in file if line.startswith("VmHWM")))

atexit.register(show)
main()
"""


def peak_of(*arguments: object) -> float:
    """Return the largest resident memory of a command, in MiB."""
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
    return int(run.stdout.split()[-1]) / 1024


def write_speech(path: Path, channels: int, sample_rate: int, seconds: int) -> None:
    speech, rate = soundfile.read(samples() / "1-speech.flac", dtype="float32")
    speech = np.resize(soxr.resample(speech, rate, sample_rate), seconds * sample_rate)
    sound = np.stack([np.roll(speech, 7919 * channel) for channel in range(channels)], axis=1)
    soundfile.write(path, sound, sample_rate)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("channels", "sample_rate", "seconds", "options"),
    [
        (8, 48_000, 40, ("--packet",)),
        (8, 192_000, 65, ("--chunk-ms", "60000")),
        (8, 48_000, 65, ("--chunk-ms", "60000", "--codebooks", "30")),
        (8, 192_000, 20, ("--quality", "9")),
        (1, 8_000, 300, ("--packet", "--codebooks", "1")),
        (1, 48_000, 300, ("--chunk-ms", "40")),
        (1, 192_000, 65, ("--chunk-ms", "59980")),
    ],
)
def test_both_commands_take_less_than_200_mib(
    channels: int, sample_rate: int, seconds: int, options: tuple[str, ...], tmp_path: Path
) -> None:
    wav, lam = tmp_path / "talk.wav", tmp_path / "talk.lam"
    write_speech(wav, channels, sample_rate, seconds)
    there = peak_of("compress", "-q", "--effort", 0, *options, wav, lam)
    back = peak_of("decompress", "-q", lam, tmp_path / "again.wav")
    print(f"{channels} x {sample_rate} Hz {' '.join(options)}: {there:.0f} and {back:.0f} MiB")
    assert max(there, back) < LIMIT
