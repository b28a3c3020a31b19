"""Presets become LiteRT files that are checked before they are kept."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.command_line import ROOT
from support.exports import NEEDS_LITERT, check_audio, code_whole, decode_whole
from support.sounds import speech

from codec.errors import CodecError
from codec.export import export_litert, litert
from codec.network import Codec
from codec.presets import load_keras
from codec.runtime import NumpyCodec

GUIDE = ROOT / "assets" / "docs" / "export.md"


@NEEDS_LITERT
@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("quantizer", r"the converted model disagrees: \d+\.\d % of codes differ \(at most 2 %\)"),
        ("decoder", r"the converted model disagrees: decoded audio differs by \d+\.\d % \(at most 2 %\)"),
    ],
)
def test_a_conversion_that_disagrees_is_not_kept(
    part: str,
    message: str,
    exported: Callable[[str], Path],
    small_preset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load_changed(model: str) -> Codec:
        codec = load_keras(model)
        for weight in getattr(codec, part).weights:
            weight.assign(-weight)
        return codec

    converted = (exported("litert") / litert.LITERT_FILE).read_bytes()
    monkeypatch.setattr(litert, "load_keras", load_changed)
    monkeypatch.setattr(litert, "convert", lambda saved_model, functions: converted)
    monkeypatch.setattr(litert, "write_saved_model", lambda signatures, directory: directory.mkdir())
    with pytest.raises(CodecError, match=message):
        export_litert(small_preset, tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["tensorflow", "ai_edge_litert"])
def test_a_missing_package_is_named_with_the_pip_command(
    package: str, small_preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == package else True)
    with pytest.raises(CodecError, match=rf"needs {package}: pip install 'lamella\[litert\]'"):
        export_litert(small_preset, tmp_path / "model")
    assert not list(tmp_path.iterdir())


@NEEDS_LITERT
def test_the_example_of_the_guide_runs(
    exported: Callable[[str], Path],
    small_codec: NumpyCodec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    examples = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = [text for text in examples if "ai_edge_litert" in text]
    (tmp_path / "lamella-litert").symlink_to(exported("litert"))
    monkeypatch.chdir(tmp_path)
    samples = speech(20, small_codec.config.hop_length)[0]
    names: dict[str, np.ndarray] = {"samples": samples}
    exec(example, names)
    check_audio(names["audio"], decode_whole(small_codec, code_whole(small_codec, samples[None])))
