"""Presets become SavedModels, from Python and from the command line."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import keras
import pytest
from support.command_line import fails, refuses, works
from support.exports import TIES, check_whole_signal, open_export
from support.models import random_codec
from support.sounds import speech

from codec import architecture
from codec.config import CodecConfig
from codec.errors import CodecError, PresetError
from codec.export import export_saved_model, saved_model
from codec.export.manifest import MANIFEST
from codec.presets import load, save_preset

COMMAND = ("export", "--format", "saved-model")


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make exports that write no graph and take no time."""
    monkeypatch.setattr(saved_model, "write_saved_model", lambda signatures, directory: None)


@pytest.mark.usefixtures("instant")
def test_the_command_exports_and_overwrites_only_with_force(small_preset: Path, tmp_path: Path) -> None:
    target = tmp_path / "model"
    assert "model: 0.0 MB" in works(*COMMAND, small_preset, target).stderr
    assert (target / MANIFEST).is_file()
    assert "model exists; --force overwrites it" in fails(*COMMAND, small_preset, target)
    works(*COMMAND, small_preset, target, "--force", "--quiet")


def test_the_command_names_the_formats(tmp_path: Path) -> None:
    assert "--format" in refuses("export", "m", tmp_path / "a")
    assert "saved-model" in refuses("export", "--format", "coreml", "m", tmp_path / "a")


def test_an_unknown_model_is_named_and_leaves_no_directory(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match="no model 'none'"):
        export_saved_model("none", tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_the_pip_command(
    small_preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *_: None if name == "tensorflow" else find_spec(name)
    )
    with pytest.raises(CodecError, match=r"export needs tensorflow: pip install 'lamella\[train\]'"):
        export_saved_model(small_preset, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_another_backend_of_keras_is_refused(
    small_preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(CodecError, match="export needs Keras on TensorFlow, found it on jax"):
        export_saved_model(small_preset, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_block_added_to_the_description_is_exported(
    tiny_config: CodecConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder_layers = architecture.encoder_layers

    def longer_encoder(config: CodecConfig) -> architecture.EncoderLayers:
        layers = encoder_layers(config)
        *others, norm, output = layers.network
        block = architecture.Block("added", config.encoder_width, 2 * config.encoder_width)
        return layers._replace(network=(*others, block, norm, output))

    monkeypatch.setattr(architecture, "encoder_layers", longer_encoder)
    preset, target = tmp_path / "longer", tmp_path / "model"
    config = dataclasses.replace(tiny_config, num_codebooks=3)
    save_preset(random_codec(config), preset, "# Longer: for tests, untrained\n")
    export_saved_model(preset, target)
    export, codec = open_export(target), load(preset, effort=0)
    assert export.manifest["functions"]["encode_step"]["state"]["added"]["shape"] == ["batch", 6, 8]
    check_whole_signal(export, codec, speech(60, config.hop_length), TIES)
