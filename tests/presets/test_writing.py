"""Saving models: as they were loaded, in half precision where it is enough, and never half of a model."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.models import random_codec
from support.priors import random_prior

from codec.config import CodecConfig
from codec.errors import CodecError, PresetError
from codec.network import Codec
from codec.presets import load, load_keras, model_id, save_preset, save_prior
from codec.runtime import NumpyCodec

CARD = "# Tiny: for tests, untrained\n"


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_loaded_model_saves_as_it_was(
    numpy_codec: NumpyCodec, keras_codec: Codec, tiny_preset: Path, tmp_path: Path
) -> None:
    for number, model in enumerate((numpy_codec, keras_codec)):
        save_preset(model, tmp_path / str(number), CARD)
        assert contents(tmp_path / str(number)) == contents(tiny_preset)
    files = {"card.md", "config.json", "decoder.safetensors", "encoder.safetensors", "quantizer.safetensors"}
    assert contents(tiny_preset).keys() == files


def test_numbers_beyond_half_precision_are_stored_in_single(tiny_config: CodecConfig, tmp_path: Path) -> None:
    model = random_codec(tiny_config)
    model.parts["encoder"]["standardize.variance"][:] = [90_000.0, 1.5, 1.5]
    save_preset(model, tmp_path, "# Large\n")
    stored = load_file(tmp_path / "encoder.safetensors")
    assert [name for name, weight in stored.items() if weight.dtype == np.float32] == ["standardize.variance"]
    for loaded in (load(tmp_path).parts["encoder"], load_file(tmp_path / "encoder.safetensors")):
        assert loaded["standardize.variance"].tolist() == [90_000.0, 1.5, 1.5]
    assert model_id(load_keras(tmp_path)) == model_id(load(tmp_path)) == model_id(model)


def test_a_saved_model_has_its_own_prior_or_none(tiny_config: CodecConfig, preset: Path) -> None:
    save_prior(random_prior(codebooks=24, size=1024), preset)
    with_prior = load(preset)
    assert with_prior.prior is not None
    save_preset(with_prior, preset, CARD)
    assert model_id(load(preset)) == model_id(with_prior)
    save_preset(random_codec(tiny_config), preset, CARD)
    assert load(preset).prior is None


def test_a_failed_save_leaves_the_old_model(
    numpy_codec: NumpyCodec, preset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(preset)
    write, calls = Path.write_bytes, []

    def fail_at_the_third_file(self: Path, data: bytes) -> int:
        calls.append(self)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", fail_at_the_third_file)
    with pytest.raises(CodecError, match="No space"):
        save_preset(numpy_codec, preset, "# New\n")
    assert contents(preset) == before


def test_an_interrupted_save_never_leaves_a_mixture(
    tiny_config: CodecConfig, preset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process may end between any two renames: then the folder is no model."""
    replace, calls = os.replace, []

    def stop_at_the_second_file(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) > 1:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop_at_the_second_file)
    with pytest.raises(KeyboardInterrupt):
        save_preset(random_codec(tiny_config, seed=8), preset, CARD)
    with pytest.raises(PresetError, match="no model"):
        load(preset)
