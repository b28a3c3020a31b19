"""Loading models: what was saved comes back, each part is read when it is needed, and damage is one sentence."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.models import random_codec
from support.priors import random_prior

from codec.config import CodecConfig
from codec.errors import PresetError
from codec.network import Codec
from codec.network.weights import named_weights, shipped_weights
from codec.presets import list_models, load, read_config, save_preset, save_prior
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


def set_size(name: str, value: object) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        values = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        (directory / "config.json").write_text(json.dumps({**values, name: value}), encoding="utf-8")

    return change


def nest_config(directory: Path) -> None:
    (directory / "config.json").write_text('{"hop_length": ' + "[" * 50_000, encoding="utf-8")


def grow_config(directory: Path) -> None:
    (directory / "config.json").write_text("{" + " " * 2**20, encoding="utf-8")


def make_huge(directory: Path) -> None:
    for name, value in {"encoder_width": 4096, "encoder_blocks": 64}.items():
        set_size(name, value)(directory)


def replace(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        (directory / name).unlink(missing_ok=True)
        make(directory / name)

    return change


def tensors(header: object, data: bytes = b"") -> Callable[[Path], object]:
    """Return a function that writes a file of tensors with this header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return lambda path: path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def tensor(shape: list[int], start: int, end: int, kind: str = "F16") -> dict[str, object]:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


ENDLESS = tensor([0, 2**62], 0, 0)
ONE = '"a": {"dtype": "F16", "shape": [1], "data_offsets": '
TWICE = f"{{{ONE}[0, 2]}}, {ONE}[2, 4]}}}}".encode()
OVERLAP = {"codebooks": tensor([2], 0, 4), "prediction": tensor([2], 2, 6)}


def other_prior(directory: Path) -> None:
    save_prior(random_prior(codebooks=3), directory)


def endless_prior(directory: Path) -> None:
    save_prior(random_prior(codebooks=24, size=1024), directory)
    path = directory / "prior.safetensors"
    length = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + length])
    header["codewords"] = tensor([0, 2**62], 0, 0, "I8")
    tensors(header, path.read_bytes()[8 + length :])(path)


def damage_prior(directory: Path) -> None:
    (directory / "prior.safetensors").write_bytes(b"nothing")


