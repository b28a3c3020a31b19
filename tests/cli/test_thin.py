"""`lamella thin`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.command_line import GOLDEN, fails, refuses, works

from codec.bitstream import Reader


@pytest.fixture(scope="module")
def full(wav: Path, tiny_preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file `wav` at 12 kbit/s and effort 0. Do not write to it."""
    path = tmp_path_factory.mktemp("full") / "full.lam"
    works("compress", "-q", "--effort", 0, "-m", tiny_preset, "-b", "12k", wav, path)
    return path


@pytest.mark.parametrize("bitrate", ["1.5k", "3k", "6k", "12k"])
def test_gives_what_compressing_at_that_bitrate_gives_at_effort_0(
    full: Path, wav: Path, folder: Path, tiny_preset: Path, bitrate: str
) -> None:
    works("thin", "-m", tiny_preset, "-b", bitrate, full, folder / "thin.lam")
    works("compress", "-q", "--effort", 0, "-m", tiny_preset, "-b", bitrate, wav, folder / "again.lam")
    assert (folder / "thin.lam").read_bytes() == (folder / "again.lam").read_bytes()


def test_keeps_the_first_codes_of_a_file_of_constant_quality(
    wav: Path, folder: Path, tiny_preset: Path
) -> None:
    works("compress", "-m", tiny_preset, "--quality", 9, wav, folder / "a.lam")
    works("thin", "-m", tiny_preset, "--codebooks", 4, folder / "a.lam", folder / "b.lam")
    with open(folder / "a.lam", "rb") as before, open(folder / "b.lam", "rb") as after:
        pairs = list(zip(Reader(before).chunks(), Reader(after).chunks(), strict=True))
    for original, thinned in pairs:
        np.testing.assert_array_equal(thinned.codes, original.codes[..., :4])


def test_finds_the_model_by_the_identity_in_the_file(
    full: Path, folder: Path, tiny_preset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "model" in fails("thin", "-b", "3k", full, folder / "no.lam")
    monkeypatch.setenv("LAMELLA_MODELS", str(tiny_preset.parent))
    works("thin", "-b", "3k", full, folder / "found.lam")
    works("thin", "-b", "3k", "-m", tiny_preset, full, folder / "given.lam")
    assert (folder / "found.lam").read_bytes() == (folder / "given.lam").read_bytes()


def test_a_model_that_did_not_make_the_file_is_an_error(folder: Path, tiny_preset: Path) -> None:
    golden = GOLDEN / "mono.lam"
    assert "model" in fails("thin", "-b", "3k", "-m", tiny_preset, golden, folder / "no.lam")
    assert list(folder.iterdir()) == []


def test_a_pipe_gives_the_bytes_of_the_file(full: Path, folder: Path, tiny_preset: Path) -> None:
    command = ("thin", "-q", "-m", tiny_preset, "--codebooks", 4)
    works(*command, full, folder / "thin.lam")
    piped = works(*command, "-", "-", input=full.read_bytes())
    assert piped.stdout_bytes == (folder / "thin.lam").read_bytes()


def test_cannot_raise_the_bitrate(full: Path, folder: Path, tiny_preset: Path) -> None:
    works("thin", "-m", tiny_preset, "-b", "3k", full, folder / "thin.lam")
    line = fails("thin", "-m", tiny_preset, "-b", "6k", folder / "thin.lam", folder / "more.lam")
    assert "thin.lam: has 6 codebooks" in line
    assert "12" in line
    assert not (folder / "more.lam").exists()


def test_cannot_go_below_the_codebooks_of_the_base(full: Path, folder: Path, tiny_preset: Path) -> None:
    message = refuses("thin", "-m", tiny_preset, "--codebooks", 2, full, folder / "thin.lam")
    assert "cannot thin below 3 codebooks; compress the original again at a lower bitrate" in message


def test_needs_a_rate_but_takes_no_quality(full: Path, folder: Path) -> None:
    assert "the new rate is missing" in refuses("thin", full, folder / "thin.lam")
    assert "No such option" in refuses("thin", "--quality", 4, full, folder / "thin.lam")


def test_damage_leaves_no_file(full: Path, folder: Path, tiny_preset: Path) -> None:
    (folder / "bad.lam").write_bytes(full.read_bytes()[:-40])
    line = fails("thin", "-m", tiny_preset, "-b", "3k", folder / "bad.lam", folder / "thin.lam")
    assert "bad.lam: " in line
    assert not (folder / "thin.lam").exists()
