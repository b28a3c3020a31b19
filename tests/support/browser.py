"""A real browser, headless, and what tests ask of a page."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

SECONDS = 60  # that a test waits for the browser; a loaded machine is slow
POLL = 0.05  # seconds between two looks at the page
WATCH = """
    const [play, position] = ['#play', '#position'].map((selector) => document.querySelector(selector));
    const seen = {played: false, least: Infinity, most: 0};
    window.seen = seen;
    const look = () => {
      if (window.seen !== seen) return;
      const place = position.valueAsNumber;
      seen.played ||= play.getAttribute('aria-label') === 'Pause';
      if (seen.played) Object.assign(seen, {least: Math.min(seen.least, place), most: Math.max(seen.most, place)});
      requestAnimationFrame(look);
    };
    look();"""
FAILED = "const error = document.querySelector('#error'); return error && !error.hidden"
CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
RUNTIME_VARIABLE = (
    "ONNXRUNTIME_WEB"  # environment variable: folder of the unpacked npm package onnxruntime-web
)
SAMPLE_RATE = 16000  # Hz, of the small model, and of the sounds that the pages of the tests play
SOUND_SECONDS = 6.0
CHUNK_FRAMES = 25  # half a second
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


def missing() -> str:
    """Return what the tests in a browser lack on this machine, or an empty string."""
    if importlib.util.find_spec("selenium") is None:
        return "pip install selenium"
    if not (shutil.which(CHROMIUM) and shutil.which(DRIVER)):
        return "apt-get install chromium chromium-driver"
    if not runtime_folder().is_dir():
        return f"npm pack onnxruntime-web, and set {RUNTIME_VARIABLE} to the folder of the unpacked package"
    return ""


def runtime_folder() -> Path:
    """Return the folder of onnxruntime-web."""
    return Path(os.environ.get(RUNTIME_VARIABLE, "/nonexistent"))


NEEDS_BROWSER = pytest.mark.skipif(bool(missing()), reason=missing())


class Browser:
    """A headless Chromium with a profile and a folder for downloads of its own.

    Args:
        folder: an empty folder for both.
    """

    def __init__(self, folder: Path) -> None:
        from selenium import webdriver

        self.downloads = folder / "downloads"
        self.downloads.mkdir()
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        self.driver.set_script_timeout(SECONDS)
        behaviour = {"behavior": "allow", "downloadPath": str(self.downloads)}
        self.driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)

    def open(self, url: str, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Open a page in a window of this size, in the light or the dark scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get(url)

    def run(self, script: str, *arguments: object) -> Any:
        """Run JavaScript in the page and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> Any:
        """Return the first element of a CSS selector."""
        return self.driver.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        """Return the text of an element as it is shown."""
        return self.find(selector).text

    def click(self, selector: str) -> None:
        """Click on the middle of an element."""
        self.find(selector).click()

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def wait(self, what: str, script: str, *arguments: object, failed: str = FAILED) -> Any:
        """Wait until JavaScript returns something true and return it.

        Fail with `what` and the page's messages after a minute, or before that if the script `failed` is true: if the
        page shows an error.
        """
        deadline = time.monotonic() + SECONDS
        while not (result := self.run(script, *arguments)):
            if self.run(failed) or time.monotonic() > deadline:
                messages = [self.text(selector) for selector in ("#status", "#error", "#damage")]
                pytest.fail(f"{what}: not within {SECONDS} s; the page says {messages}; {self.console()}")
            time.sleep(POLL)
        return result

    def watch(self) -> None:
        """Note from now on in `window.seen` whether the page plays, and the least and the most position since then.

        A short sound may be over before the test looks.
        """
        self.run(WATCH)

    def wait_for_text(self, selector: str, part: str) -> str:
        """Wait until an element shows a text; return all of its text."""
        shown = "document.querySelector(arguments[0]).innerText"
        script = f"const text = {shown}; return text.includes(arguments[1]) && text"
        failed = "return false" if selector == "#error" else FAILED
        return self.wait(f"{selector} with {part!r}", script, selector, part, failed=failed)

    def wait_for_download(self, name: str) -> Path:
        """Wait until a file is there, complete."""
        path, deadline = self.downloads / name, time.monotonic() + SECONDS
        while not path.is_file():
            assert time.monotonic() < deadline, f"{name} was not downloaded within {SECONDS} s"
            time.sleep(POLL)
        return path

    def console(self) -> list[str]:
        """Return the errors and warnings that the page has logged since the last call."""
        return [
            line["message"]
            for line in self.driver.get_log("browser")
            if line["level"] in ("SEVERE", "WARNING")
        ]

    def close(self) -> None:
        """End the browser."""
        self.driver.quit()
