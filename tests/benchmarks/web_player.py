"""Measure the page in headless Chromium: time to the first sound of a long file, and the speed of decoding.

    PYTHONPATH=.:tests ONNXRUNTIME_WEB=FOLDER python tests/benchmarks/web_player.py [--minutes 10] [--cores 1]

FOLDER is the unpacked npm package onnxruntime-web. The page is served by Python's static server, and the browser with
all its processes has the given number of cores. Speeds are by the clock, and by the processor time of the browser with
all that it loads, which other work on the machine lengthens less.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import os
import tempfile
import threading
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import soundfile
from support.browser import Browser, runtime_folder

import codec
from codec.export import export_web
from codec.presets import samples

BITRATE = 6000
LOADED = """
    const done = arguments[0];
    const model = document.querySelector('#model');
    if (model.textContent) done();
    else new MutationObserver(() => done()).observe(model, {childList: true});"""
FIRST_SOUND = """
    const done = arguments[0];
    const loaded = performance.now();
    document.querySelector('#play').click();
    const look = () => {
      const heard = document.querySelector('#position').valueAsNumber > 0;
      if (heard) done(performance.now() - loaded);
      else requestAnimationFrame(look);
    };
    look();"""
SPEED = """
    const done = arguments[0];
    (async () => {
      const {Lamella} = await import('./lamella.js');
      const lamella = new Lamella({model: 'model/', runtime: 'runtime/'});
      await lamella.ready();
      const file = await lamella.open('long.lam');
      const start = performance.now();
      let samples = 0;
      for await (const block of file.blocks()) samples += block.channels[0].length;
      done([samples / file.sampleRate, (performance.now() - start) / 1000]);
    })();"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serve a folder without a line for each request."""

    extensions_map: ClassVar = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
    }

    def log_message(self, *_: object) -> None:
        pass


def make_site(folder: Path, minutes: float) -> Path:
    """Write the page with a long file of speech; return its folder."""
    page = folder / "page"
    export_web("lamella-48k", page, runtime=runtime_folder())
    clip, rate = soundfile.read(next(samples().glob("1-speech.*")), dtype="float32")
    long = np.resize(clip, round(60 * minutes * rate))
    soundfile.write(folder / "long.wav", long, rate)
    codec.compress(folder / "long.wav", page / "long.lam", bitrate=BITRATE)
    return page


class Result(NamedTuple):
    """What was measured, in seconds."""

    first: float  # from the loaded model to the first sound, by the clock
    first_processor: float
    sound: float  # length of the sound
    clock: float  # to decode it
    processor: float  # to decode it


def processor_seconds(root: int) -> float:
    """Return the processor time of a process and its descendants."""
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            stats[int(path.parent.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]))
    family = {root}
    while more := {process for process, (parent, _) in stats.items() if parent in family} - family:
        family |= more
    return sum(stats[process][1] for process in family if process in stats) / os.sysconf("SC_CLK_TCK")


def measure(page: Path, folder: Path, cores: int) -> Result:
    """Play and decode `long.lam` of a page."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(page)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(everywhere)[:cores])  # the browser inherits it
    browser = Browser(folder)
    os.sched_setaffinity(0, everywhere)
    try:
        driver, root = browser.driver, browser.driver.service.process.pid
        driver.set_script_timeout(1200)
        browser.open(f"{url}?file=long.lam")
        driver.execute_async_script(LOADED)
        start = processor_seconds(root)
        first: Any = driver.execute_async_script(FIRST_SOUND)
        first_processor = processor_seconds(root) - start
        browser.open(url)
        start = processor_seconds(root)
        sound, clock = driver.execute_async_script(SPEED)
        return Result(first / 1000, first_processor, sound, clock, processor_seconds(root) - start)
    finally:
        browser.close()
        server.shutdown()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--cores", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lamella-") as temporary:
        folder = Path(temporary)
        page = make_site(folder, arguments.minutes)
        (folder / "chromium").mkdir()
        result = measure(page, folder / "chromium", arguments.cores)
    print(
        f"first sound {result.first:.2f} s after the model is loaded, {result.first_processor:.2f} s of processor time"
    )
    for name, seconds in (("by the clock", result.clock), ("by processor time", result.processor)):
        print(
            f"{result.sound:.0f} s decoded in {seconds:.1f} s {name}: {result.sound / seconds:.1f} times real time"
        )


if __name__ == "__main__":
    main()
