"""Live sound through both commands for hours: it never comes too late, and memory stays flat.

    pytest -m slow -n 0 -rP tests/coding/test_pace.py

takes 10 minutes at the pace of the sound, then sends two hours of sound as fast as possible.
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
BUDGET = 1.0  # seconds after a sample went in, by which it must have come out


def speech(rate: int) -> bytes:
    """Return five seconds of speech, 16-bit."""
    with AudioReader(next(samples().glob("1-speech.*"))) as reader:
        sound = reader.read(5 * reader.sample_rate)[:: reader.sample_rate // rate, 0]
    return (sound * 32767).astype("<i2").tobytes()


def pipe(*pace: object) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    """Start `lamella compress --live .. - - | lamella decompress --raw - -`."""
    shape = ("--raw", "--rate", RATE, "--channels", 1)
    encoder = lamella("compress", "-q", *shape, "--live", *pace, "-", "-", stdin=subprocess.PIPE)
    return encoder, lamella("decompress", "-q", "--raw", "-", "-", stdin=cast(IO[bytes], encoder.stdout))


@pytest.mark.slow
def test_sound_comes_within_a_second_at_its_own_pace() -> None:
    """A player that starts each sample a second after it went in never waits, for 10 minutes.

    The clock starts when the first sound has come through, so starting up is no delay.
    """
    encoder, decoder = pipe("--chunk-ms", 100)
    microphone, listener = cast(IO[bytes], encoder.stdin), Listener(cast(IO[bytes], decoder.stdout))
    seconds, second, block = 600, RATE * SAMPLE, RATE * SAMPLE // 50
    sound = speech(RATE)
    sound = sound * (1 + (seconds + 1) * second // len(sound))
    microphone.write(sound[:second])
    assert listener.has(second // 2, seconds=60)
    start, sent = time.monotonic(), second
    while sent < (seconds + 1) * second:
        sent += block
        time.sleep(max(0, start + (sent - second) / second - time.monotonic()))
        microphone.write(sound[sent - block : sent])
    microphone.close()
    assert encoder.wait(60) == decoder.wait(60) == 0
    listener.join(60)
    assert len(listener.received) == sent
    arrivals = [(now - start, count) for now, count in listener.times if now > start]
    delays = [now - (count - second) / second for now, count in arrivals]
    print(f"delay: {np.median(delays):.2f} s, at most {max(delays):.2f} s")
    assert all(count >= min(second + (now - BUDGET) * second, sent) for now, count in arrivals)


def resident(process: subprocess.Popen[bytes]) -> float:
    """Return the memory of a process, in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_of_both_commands_is_flat_over_two_hours() -> None:
    encoder, decoder = pipe()
    microphone = cast(IO[bytes], encoder.stdin)
    counter = subprocess.Popen(["wc", "-c"], stdin=decoder.stdout, stdout=subprocess.PIPE)
    minute = speech(RATE) * 12
    memory = []
    for _ in range(120):
        microphone.write(minute)
        memory.append((resident(encoder), resident(decoder)))
    microphone.close()
    assert int(counter.communicate(timeout=600)[0]) == 120 * len(minute)
    assert encoder.wait(60) == decoder.wait(60) == 0
    for minutes in (1, 10, 60, 120):
        print(f"after {minutes} minutes: {memory[minutes - 1][0]:.1f} and {memory[minutes - 1][1]:.1f} MiB")
    early, later = np.split(np.array(memory), [10])
    assert (later.max(axis=0) <= early.max(axis=0) + 2).all(), memory
