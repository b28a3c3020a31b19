"""`lamella verify`."""

from __future__ import annotations

import shutil
from pathlib import Path

from support.command_line import GOLDEN, refuses, run, works


def test_prints_which_files_are_undamaged(folder: Path) -> None:
    shutil.copy(GOLDEN / "mono.lam", folder / "a.lam")
    shutil.copy(GOLDEN / "silent.lam", folder / "b.lam")
    lines = works("verify", folder / "a.lam", folder / "b.lam").stdout.splitlines()
    assert [line.split(": ")[1].split(",")[0] for line in lines] == ["undamaged", "undamaged"]
    assert works("verify", "--quiet", folder / "a.lam").stdout == ""


def test_stops_at_the_first_damage_and_prints_its_place(folder: Path) -> None:
    good = (GOLDEN / "mono.lam").read_bytes()
    (folder / "good.lam").write_bytes(good)
    (folder / "bad.lam").write_bytes(good[:60] + bytes([good[60] ^ 1]) + good[61:])
    result = run("verify", folder / "good.lam", folder / "bad.lam", folder / "good.lam")
    assert result.exit_code == 1
    assert result.stdout.count("undamaged") == 1
    assert "bad.lam: chunk 0 at byte 43 (0.00 s): checksum" in result.stderr


def test_reads_a_pipe() -> None:
    content = (GOLDEN / "stereo-live.lam").read_bytes()
    assert "undamaged" in works("verify", "-", input=content).stdout


def test_needs_a_file() -> None:
    assert "Missing argument 'FILE...'" in refuses("verify")
