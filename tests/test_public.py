"""The public names of the package `codec`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import codec
from codec.presets import load


@pytest.mark.parametrize("name", codec.__all__)
def test_every_public_name_loads(name: str) -> None:
    assert getattr(codec, name) is not None
    assert name in dir(codec)


def test_functions_do_not_share_a_name_with_a_module() -> None:
    assert callable(codec.compress)
    assert callable(codec.decompress)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        codec.nothing  # noqa: B018


def test_the_example_in_the_readme(
    tiny_preset: Path, wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    example, _ = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)  # the other one is of an export
    shutil.copy(wav, tmp_path / "talk.wav")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(codec, "load", lambda name: load(tiny_preset))
    names: dict[str, Any] = {}
    exec(example, names)
    again, rate = soundfile.read("again.wav", dtype="float32")
    live = np.concatenate(names["sound"])[: len(again)]
    assert rate == names["rate"]
    np.testing.assert_allclose(live.clip(-1, 1), again, atol=1e-4)
