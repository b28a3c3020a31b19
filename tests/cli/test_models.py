"""`lamella models`."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command_line import fails, works


def test_lists_names_rates_identities_and_folders(
    lam: Path, tiny_preset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMELLA_MODELS", str(tiny_preset.parent))
    printed = works("models").stdout
    assert "lamella-48k (default): " in printed
    model = printed[printed.index("tiny: ") :].splitlines()
    assert model[0] == "tiny: Tiny: for tests, untrained"
    assert model[1].split(maxsplit=1) == ["bitrates", "1.5k, 3k, 6k, 12k"]
    assert model[2].split() == ["identity", works("info", lam).stdout.split("(")[-1].split(")")[0]]
    assert model[3].split(maxsplit=1) == ["folder", str(tiny_preset)]


def test_an_installation_without_models_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codec.presets.list_models", list)
    assert "no model is installed" in fails("models")
