"""Live sound through both commands for as long as anybody talks: nothing comes too late, and memory stays as it is.

The long forms, 10 minutes at the pace of the sound and two hours as fast as it goes:
    pytest -m slow -n 0 tests/test_pace.py
"""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import IO, cast

import numpy as np
import pytest
from support.live import Listener, lamella

from codec.audio import AudioReader
from codec.presets import samples

RATE = 16000
SAMPLE = 2  # bytes
BUDGET = 1.0  # seconds from the moment a sample is said to the one at which it must be there


def speech(rate: int) -> bytes:
    """Some seconds of speech, 16-bit."""
    with AudioReader(next(samples().glob("1-speech.*"))) as reader:
        sound = reader.read(5 * reader.sample_rate)[:: reader.sample_rate // rate, 0]
    return (sound * 32767).astype("<i2").tobytes()


def pipe(*pace: object) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    """`lamella compress --live .. - - | lamella decompress --raw - -`."""
    shape = ("--raw", "--rate", RATE, "--channels", 1)
    coder = lamella("compress", "-q", *shape, "--live", *pace, "-", "-", stdin=subprocess.PIPE)
    return coder, lamella("decompress", "-q", "--raw", "-", "-", stdin=cast(IO[bytes], coder.stdout))


@pytest.mark.parametrize("seconds", [3, pytest.param(600, marks=pytest.mark.slow)])
def test_at_the_pace_of_the_sound_nothing_comes_later_than_a_second(seconds: int) -> None:
    """Whoever plays each sample a second after it was said never waits: pytest -m slow -n 0 -k pace_of_the_sound -rP.

    The clock starts when the first sound has come through, so starting up is no delay.
    """
    coder, decoder = pipe("--chunk-ms", 100)
    mouth, ear = cast(IO[bytes], coder.stdin), Listener(cast(IO[bytes], decoder.stdout))
    second, piece = RATE * SAMPLE, RATE * SAMPLE // 50
    sound = speech(RATE)
    sound = sound * (1 + (seconds + 1) * second // len(sound))
    mouth.write(sound[:second])
    assert ear.has(second // 2, seconds=60)
    start, said = time.monotonic(), second
    while said < (seconds + 1) * second:
        said += piece
        time.sleep(max(0, start + (said - second) / second - time.monotonic()))
        mouth.write(sound[said - piece : said])
    mouth.close()
    assert coder.wait(60) == decoder.wait(60) == 0
    ear.join(60)
    assert len(ear.heard) == said
    delays = [now - start - (heard - second) / second for now, heard in ear.times if now > start]
    print(f"came after it was said: {np.median(delays):.2f} s, at most {max(delays):.2f} s")
    due = [(now, heard, second + (now - start - BUDGET) * second) for now, heard in ear.times if now > start]
    late = [(now - start, heard, played) for now, heard, played in due if heard < min(played, said)]
    assert not late


def resident(process: subprocess.Popen[bytes]) -> float:
    """MiB of memory that a process has now."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_is_flat_over_two_hours() -> None:
    """Of both commands, after the first minutes, while two hours of speech go through.

    `pytest -m slow -n 0 -k two_hours -rP` runs it, and tells how much it was.
    """
    coder, decoder = pipe()
    mouth = cast(IO[bytes], coder.stdin)
    ear = subprocess.Popen(["wc", "-c"], stdin=decoder.stdout, stdout=subprocess.PIPE)
    minute = speech(RATE) * 12
    memory = []
    for _ in range(120):
        mouth.write(minute)
        memory.append((resident(coder), resident(decoder)))
    mouth.close()
    assert int(ear.communicate(timeout=600)[0]) == 120 * len(minute)
    assert coder.wait(60) == decoder.wait(60) == 0
    for minutes in (1, 10, 60, 120):
        print(f"after {minutes} minutes: {memory[minutes - 1][0]:.1f} and {memory[minutes - 1][1]:.1f} MiB")
    early, later = np.split(np.array(memory), [10])
    assert (later.max(axis=0) <= early.max(axis=0) + 2).all(), memory
