"""Models on disk: what is saved is what loads, under a name made of its content, and damage is told in one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.contract import white

from codec.errors import PresetError
from codec.network.codec import Codec
from codec.presets import (
    list_presets,
    load,
    load_keras,
    model_id,
    named_weights,
    save_preset,
    shipped_weights,
)
from codec.presets import store as presets

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def loaded(tiny_preset: Path) -> Codec:
    return load_keras(tiny_preset)


@pytest.fixture
def copy(tiny_preset: Path, tmp_path: Path) -> Path:
    """A preset to damage."""
    return Path(shutil.copytree(tiny_preset, tmp_path / "copy"))


def test_weights_come_back_in_half_precision(keras_codec: Codec, loaded: Codec) -> None:
    assert loaded.config == keras_codec.config
    saved, back = shipped_weights(keras_codec), shipped_weights(loaded)
    assert list(saved) == list(back)
    for name, weight in saved.items():
        expected = weight.numpy().astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(back[name].numpy(), expected, err_msg=name)


def test_what_half_precision_cannot_hold_is_stored_in_single(tiny_preset: Path, tmp_path: Path) -> None:
    codec = load_keras(tiny_preset)
    codec.encoder.standardize.variance.assign([90_000.0, 1.5, 1.5])
    save_preset(codec, tmp_path, "# Large\n")
    stored = load_file(tmp_path / "weights.safetensors")
    single = [name for name, weight in stored.items() if weight.dtype == np.float32]
    assert single == ["encoder.standardize.variance"]
    again = load_keras(tmp_path)
    assert again.encoder.standardize.variance.numpy().tolist() == [90_000.0, 1.5, 1.5]
    assert model_id(again) == model_id(codec) == model_id(load(tmp_path))


def test_a_loaded_model_saves_as_it_was(loaded: Codec, tiny_preset: Path, tmp_path: Path) -> None:
    save_preset(loaded, tmp_path / "again", "# Tiny: for tests, untrained\n")
    for path in sorted(tiny_preset.iterdir()):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
    assert {path.name for path in (tmp_path / "again").iterdir()} == {
        "card.md",
        "config.json",
        "weights.safetensors",
    }


def test_codes_and_sound_come_back(loaded: Codec, tmp_path: Path) -> None:
    save_preset(loaded, tmp_path, "# Again\n")
    again, audio = load_keras(str(tmp_path)), 0.1 * white(1, 4 * loaded.config.hop_length, 1)
    codes = loaded.encode(audio, 6)
    np.testing.assert_array_equal(again.encode(audio, 6), codes)
    np.testing.assert_array_equal(again.decode(codes), loaded.decode(codes))


def test_a_loaded_model_can_train_on(loaded: Codec) -> None:
    np.testing.assert_array_equal(loaded.quantizer.sums.numpy(), loaded.quantizer.codebooks.numpy())
    np.testing.assert_array_equal(loaded.quantizer.counts.numpy(), 1)


def test_names_are_places_and_need_no_process(keras_codec: Codec, loaded: Codec) -> None:
    names = list(named_weights(keras_codec))
    assert names == list(named_weights(loaded)) and len(names) == len(keras_codec.weights)
    assert "encoder.fine.layers.0.layer.kernel" in names and "quantizer.codebooks" in names
    assert set(names) - set(shipped_weights(keras_codec)) == {"quantizer.counts", "quantizer.sums"}


class TestIdentity:
    def test_is_eight_bytes_and_the_same_once_saved_and_loaded(
        self, keras_codec: Codec, loaded: Codec
    ) -> None:
        assert len(model_id(keras_codec)) == 8
        assert model_id(keras_codec) == model_id(loaded)

    def test_is_the_same_in_another_process(self, keras_codec: Codec, tiny_preset: Path) -> None:
        code = (
            "import sys; from codec.presets import *; print(model_id(load_keras(sys.argv[1])).hex(), end='')"
        )
        found = subprocess.run(
            [sys.executable, "-c", code, tiny_preset], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert found.stdout == model_id(keras_codec).hex()

    def test_any_weight_changes_it(self, loaded: Codec) -> None:
        before = model_id(loaded)
        for weight in shipped_weights(loaded).values():
            kept = weight.numpy()
            changed = kept.copy()
            changed.flat[-1] += 0.5
            weight.assign(changed)
            assert model_id(loaded) != before
            weight.assign(kept)
        assert model_id(loaded) == before

    def test_the_config_changes_it_and_moving_averages_do_not(
        self, keras_codec: Codec, loaded: Codec
    ) -> None:
        before = model_id(loaded)
        loaded.quantizer.counts.assign(loaded.quantizer.counts.numpy() + 1)
        assert model_id(loaded) == before
        loaded.quantizer.counts.assign(np.ones_like(loaded.quantizer.counts.numpy()))
        config = loaded.config
        object.__setattr__(loaded, "config", type(config)(**{**config.__dict__, "phase_limit": 1001}))
        assert model_id(loaded) != before
        object.__setattr__(loaded, "config", config)


def damage_json(directory: Path) -> None:
    (directory / "config.json").write_text("{", encoding="utf-8")


def add_key(directory: Path) -> None:
    values = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    (directory / "config.json").write_text(json.dumps({**values, "colour": 3}), encoding="utf-8")


def drop_weights(directory: Path) -> None:
    (directory / "weights.safetensors").unlink()


def truncate_weights(directory: Path) -> None:
    path = directory / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def change_tensors(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        path = directory / "weights.safetensors"
        tensors = {name: tensor.copy() for name, tensor in load_file(path).items()}
        change(tensors)
        save_file(tensors, path)

    return damage


MEAN = "encoder.standardize.mean"
DAMAGES = {
    "config is no JSON": (damage_json, "not JSON"),
    "unknown key": (add_key, "unknown keys: colour"),
    "no weights": (drop_weights, "weights.safetensors cannot be read"),
    "half of the weights": (truncate_weights, "weights.safetensors cannot be read"),
    "a tensor is missing": (change_tensors(lambda tensors: tensors.pop(MEAN)), f"1 tensors .* first {MEAN}"),
    "a tensor too many": (
        change_tensors(lambda tensors: tensors.update(more=np.zeros(2, np.float16))),
        "first more",
    ),
    "another shape": (
        change_tensors(lambda tensors: tensors.update({MEAN: np.zeros(3, np.float16)})),
        rf"{MEAN} has shape \(3,\), expected \(16,\)",
    ),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damage_is_a_preset_error(case: str, copy: Path) -> None:
    damage, words = DAMAGES[case]
    damage(copy)
    with pytest.raises(PresetError, match=words) as caught:
        load_keras(copy)
    assert "\n" not in str(caught.value)


def test_a_config_that_is_not_text(copy: Path) -> None:
    (copy / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PresetError):
        load_keras(copy)


class TestShipped:
    @pytest.fixture
    def assets(self, tmp_path: Path, tiny_preset: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        for name in ("zebra", "apple"):
            shutil.copytree(tiny_preset, tmp_path / name)
        (tmp_path / "samples").mkdir()
        monkeypatch.setattr(presets, "_assets", lambda: tmp_path)
        return tmp_path

    def test_listed_by_name_with_the_first_line_of_the_card(self, assets: Path) -> None:
        (assets / "zebra" / "card.md").unlink()
        expected = [("apple", "Tiny: for tests, untrained"), ("zebra", "")]
        assert [(preset.name, preset.description) for preset in list_presets()] == expected

    def test_loaded_by_name(self, assets: Path, keras_codec: Codec) -> None:
        assert model_id(load_keras("apple")) == model_id(keras_codec)

    def test_unknown_name_lists_the_known(self, assets: Path) -> None:
        with pytest.raises(PresetError, match=r"no model 'pear'.*\(apple, zebra\)"):
            load_keras("pear")

    def test_a_folder_without_a_model(self, assets: Path, tmp_path: Path) -> None:
        with pytest.raises(PresetError, match=r"neither a directory with a config.json nor"):
            load_keras(tmp_path / "samples")

    def test_nothing_shipped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(presets, "_assets", lambda: tmp_path / "none")
        assert list_presets() == []
        with pytest.raises(PresetError, match="none"):
            load_keras("lamella-48k")

    def test_samples_are_shipped_beside(self) -> None:
        assert presets.samples().parent == presets._assets()


def test_a_failed_save_leaves_the_old_preset(
    loaded: Codec, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in copy.iterdir()}

    def fail(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space"):
        save_preset(loaded, copy, "# New\n")
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
