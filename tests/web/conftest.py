"""The page with a small model, served as `lamella serve` does, and a browser that opens it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from support.browser import CHUNK_FRAMES, SAMPLE_RATE, SOUND_SECONDS, Browser, runtime_folder
from support.command_line import NEGATIVE, ROOT
from support.damage import damaged
from support.sounds import tone

import codec


@pytest.fixture(scope="session")
def recordings(tiny_preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of .lam files, good and bad, and the WAV that they were made of. Do not write to it."""
    folder = tmp_path_factory.mktemp("recordings")
    for name, channels in (("talk", 1), ("stereo", 2)):
        soundfile.write(folder / f"{name}.wav", tone(SOUND_SECONDS, SAMPLE_RATE, channels), SAMPLE_RATE)
        codec.compress(
            folder / f"{name}.wav", folder / f"{name}.lam", model=tiny_preset, frames_per_chunk=CHUNK_FRAMES
        )
    talk = (folder / "talk.lam").read_bytes()
    (folder / "damaged.lam").write_bytes(damaged(talk, 2))
    (folder / "cut.lam").write_bytes(talk[: len(talk) // 2])
    (folder / "start.lam").write_bytes(talk[:20])
    (folder / "letter.lam").write_bytes(b"Dear reader,\n")
    (folder / "other.lam").write_bytes((ROOT / "tests/golden/v1/mono.lam").read_bytes())
    (folder / "newer.lam").write_bytes((NEGATIVE / "newer-version.lam").read_bytes())
    return folder


def guide_player() -> str:
    """Return the player of the guide, with a runtime of its own as the guide says, and `window.player` for tests."""
    guide = (ROOT / "assets" / "docs" / "web.md").read_text(encoding="utf-8")
    player = guide.partition("```html\n")[2].partition("```")[0]
    for old, new in (
        ('model: "model/" }', 'model: "model/", runtime: "runtime/" }'),
        ("const player =", "const player = window.player ="),
    ):
        assert old in player
        player = player.replace(old, new)
    return f'<link rel="icon" href="data:,">{player}'


@pytest.fixture(scope="session")
def site(tiny_preset: Path, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page."""
    from cli.web_server import Server
    from codec.export import export_web

    page = tmp_path_factory.mktemp("site") / "page"
    export_web(tiny_preset, page, runtime=runtime_folder())
    (page / "player.html").write_text(guide_player(), encoding="utf-8")
    shutil.copyfile(recordings / "talk.lam", page / "talk.lam")
    with Server(page, recordings) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests."""
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """The browser; at the end of the test its console must hold no error and no warning."""
    chromium.console()
    for old in chromium.downloads.iterdir():
        old.unlink()
    yield chromium
    assert chromium.console() == []
