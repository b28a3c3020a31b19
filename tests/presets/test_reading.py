"""Loading models: what was saved comes back, each part is read when it is needed, and damage is one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.models import random_codec

from codec.config import CodecConfig
from codec.errors import PresetError
from codec.network import Codec
from codec.network.weights import named_weights, shipped_weights
from codec.presets import load, read_config, save_preset
from codec.runtime import NumpyCodec


def test_weights_come_back_in_half_precision(tiny_config: CodecConfig, tiny_preset: Path) -> None:
    saved, loaded = random_codec(tiny_config), load(tiny_preset)
    assert loaded.config == read_config(tiny_preset) == tiny_config
    assert sorted(loaded.parts) == ["decoder", "encoder", "quantizer"] and len(loaded.parts) == 3
    for part, weights in saved.parts.items():
        assert loaded.parts[part].keys() == weights.keys()
        for name, weight in weights.items():
            np.testing.assert_array_equal(loaded.parts[part][name], weight.astype(np.float16), err_msg=name)


def test_both_forms_of_a_model_load_the_same_weights(keras_codec: Codec, numpy_codec: NumpyCodec) -> None:
    for part, weights in shipped_weights(keras_codec).items():
        for name, weight in weights.items():
            np.testing.assert_array_equal(np.asarray(weight), numpy_codec.parts[part][name], err_msg=name)


def test_a_loaded_keras_model_can_train_on(keras_codec: Codec) -> None:
    weights = named_weights(keras_codec)
    np.testing.assert_array_equal(weights["quantizer.sums"], weights["quantizer.codebooks"])
    np.testing.assert_array_equal(np.asarray(weights["quantizer.counts"]), 1)


def test_decoding_reads_no_encoder(preset: Path) -> None:
    model = load(preset)
    for path in preset.glob("encoder.*"):  # its header was checked already, so nothing notices
        path.write_bytes(path.read_bytes()[:200] + bytes(path.stat().st_size - 200))
    assert model.decode(np.zeros((1, 4, 6), np.int32), 16000).any()


def test_a_model_stays_whole_when_its_folder_is_replaced(tiny_config: CodecConfig, preset: Path) -> None:
    before, expected = load(preset), load(preset)
    codes = np.ones((1, 4, 6), np.int32)
    sound = expected.decode(codes, 16000)
    save_preset(random_codec(tiny_config, seed=8), preset, "# Another model\n")
    np.testing.assert_array_equal(before.decode(codes, 16000), sound)
    assert np.any(load(preset).decode(codes, 16000) != sound)


def test_threads_may_need_a_part_at_the_same_time(tiny_preset: Path) -> None:
    codes = np.ones((1, 4, 6), np.int32)
    expected = load(tiny_preset).decode(codes, 16000)
    for _ in range(5):
        model = load(tiny_preset)
        with ThreadPoolExecutor(8) as threads:
            sounds = list(threads.map(lambda _, model=model: model.decode(codes, 16000), range(8)))
        assert all(np.array_equal(sound, expected) for sound in sounds)


def test_the_effort_is_checked(tiny_preset: Path) -> None:
    for effort in (-1, 4, 1.5):
        with pytest.raises(ValueError, match="`effort` must be a whole number from 0 to 3, found"):
            load(tiny_preset, effort=effort)  # type: ignore[arg-type]


def damage_json(directory: Path) -> None:
    (directory / "config.json").write_text("{", encoding="utf-8")


def no_text(directory: Path) -> None:
    (directory / "config.json").write_bytes(b"\xff\xfe\x00")


def add_key(directory: Path) -> None:
    values = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    (directory / "config.json").write_text(json.dumps({**values, "colour": 3}), encoding="utf-8")


def drop_part(directory: Path) -> None:
    (directory / "decoder.safetensors").unlink()


def truncate_part(directory: Path) -> None:
    path = directory / "quantizer.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def damage_prior(directory: Path) -> None:
    (directory / "prior.safetensors").write_bytes(b"nothing")


def change_encoder(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        path = directory / "encoder.safetensors"
        tensors = {name: tensor.copy() for name, tensor in load_file(path).items()}
        change(tensors)
        save_file(tensors, path)

    return damage


MEAN = "standardize.mean"
DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "config is no JSON": (damage_json, "config.json: the config is not JSON"),
    "config is no text": (no_text, "config.json cannot be read"),
    "unknown key": (add_key, "config.json: the config has unknown keys: colour"),
    "no decoder": (drop_part, "decoder.safetensors cannot be read"),
    "half of the quantizer": (truncate_part, "quantizer.safetensors cannot be read"),
    "the prior is no file of tensors": (damage_prior, "prior.safetensors cannot be read"),
    "a tensor is missing": (
        change_encoder(lambda tensors: tensors.pop(MEAN)),
        f"encoder.safetensors does not fit its config: missing tensors: {MEAN}",
    ),
    "many tensors are missing": (
        change_encoder(lambda tensors: [tensors.pop(name) for name in list(tensors)[1:]]),
        r"missing tensors: \S+, \S+, \S+ and \d+ more",
    ),
    "a tensor too many": (
        change_encoder(lambda tensors: tensors.update(more=np.zeros(2, np.float16))),
        "does not fit its config: unknown tensors: more",
    ),
    "another shape": (
        change_encoder(lambda tensors: tensors.update({MEAN: np.zeros(3, np.float16)})),
        rf"{MEAN} has shape \(3,\), expected \(16,\)",
    ),
    "another type": (
        change_encoder(lambda tensors: tensors.update({MEAN: np.zeros(16, np.int32)})),
        f"{MEAN} is I32, expected F16 or F32",
    ),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damage_is_a_preset_error_before_anything_is_coded(case: str, preset: Path) -> None:
    damage, words = DAMAGES[case]
    damage(preset)
    with pytest.raises(PresetError, match=words) as caught:
        load(preset)
    assert str(preset) in str(caught.value) and "\n" not in str(caught.value)
