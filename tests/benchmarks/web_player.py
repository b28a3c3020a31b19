"""Measure the page in headless Chromium: time to the first sound of a long file, and the speed of decoding.

    PYTHONPATH=.:tests ONNXRUNTIME_WEB=FOLDER python tests/benchmarks/web_player.py [--minutes 10] [--cores 1]

FOLDER is the unpacked npm package onnxruntime-web. The page is served by Python's static server, and the browser with
all its processes has the given number of cores.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import os
import tempfile
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import soundfile
from support.browser import Browser, runtime_folder

import codec
from codec.export import export_web
from codec.presets import samples

BITRATE = 6000
FIRST_SOUND = """
    const done = arguments[0];
    const model = document.querySelector('#model');
    const started = () => {
      const loaded = performance.now();
      document.querySelector('#play').click();
      const look = () => {
        const heard = document.querySelector('#position').valueAsNumber > 0;
        if (heard) done(performance.now() - loaded);
        else requestAnimationFrame(look);
      };
      look();
    };
    if (model.textContent) started();
    else new MutationObserver(started).observe(model, {childList: true});"""
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


def measure(page: Path, folder: Path, cores: int) -> tuple[float, float, float]:
    """Return milliseconds to the first sound, seconds of sound, and seconds that decoding all of it took."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(page)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(everywhere)[:cores])  # the browser inherits it
    browser = Browser(folder)
    os.sched_setaffinity(0, everywhere)
    try:
        browser.driver.set_script_timeout(600)
        browser.open(f"{url}?file=long.lam")
        first: Any = browser.driver.execute_async_script(FIRST_SOUND)
        browser.open(url)
        seconds, took = browser.driver.execute_async_script(SPEED)
    finally:
        browser.close()
        server.shutdown()
    return first, seconds, took


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
        first, seconds, took = measure(page, folder / "chromium", arguments.cores)
    print(f"first sound {first:.0f} ms after the model is loaded")
    print(
        f"{seconds:.0f} s decoded in {took:.1f} s: {seconds / took:.1f} times real time, {arguments.cores} core(s)"
    )


if __name__ == "__main__":
    main()
