"""The command in a live pipe, and a listener at its end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import IO

from support.command_line import ROOT


class Listener(threading.Thread):
    """Collects the bytes that come out of a pipe.

    Attributes:
        received: the bytes so far.
        times: for each arrival, its time and how many bytes were there before.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.pipe, self.received = pipe, bytearray()
        self.times: list[tuple[float, int]] = []
        self.start()

    def run(self) -> None:
        while data := os.read(self.pipe.fileno(), 4096):
            self.times.append((time.monotonic(), len(self.received)))
            self.received += data

    def has(self, count: int, seconds: float) -> bool:
        """Wait for this many bytes, at most this many seconds; return True if they came."""
        end = time.monotonic() + seconds
        while len(self.received) < count and time.monotonic() < end:
            time.sleep(0.01)
        return len(self.received) >= count


def lamella(*arguments: object, stdin: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the command with a pipe at its standard output."""
    command = [sys.executable, "-m", "cli.main", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdin=stdin, stdout=subprocess.PIPE, bufsize=0)
