"""Names and folders of models: the installation, the folders of LAMELLA_MODELS, and any folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from codec.errors import PresetError
from codec.presets import find_preset, list_models, list_presets, samples


def test_presets_are_listed_by_name_with_the_first_line_of_the_card(assets: Path) -> None:
    (assets / "zebra" / "card.md").unlink()
    assert list_presets() == [
        ("apple", assets / "apple", "Tiny: for tests, untrained"),
        ("zebra", assets / "zebra", ""),
    ]


def test_models_of_the_environment_variable_come_after_the_presets(
    assets: Path, tiny_preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine", "apple"):
        shutil.copytree(tiny_preset, tmp_path / "models" / name)
    folders = [tmp_path / "models", tmp_path / "nothing", tiny_preset]
    monkeypatch.setenv("LAMELLA_MODELS", os.pathsep.join(map(str, folders)))
    assert [model.path for model in list_models()] == [
        assets / "apple",
        assets / "zebra",
        tmp_path / "models" / "apple",
        tmp_path / "models" / "mine",
        tiny_preset,
    ]
    assert find_preset("mine") == tmp_path / "models" / "mine"
    assert find_preset("apple") == assets / "apple"


def test_a_folder_in_the_current_directory_does_not_replace_a_preset(
    assets: Path, tiny_preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("apple", "pear"):
        shutil.copytree(tiny_preset, tmp_path / "here" / name)
    monkeypatch.chdir(tmp_path / "here")
    assert find_preset("apple") == assets / "apple"
    assert find_preset(os.path.join(".", "apple")).resolve() == tmp_path / "here" / "apple"
    assert find_preset(tmp_path / "here" / "apple") == tmp_path / "here" / "apple"
    assert find_preset("pear").resolve() == tmp_path / "here" / "pear"


def test_an_unknown_name_lists_the_known_ones(assets: Path) -> None:
    with pytest.raises(PresetError, match=r"no model 'pear'.*\(apple, zebra\)"):
        find_preset("pear")


@pytest.mark.parametrize("name", ["a" * 5000, "two\nlines", "nul\0"])
def test_a_name_that_no_folder_can_have_is_refused_in_one_line(assets: Path, name: str) -> None:
    with pytest.raises(PresetError, match="neither a folder") as caught:
        find_preset(name)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400


def test_a_folder_without_a_model_is_refused(assets: Path) -> None:
    with pytest.raises(PresetError, match=r"neither a folder with a config.json nor a known model"):
        find_preset(assets / "samples")


def test_an_installation_without_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codec.presets.catalog._assets", lambda: tmp_path / "none")
    assert list_presets() == []
    with pytest.raises(PresetError, match="none"):
        find_preset("lamella-48k")


def test_clips_lie_beside_the_presets(assets: Path) -> None:
    assert samples() == assets / "samples"