def change_encoder(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        path = directory / "encoder.safetensors"
        tensors = {name: tensor.copy() for name, tensor in load_file(path).items()}
        change(tensors)
        save_file(tensors, path)

    return damage


def change_quantizer(value: np.floating) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        path = directory / "quantizer.safetensors"
        weights = load_file(path)
        weights["prediction"] = weights["prediction"].astype(value.dtype)
        weights["prediction"][1, 2] = value
        save_file(weights, path)

    return damage


MEAN = "standardize.mean"
DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "config is no JSON": (damage_json, "config.json: the config is not JSON"),
    "config is no text": (no_text, "config.json cannot be read"),
    "unknown key": (add_key, "config.json: the config has unknown keys: colour"),
    "no decoder": (drop_part, "decoder.safetensors cannot be read"),
    "half of the quantizer": (truncate_part, "quantizer.safetensors cannot be read"),
    "the prior is no file of tensors": (damage_prior, "prior.safetensors cannot be read"),
    "a config that is nested deeply": (nest_config, "config.json: the config is not JSON"),
    "a config of a megabyte": (
        grow_config,
        "config.json: the config has 65537 characters, expected at most 65536",
    ),
    "a billion blocks": (
        set_size("encoder_blocks", 10**9),
        "`encoder_blocks` must be an integer from 1 to 64, found",
    ),
    "a billion codebooks": (set_size("num_codebooks", 10**9), "from 1 to 255, found 1000000000"),
    "codes of 17 bits": (set_size("codebook_size", 2**17), "from 2 to 65536, found 131072"),
    "codes of no bits": (set_size("codebook_size", 1), "from 2 to 65536, found 1"),
    "a frame too long for a file": (set_size("hop_length", 65536), "from 2 to 4096, found 65536"),
    "too many weights": (make_huge, r"config.json: the sizes give \d+ weights, expected at most 134217728"),
    "a folder as weights": (replace("decoder.safetensors", Path.mkdir), "found a folder, pipe or device"),
    "a device as weights": (
        replace("decoder.safetensors", lambda path: path.symlink_to("/dev/zero")),
        "found a folder, pipe or device, expected a regular file",
    ),
    "a device as prior": (
        replace("prior.safetensors", lambda path: path.symlink_to("/dev/zero")),
        "prior.safetensors cannot be read: found a folder, pipe or device",
    ),
    "a link to no prior": (
        replace("prior.safetensors", lambda path: path.symlink_to("nothing")),
        "prior.safetensors cannot be read: No such file",
    ),
    "a header that fills memory": (
        replace("decoder.safetensors", lambda path: path.write_bytes(struct.pack("<Q", 2**40))),
        "a header of 1099511627776 bytes, expected at most 1048576",
    ),
    "a tensor without end": (
        replace("quantizer.safetensors", tensors({"codebooks": ENDLESS, "prediction": ENDLESS})),
        r"codebooks has shape \(0, 4611686018427387904\), expected \(24, 1024, 16\)",
    ),
    "a tensor twice": (
        replace("quantizer.safetensors", tensors(TWICE, bytes(4))),
        "cannot be read: .*header",
    ),
    "tensors that overlap": (
        replace("quantizer.safetensors", tensors(OVERLAP, bytes(6))),
        "cannot be read: .*offset",
    ),
    "a name of many lines": (
        replace("quantizer.safetensors", tensors({"a\nb\x1b" * 999: tensor([0], 0, 0)})),
        r"missing tensors: codebooks, prediction",
    ),
    "a prior of another model": (
        other_prior,
        r"\(codebooks, codewords\) \(3, 16\), expected \(24, 1024\) as in",
    ),
    "a prior without end": (endless_prior, "prior.safetensors.*codewords|prior.safetensors cannot be read"),
    "NaN": (
        change_quantizer(np.float16("nan")),
        "quantizer.safetensors: prediction has NaN or infinity, expected",
    ),
    "infinity": (
        change_quantizer(np.float32("-inf")),
        "prediction has NaN or infinity, expected finite numbers",
    ),
    "a tensor is missing": (
        change_encoder(lambda tensors: tensors.pop(MEAN)),
        f"encoder.safetensors: does not fit its config: missing tensors: {MEAN}",
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
    message = str(caught.value)
    assert str(preset) in message and message.isprintable() and len(message) < 500


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("envelope_map.bias", np.nan, "envelope_map.bias has NaN or infinity, expected finite numbers"),
        ("standardize.variance", -1.0, "standardize.variance is -1, expected no negative number"),
    ],
)
def test_wrong_numbers_of_the_encoder_are_refused_when_it_is_needed(
    name: str, value: float, words: str, preset: Path
) -> None:
    change_encoder(lambda weights: weights[name].fill(value))(preset)
    model = load(preset)
    with pytest.raises(PresetError, match=words):
        model.encode(np.zeros(16000, np.float32), 16000)
    assert model.decode(np.zeros((1, 4, 6), np.int32), 16000).any()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["encoder.safetensors", "card.md"])
def test_a_named_pipe_in_a_model_is_not_waited_for(name: str, preset: Path) -> None:
    replace(name, os.mkfifo)(preset)
    code = "import sys; from codec.presets import *; list_models(); load(sys.argv[1])"
    run = subprocess.run(
        [sys.executable, "-c", code, preset],
        env={**os.environ, "LAMELLA_MODELS": str(preset)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ("found a folder, pipe or device" in run.stderr) == (name == "encoder.safetensors")
    assert run.returncode == (name == "encoder.safetensors")


def test_only_the_start_of_a_card_is_read(preset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (preset / "card.md").write_text("\n" * 2**17 + "# Too late\n", encoding="utf-8")
    monkeypatch.setenv("LAMELLA_MODELS", str(preset))
    assert list_models()[-1].description == ""
