"""The README and the guides: snippets and commands run, links lead somewhere, the README fits on a few screens.

A snippet that cannot run in a test has `<!-- not run: reason -->` before it; its commands are still parsed.
"""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import soundfile
from support.command_line import ROOT, shell, works

from cli.verbs import lamella

README = ROOT / "README.md"
GUIDES = sorted((ROOT / "assets" / "docs").glob("*.md"))
PAGES = [README, *sorted((ROOT / "assets").rglob("*.md")), *sorted((ROOT / "tests").rglob("README.md"))]
FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>.+?) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)```\n", re.DOTALL
)
LINK = re.compile(r"\]\((?!https?://)(?P<path>[^)#]*)(?:#(?P<heading>[^)]+))?\)")
CLIP_SECONDS = 2


class Snippet(NamedTuple):
    """A fenced block of a page."""

    language: str  # "python" or none, which means commands
    code: str
    line: int
    runs: bool

    def commands(self) -> Iterator[str]:
        """Yield the command lines that use `lamella`; a line that ends with `|` or a backslash goes on."""
        if not self.language:
            joined = re.sub(r"\\\n|(?<=\|)\n", " ", self.code)
            yield from (line for line in joined.splitlines() if re.search(r"(^|\| *|' )lamella ", line))


def snippets(page: Path) -> list[Snippet]:
    text = page.read_text(encoding="utf-8")
    return [
        Snippet(
            found["language"],
            found["code"],
            text.count("\n", 0, found.start("code")) + 1,
            found["reason"] is None,
        )
        for found in FENCE.finditer(text)
    ]


def words_of(command: str) -> list[str]:
    """Split a command line as a shell does, with `*` expanded in the current folder."""
    words = shlex.split(command, comments=True)
    return [name for word in words for name in ([*sorted(glob.glob(word))] if "*" in word else [word])]


def run_command(command: str) -> None:
    if re.search(r"[|<>]", command.partition("#")[0]):
        result = shell(command)
        assert result.returncode == 0, result.stderr.decode()
    else:
        works(*words_of(command)[1:])


@pytest.mark.parametrize("page", [README, *GUIDES], ids=lambda page: page.stem)
def test_the_snippets_of_a_page_run_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound, sample_rate = soundfile.read(ROOT / "assets" / "samples" / "1-speech.flac")
    soundfile.write(tmp_path / "talk.wav", sound[: CLIP_SECONDS * sample_rate], sample_rate)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for snippet in snippets(page):
        if snippet.runs and snippet.language == "python":
            code = "\n" * (snippet.line - 1) + snippet.code  # so that an error names the line of the page
            exec(compile(code, str(page), "exec"), names)
        elif snippet.runs:
            for command in snippet.commands():
                run_command(command)


@pytest.mark.parametrize("page", [README, *GUIDES], ids=lambda page: page.stem)
def test_commands_that_do_not_run_here_have_only_options_that_exist(page: Path) -> None:
    commands = [command for snippet in snippets(page) if not snippet.runs for command in snippet.commands()]
    for command in commands:
        for words in re.findall(r"lamella ([^|>']+)", command):
            verb, *arguments = shlex.split(words, comments=True)
            parser = lamella.commands[verb].make_parser(click.Context(lamella.commands[verb]))
            parser.parse_args(arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for link in LINK.finditer(page.read_text(encoding="utf-8")):
        target = (page.parent / link["path"]).resolve() if link["path"] else page
        assert target.exists(), link[0]
        if link["heading"]:
            assert link["heading"] in headings(target), link[0]


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    lines = page.read_text(encoding="utf-8").splitlines()
    titles = [line.lstrip("# ").lower() for line in lines if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def test_the_readme_has_at_most_150_lines_of_at_most_100_characters() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 100 and not line.startswith("|")] == []


def test_the_model_card_has_at_most_100_lines() -> None:
    for card in ROOT.glob("assets/*/card.md"):
        assert len(card.read_text(encoding="utf-8").splitlines()) <= 100


def test_the_picture_of_the_readme_shows_the_measured_figures() -> None:
    from benchmarks import rate_quality

    assert rate_quality.PICTURE.read_text(encoding="utf-8") == rate_quality.draw()
