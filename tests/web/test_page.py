"""The page in a real browser: it plays, seeks, shows, compresses, records and says what is wrong."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.browser import NEEDS_BROWSER, SAMPLE_RATE, SOUND_SECONDS, Browser
from support.command_line import works

import codec

pytestmark = NEEDS_BROWSER

PLAYED = "return window.seen.played"  # after `browser.watch()`
PAUSED = "return document.querySelector('#play').getAttribute('aria-label') === 'Play'"
POSITION = "return document.querySelector('#position').valueAsNumber"
READY = "return !document.querySelector('#player').hidden && document.querySelector('#duration').textContent === '0:06'"


def open_file(browser: Browser, site: str, name: str, **window: object) -> None:
    """Open the page with a link to a file of the folder, and wait until it is shown."""
    browser.open(f"{site}?file=files/{name}", **window)
    browser.wait(f"{name} is shown", READY)


def decoded(path: Path, tiny_preset: Path, folder: Path) -> np.ndarray:
    """Return what `lamella decompress` makes of a file, float32 [time, channels]."""
    works("decompress", "--force", "--model", tiny_preset, path, folder / "command.wav")
    return soundfile.read(folder / "command.wav", dtype="float32", always_2d=True)[0]


# -- playing --


def test_a_linked_file_plays_to_its_end_and_again(browser: Browser, site: str) -> None:
    open_file(browser, site, "talk.lam")
    assert browser.text("#player-title") == "talk.lam"
    assert re.match(r"0:06 · mono · 16 kHz · [\d.]+ kbit/s · [\d.]+ kB$", browser.text("#player-facts"))
    assert browser.run(PAUSED) and browser.run(POSITION) == 0
    browser.press("8")
    browser.watch()
    browser.click("#play")
    browser.wait("the sound plays to its end", f"{PLAYED} && {PAUSED.removeprefix('return ')}")
    assert browser.run(POSITION) == pytest.approx(SOUND_SECONDS, abs=0.01)
    assert browser.text("#now") == "0:06"
    browser.watch()
    browser.click("#play")
    browser.wait("the sound starts again", PLAYED + " && window.seen.least < 1")


@pytest.mark.parametrize("name", ["talk", "stereo"])
def test_the_samples_are_those_of_the_command(
    browser: Browser, site: str, recordings: Path, tiny_preset: Path, tmp_path: Path, name: str
) -> None:
    open_file(browser, site, f"{name}.lam")
    browser.click("#save-wav")
    samples, rate = soundfile.read(browser.wait_for_download(f"{name}.wav"), dtype="float32", always_2d=True)
    expected = decoded(recordings / f"{name}.lam", tiny_preset, tmp_path)
    assert (rate, samples.shape) == (SAMPLE_RATE, expected.shape)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(samples, expected, rtol=0, atol=1e-3)


def test_a_click_on_the_pictures_seeks(browser: Browser, site: str) -> None:
    from selenium.webdriver import ActionChains

    open_file(browser, site, "talk.lam")
    timeline = browser.find("#timeline")
    for share in (0.75, 0.25):
        offset = round(timeline.size["width"] * (share - 0.5))
        ActionChains(browser.driver).move_to_element_with_offset(timeline, offset, -60).click().perform()
        assert browser.run(POSITION) == pytest.approx(share * SOUND_SECONDS, abs=0.05)
    browser.watch()
    browser.click("#play")
    browser.wait("it plays", PLAYED)
    assert browser.run("return window.seen.least") >= 0.25 * SOUND_SECONDS - 0.05


def test_the_pictures_show_the_sound(browser: Browser, site: str) -> None:
    open_file(browser, site, "talk.lam")
    colours = """
        const canvas = document.querySelector(arguments[0]);
        if (!canvas.width) return 0;
        const end = new OffscreenCanvas(20, canvas.height).getContext('2d');
        end.drawImage(canvas, 30 - canvas.width, 0);
        const {data} = end.getImageData(0, 0, 20, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size"""
    for picture, least in (("#waveform", 2), ("#spectrogram", 20), ("#bits", 2)):
        browser.wait(f"{picture} is drawn to its end", f"return (() => {{{colours}}})() >= {least}", picture)
    assert browser.text("#ticks span") == "0:00"


def test_a_file_plays_while_it_loads(browser: Browser, site: str, slow_site: SlowSite) -> None:
    browser.open(f"{site}?file={slow_site.url}")
    browser.wait("the player is shown", "return !document.querySelector('#player').hidden")
    browser.watch()
    browser.click("#play")
    browser.wait("it plays", "return window.seen.most > 0.2")
    assert "loaded" in browser.text("#player-facts")
    slow_site.rest.set()
    browser.wait("all is loaded", READY)
    browser.wait(
        "it plays to the end",
        f"return document.querySelector('#position').valueAsNumber > {SOUND_SECONDS - 0.1}",
    )


def test_the_files_of_the_folder_are_listed_and_play_on_a_click(browser: Browser, site: str) -> None:
    browser.open(site)
    browser.wait("the files are listed", "return document.querySelectorAll('#file-list button').length === 8")
    browser.watch()
    browser.run(
        "[...document.querySelectorAll('#file-list button')].find((b) => b.textContent.startsWith('stereo')).click()"
    )
    browser.wait("it plays", PLAYED)
    assert browser.text("#file-list button[aria-current=true]").startswith("stereo.lam")
    assert "stereo" in browser.text("#player-facts")


def test_a_dropped_file_plays(browser: Browser, site: str) -> None:
    browser.open(site)
    browser.watch()
    browser.run("""
        fetch('files/talk.lam').then((answer) => answer.blob()).then((blob) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([blob], 'dropped.lam'));
          document.querySelector('main').dispatchEvent(new DragEvent('drop', {dataTransfer, bubbles: true}));
        })""")
    browser.wait("it plays", PLAYED)
    assert browser.text("#player-title") == "dropped.lam"


# -- the keyboard --


def test_keys_do_what_the_page_lists(browser: Browser, site: str) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    open_file(browser, site, "talk.lam")
    browser.press(Keys.END)
    assert browser.run(POSITION) == pytest.approx(SOUND_SECONDS, abs=0.01)
    browser.press(Keys.HOME)
    assert browser.run(POSITION) == 0
    browser.press("5")
    assert browser.run(POSITION) == pytest.approx(SOUND_SECONDS / 2, abs=0.01)
    browser.press(Keys.ARROW_LEFT)
    assert browser.run(POSITION) == 0
    browser.press(Keys.ARROW_RIGHT)
    assert browser.run(POSITION) == pytest.approx(5, abs=0.01)
    ActionChains(browser.driver).key_down(Keys.SHIFT).send_keys(Keys.ARROW_LEFT).key_up(Keys.SHIFT).perform()
    assert browser.run(POSITION) == pytest.approx(4, abs=0.01)
    volume = "return document.querySelector('#volume').valueAsNumber"
    browser.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP)
    assert browser.run(volume) == pytest.approx(0.9)
    browser.press("m")
    assert browser.find("#mute").get_attribute("aria-pressed") == "true"
    browser.press("m", "0")
    browser.watch()
    browser.press(" ")
    browser.wait("the space bar plays", PLAYED)
    browser.press(" ")
    browser.wait("the space bar pauses", PAUSED)
    browser.click("summary")
    listed = browser.text(".keys")
    for key in ("Space", "← →", "Shift", "Home End", "0 to 9", "↑ ↓", "M"):
        assert key in listed


def test_the_whole_page_can_be_used_by_the_tab_key(browser: Browser, site: str) -> None:
    from selenium.webdriver.common.keys import Keys

    open_file(browser, site, "talk.lam")
    reached = []
    for _ in range(9):
        browser.press(Keys.TAB)
        reached.append(browser.run("return document.activeElement.id || document.activeElement.localName"))
    assert reached == [
        "choose",
        "record",
        "download",
        "save-wav",
        "position",
        "play",
        "mute",
        "volume",
        "summary",
    ]


# -- what is wrong --


def test_a_damaged_file_says_what_was_lost_and_plays(
    browser: Browser, site: str, recordings: Path, tiny_preset: Path, tmp_path: Path
) -> None:
    report = codec.decompress(
        recordings / "damaged.lam", tmp_path / "recovered.wav", model=tiny_preset, recover=True
    )
    open_file(browser, site, "damaged.lam")
    message = browser.wait_for_text("#damage", "This file is damaged.")
    assert [str(loss) for loss in report.losses] == ["0:01.00 to 0:01.50 (chunk 2)"]
    assert str(report.losses[0]) in message
    browser.watch()
    browser.press("1", " ")
    browser.wait("it plays on after the loss", "return window.seen.most > 1.6")


def test_the_sound_of_a_damaged_file_is_that_of_the_command(
    browser: Browser, site: str, recordings: Path, tiny_preset: Path, tmp_path: Path
) -> None:
    codec.decompress(recordings / "damaged.lam", tmp_path / "recovered.wav", model=tiny_preset, recover=True)
    expected = soundfile.read(tmp_path / "recovered.wav", dtype="float32", always_2d=True)[0]
    open_file(browser, site, "damaged.lam")
    browser.click("#save-wav")
    samples = soundfile.read(browser.wait_for_download("damaged.wav"), dtype="float32", always_2d=True)[0]
    np.testing.assert_allclose(samples, expected, rtol=0, atol=1e-3)


def test_a_cut_file_says_so_and_plays_what_is_left(browser: Browser, site: str) -> None:
    open_file(browser, site, "cut.lam")
    browser.wait_for_text("#damage", "This file is damaged.")
    browser.watch()
    browser.click("#play")
    browser.wait("it plays", "return window.seen.most > 0.3")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("letter.lam", "letter.lam is not a .lam file."),
        ("start.lam", "start.lam is cut off."),
        ("other.lam", "other.lam was made by another model."),
        ("newer.lam", "newer.lam needs a newer version of this page."),
    ],
)
def test_a_file_that_cannot_be_played_says_why(browser: Browser, site: str, name: str, message: str) -> None:
    browser.open(f"{site}?file=files/{name}")
    shown = browser.wait_for_text("#error", message)
    assert len(shown) > len(message) + 10
    assert not browser.find("#player").is_displayed()


def test_a_link_that_leads_nowhere_says_so(chromium: Browser, site: str) -> None:
    chromium.open(f"{site}?file=files/missing.lam")
    assert "404" in chromium.wait_for_text("#error", "missing.lam cannot be loaded.")
    assert chromium.console() != []  # the browser itself logs an answer of 404


def test_a_good_file_after_a_bad_one_plays(browser: Browser, site: str, recordings: Path) -> None:
    browser.open(f"{site}?file=files/letter.lam")
    browser.wait_for_text("#error", "letter.lam is not a .lam file.")
    browser.watch()
    browser.find("#file").send_keys(str(recordings / "talk.lam"))
    browser.wait("it plays", PLAYED)
    assert not browser.find("#error").is_displayed()


# -- compressing --


def test_a_sound_is_compressed_and_the_command_decodes_it(
    browser: Browser, site: str, recordings: Path, tiny_preset: Path, tmp_path: Path
) -> None:
    browser.open(site)
    browser.find("#file").send_keys(str(recordings / "stereo.wav"))
    assert browser.wait_for_text("#compressor-title", "Compress") == "Compress stereo.wav"
    browser.click("input[name=bitrate][value='3000']")
    browser.click("#compress")
    shown = browser.wait_for_text("#compress-result", "times smaller")
    browser.wait("the new file can be played", READY)
    assert browser.text("#player-title") == "stereo.lam"
    browser.click("#compress-result a")
    path = browser.wait_for_download("stereo.lam")
    assert re.match(r"[\d.]+ kB", shown)
    samples = decoded(path, tiny_preset, tmp_path)
    assert samples.shape == (SOUND_SECONDS * SAMPLE_RATE, 2)
    codec.compress(recordings / "stereo.wav", tmp_path / "s.lam", model=tiny_preset, bitrate=3000, effort=0)
    assert path.stat().st_size == pytest.approx((tmp_path / "s.lam").stat().st_size, rel=0.02)
    expected = decoded(tmp_path / "s.lam", tiny_preset, tmp_path)
    error = np.square(samples - expected).mean() / np.square(expected).mean()
    assert error < 0.05  # codes differ only where two codewords are equally near


def test_what_is_no_sound_is_refused(browser: Browser, site: str, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear reader")
    browser.open(site)
    browser.find("#file").send_keys(str(tmp_path / "letter.txt"))
    browser.wait_for_text("#error", "neither a .lam file nor a sound that this browser can decode")


def test_the_microphone_is_recorded_and_compressed(browser: Browser, site: str) -> None:
    browser.open(site)
    browser.click("#record")
    browser.wait("sound arrives", "return document.querySelector('#level').value > 0")
    browser.wait(
        "a second is recorded", "return document.querySelector('#recorded-time').textContent >= '0:01'"
    )
    browser.click("#stop")
    browser.wait_for_text("#compressor-title", "Compress recording.wav")
    browser.click("#compress")
    browser.wait_for_text("#compress-result", "Download recording.lam")


# -- on another page --


def test_the_player_of_the_guide_plays(browser: Browser, site: str) -> None:
    browser.open(f"{site}player.html")
    browser.wait("the player is there", "return document.querySelector('button').onclick !== null")
    browser.click("button")
    browser.wait("it plays", "return window.player.currentTime > 0.3")


# -- for everyone --


@pytest.mark.parametrize("width", [320, 375, 1200])
def test_the_page_fits_the_width_of_a_phone(
    browser: Browser, site: str, recordings: Path, width: int
) -> None:
    open_file(browser, site, "damaged.lam", width=width)
    browser.find("#file").send_keys(str(recordings / "talk.wav"))
    browser.wait_for_text("#compressor-title", "Compress")
    browser.click("#compress")
    browser.wait("both cards are shown", READY)
    wide = """return [...document.querySelectorAll('body *')].filter((element) => {
        const box = element.getBoundingClientRect();
        return box.width && (box.right > innerWidth + 0.5 || box.left < -0.5) && element.id !== 'played';
      }).map((element) => element.id || element.outerHTML.slice(0, 80))"""
    assert browser.run(wide) == []
    assert browser.run("return document.scrollingElement.scrollWidth <= innerWidth")
    small = """return [...document.querySelectorAll('button, .button, label')].filter((element) => {
        const box = element.getBoundingClientRect();
        return box.width && Math.min(box.width, box.height) < 38;
      }).map((element) => element.id || element.textContent)"""
    assert browser.run(small) == []


def test_everything_has_a_name_for_screen_readers(browser: Browser, site: str, recordings: Path) -> None:
    open_file(browser, site, "damaged.lam")
    browser.find("#file").send_keys(str(recordings / "talk.wav"))
    browser.wait_for_text("#compressor-title", "Compress")
    browser.click("#compress")
    browser.wait("both cards are shown", READY)
    nodes = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = (
        "button",
        "link",
        "slider",
        "radio",
        "figure",
        "group",
        "region",
        "progressbar",
        "DisclosureTriangle",
    )
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in roles
    ]
    assert [role for role, name in named if not name and role != "group"] == []
    assert {
        ("button", "Open a file"),
        ("button", "Play"),
        ("button", "Mute"),
        ("slider", "Position"),
        ("slider", "Volume"),
        ("figure", "Waveform, spectrogram and bits over time"),
        ("link", "Download talk.lam"),
    } <= set(named)
    assert len([name for role, name in named if role == "radio" and "kbit/s" in name]) == 4
    assert browser.find("#position").get_attribute("aria-valuetext") == "0 seconds of 6 seconds"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_is_readable_in_both_schemes(browser: Browser, site: str, dark: bool) -> None:
    browser.open(site, dark=dark)
    colours = browser.run("""
        const style = getComputedStyle(document.documentElement);
        const names = ['paper', 'card', 'hover', 'text', 'soft-text', 'accent', 'on-accent', 'bad', 'bad-paper'];
        return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]))""")
    pairs = [(front, back) for front in ("text", "soft-text") for back in ("paper", "card", "hover")]
    for front, back in [*pairs, ("on-accent", "accent"), ("text", "bad-paper"), ("bad", "bad-paper")]:
        assert contrast(colours[front], colours[back]) >= 4.5, (front, back)
    assert (luminance(colours["paper"]) < 0.1) == dark


def luminance(colour: str) -> float:
    """Return the relative luminance of #rrggbb, as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


# -- a server that stops in the middle of a file --


class SlowSite:
    """Where a file stands that arrives in two parts; the second part waits for `rest`."""

    def __init__(self, content: bytes) -> None:
        self.rest = threading.Event()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Access-Control-Allow-Origin", "*")
                self.end_headers()
                half = len(content) // 2
                self.wfile.write(content[:half])
                site.rest.wait(60)
                self.wfile.write(content[half:])

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/talk.lam"


@pytest.fixture
def slow_site(recordings: Path) -> Iterator[SlowSite]:
    site = SlowSite((recordings / "talk.lam").read_bytes())
    thread = threading.Thread(target=site.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    site.rest.set()
    site.server.shutdown()
    thread.join()
    site.server.server_close()
