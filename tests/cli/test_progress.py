"""The progress bar, and the status line of a long-running verb."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from cli.progress import progress_bar
from cli.status import Status


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal in place of stderr."""
    screen = Terminal()
    monkeypatch.setattr("cli.progress.sys", SimpleNamespace(stderr=screen))
    return screen


def test_a_bar_fills_up(screen: Terminal) -> None:
    with progress_bar(10.0, quiet=False) as progress:
        assert progress is not None
        progress(5.0)
        progress(10.0)
    assert "100%" in screen.getvalue()


def test_seconds_are_counted_if_the_length_is_unknown(screen: Terminal) -> None:
    with progress_bar(None, quiet=False) as progress:
        assert progress is not None
        progress(7.0)
    assert "\r7 s" in screen.getvalue()


def test_nothing_is_shown_when_quiet_or_without_a_terminal(screen: Terminal) -> None:
    with progress_bar(10.0, quiet=True) as progress:
        assert progress is None
    screen.isatty = lambda: False  # type: ignore[method-assign]
    with progress_bar(10.0, quiet=False) as progress:
        assert progress is None
    assert screen.getvalue() == ""


def test_the_status_line_is_updated_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    status = Status(quiet=False)
    status.update("step 1")
    status.update("step 2")  # too soon after the first
    status.print_line("done")
    assert screen.getvalue() == "\r\x1b[Kstep 1\r\x1b[Kdone\n"


def test_a_quiet_status_prints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    status = Status(quiet=True)
    status.print_line("done")
    status.clear()
    assert status.updater is None
    assert screen.getvalue() == ""
