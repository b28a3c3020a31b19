"""The manifest says what a program needs to use an export."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.exports import Export

from codec.presets import model_id
from codec.runtime import NumpyCodec

SIZES = {"batch": 3, "time": 500, "frame": 2}


def zeros(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    return {
        name: np.zeros([SIZES.get(size, size) for size in array["shape"]], array["dtype"])
        for name, array in arrays.items()
    }


def test_it_has_the_numbers_of_the_model(export: Export, small_codec: NumpyCodec) -> None:
    manifest, config = export.manifest, small_codec.config
    assert manifest["model_id"] == model_id(small_codec).hex()
    assert (manifest["sample_rate"], manifest["hop_length"]) == (16000, 320)
    assert manifest["latency"] == small_codec.latency
    assert manifest["reset_interval"] == config.reset_interval
    assert (manifest["num_codebooks"], manifest["base_codebooks"]) == (6, config.base_codebooks)


@pytest.mark.parametrize("name", ["encode", "decode", "encode_step", "decode_step"])
def test_every_function_takes_and_returns_the_described_arrays(export: Export, name: str) -> None:
    described = export.manifest["functions"][name]
    outputs = export.run(name, **zeros({**described["inputs"], **described["state"]}))
    expected = {**described["outputs"], **described["state"]}
    assert outputs.keys() == expected.keys()
    for key, array in expected.items():
        assert outputs[key].dtype == array["dtype"] and len(outputs[key]) == SIZES["batch"]
        for size, described_size in zip(outputs[key].shape, array["shape"], strict=True):
            assert described_size in SIZES or size == described_size


def test_the_state_is_named_after_the_layers(export: Export) -> None:
    functions = export.manifest["functions"]
    assert list(functions["encode_step"]["state"]) == ["analysis", "fine_block_1", "coarse_block_1", "base"]
    assert {"frame", "excitation", "synthesis", "base"} < functions["decode_step"]["state"].keys()
