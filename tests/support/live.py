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
    """Collects what comes out of a pipe, and notes how much it had when more came."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.pipe, self.heard = pipe, bytearray()
        self.times: list[tuple[float, int]] = []
        self.start()

    def run(self) -> None:
        while data := os.read(self.pipe.fileno(), 4096):
            self.times.append((time.monotonic(), len(self.heard)))
            self.heard += data

    def has(self, count: int, seconds: float) -> bool:
        """Whether so many bytes have come, at the latest after these seconds."""
        end = time.monotonic() + seconds
        while len(self.heard) < count and time.monotonic() < end:
            time.sleep(0.01)
        return len(self.heard) >= count


def lamella(*arguments: object, stdin: int | IO[bytes]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cli.main", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdin=stdin, stdout=subprocess.PIPE, bufsize=0)
