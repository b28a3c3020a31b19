"""`lamella info`."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command_line import fails, works


def test_prints_what_a_file_contains(lam: Path) -> None:
    printed = works("info", lam).stdout
    assert "duration:    1.500 s (33075 samples)" in printed
    assert "sample rate: 22050 Hz" in printed
    assert "channels:    2" in printed
    assert "bitrate:     6 kbit/s per channel (12 codebooks)" in printed
    assert printed == works("info", "-", input=lam.read_bytes()).stdout


def test_names_the_model_if_it_is_known(
    lam: Path, tiny_preset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = works("info", lam).stdout
    assert "(not known here) at 16000 Hz" in unknown
    monkeypatch.setenv("LAMELLA_MODELS", str(tiny_preset.parent))
    identity = unknown.split("model:")[1].split()[0]
    named = works("info", lam).stdout
    assert f"tiny ({identity}) at 16000 Hz" in named
    monkeypatch.delenv("LAMELLA_MODELS")
    assert works("info", "-m", tiny_preset, lam).stdout == named
    assert "no model 'nobody'" in fails("info", "-m", "nobody", lam)
