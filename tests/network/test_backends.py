"""The same weights give the same codes, audio and training step on TensorFlow and on JAX."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from support.backend_side import results
from support.contract import white

from codec.config import CodecConfig
from codec.network.codec import Codec
from codec.presets import load_keras, save_preset

OTHER = {"tensorflow": "jax", "jax": "tensorflow"}[keras.backend.backend()]
SIDE = Path(__file__).parents[1] / "support" / "backend_side.py"

pytestmark = pytest.mark.skipif(importlib.util.find_spec(OTHER) is None, reason=f"{OTHER} is not installed")

Results = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def preset(tiny_config: CodecConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three small codebooks."""
    keras.utils.set_random_seed(2)
    codec = Codec(dataclasses.replace(tiny_config, num_codebooks=3, codebook_size=16))
    codec.quantizer.start(white(3, 16, codec.config.latent_dim) * np.float32([1, 0.6, 0.4])[:, None, None])
    codec.decoder.head.magnitude.kernel.assign(0.1 * white(*codec.decoder.head.magnitude.kernel.shape))
    directory = tmp_path_factory.mktemp("both")
    save_preset(codec, directory, "# Both\n")
    return directory


@pytest.fixture(scope="module")
def this(preset: Path) -> Results:
    """The results on the backend of this process."""
    return results(str(preset))


@pytest.fixture(scope="module")
def other(preset: Path) -> Results:
    """The results on the other backend, in a process of its own."""
    result = preset / "other.npz"
    fast_compilation = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    environment = {**os.environ, "KERAS_BACKEND": OTHER, **fast_compilation}
    command = [sys.executable, str(SIDE), str(preset), str(result)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-3000:]
    with np.load(result) as arrays:
        assert arrays["backend"] == OTHER
        return dict(arrays)


def test_latents_agree(this: Results, other: Results) -> None:
    np.testing.assert_allclose(this["latents"], other["latents"], atol=1e-3)


def test_codes_are_equal_but_for_ties(this: Results, other: Results, preset: Path) -> None:
    books = load_keras(preset).quantizer.codebooks.numpy()
    different_frames = np.argwhere(np.any(this["codes"] != other["codes"], axis=-1))
    assert len(different_frames) <= 0.02 * this["codes"][..., 0].size
    for place in map(tuple, different_frames):
        first, second = this["codes"][place], other["codes"][place]
        stage = int(np.argmax(first != second))
        rest = this["latents"][place] - sum(books[s][first[s]] for s in range(stage))
        distances = np.sum((rest - books[stage][[first[stage], second[stage]]]) ** 2, axis=-1)
        assert distances[0] == pytest.approx(distances[1], abs=1e-3)


def test_audio_agrees(this: Results, other: Results) -> None:
    assert np.std(this["decoded"]) > 1e-2
    np.testing.assert_allclose(this["decoded"], other["decoded"], atol=1e-3)


def test_straight_through_has_the_same_value_and_gradients(this: Results, other: Results) -> None:
    for name in ("value", "to_latents", "to_quantized"):
        np.testing.assert_array_equal(this[name], other[name])
    assert np.any(this["to_latents"]) and not np.any(this["to_quantized"])


def test_the_losses_of_a_training_step_agree(this: Results, other: Results) -> None:
    losses = [name for name in this if name.startswith("loss ")]
    assert len(losses) == 4
    for name in [*losses, "gradient_norm"]:
        np.testing.assert_allclose(this[name], other[name], rtol=1e-3, err_msg=name)


def test_the_second_step_uses_the_codebooks_that_the_first_moved(this: Results, other: Results) -> None:
    np.testing.assert_allclose(this["commitment"], other["commitment"], rtol=2e-3)
    assert abs(this["commitment"] - this["loss commitment"]) > 0.05 * this["loss commitment"]


def test_a_step_changes_the_weights_equally(this: Results, other: Results) -> None:
    """Adam's first step moves each weight by one learning rate, so a few tiny gradients may differ in sign."""
    assert np.mean(np.abs(this["change"] - other["change"]) > 1e-4) < 0.02
    assert np.abs(this["change"]).max() > 1e-4
    for name in ("codebooks", "mean"):
        np.testing.assert_allclose(this[name], other[name], atol=1e-3)
