"""The same weights on TensorFlow and on JAX: the same codes, the same sound, the same training step."""

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
from support.backend_side import outcomes
from support.contract import white

from codec.config import CodecConfig
from codec.network.codec import Codec
from codec.presets import load_keras, save_preset

OTHER = {"tensorflow": "jax", "jax": "tensorflow"}[keras.backend.backend()]
SIDE = Path(__file__).parents[1] / "support" / "backend_side.py"

pytestmark = pytest.mark.skipif(importlib.util.find_spec(OTHER) is None, reason=f"{OTHER} is not installed")

Outcomes = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def preset(tiny_config: CodecConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(2)
    codec = Codec(dataclasses.replace(tiny_config, num_codebooks=3, codebook_size=16))
    codec.quantizer.start(white(3, 16, codec.config.latent_dim) * np.float32([1, 0.6, 0.4])[:, None, None])
    codec.decoder.head.magnitude.kernel.assign(0.1 * white(*codec.decoder.head.magnitude.kernel.shape))
    directory = tmp_path_factory.mktemp("both")
    save_preset(codec, directory, "# Both\n")
    return directory


@pytest.fixture(scope="module")
def ours(preset: Path) -> Outcomes:
    return outcomes(str(preset))


@pytest.fixture(scope="module")
def theirs(preset: Path) -> Outcomes:
    result = preset / "other.npz"
    quick = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # half the time to compile
    environment = {**os.environ, "KERAS_BACKEND": OTHER, **quick}
    command = [sys.executable, str(SIDE), str(preset), str(result)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(result) as arrays:
        assert arrays["backend"] == OTHER
        return dict(arrays)


def test_latents(ours: Outcomes, theirs: Outcomes) -> None:
    np.testing.assert_allclose(ours["latents"], theirs["latents"], atol=1e-3)


def test_codes_are_equal_but_for_ties(ours: Outcomes, theirs: Outcomes, preset: Path) -> None:
    books = load_keras(preset).quantizer.codebooks.numpy()
    differing = np.argwhere(np.any(ours["codes"] != theirs["codes"], axis=-1))
    assert len(differing) <= 0.02 * ours["codes"][..., 0].size
    for place in map(tuple, differing):
        first, second = ours["codes"][place], theirs["codes"][place]
        stage = int(np.argmax(first != second))
        left = ours["latents"][place] - sum(books[s][first[s]] for s in range(stage))
        near = np.sum((left - books[stage][[first[stage], second[stage]]]) ** 2, axis=-1)
        assert near[0] == pytest.approx(near[1], abs=1e-3)


def test_sound(ours: Outcomes, theirs: Outcomes) -> None:
    assert np.std(ours["decoded"]) > 1e-2
    np.testing.assert_allclose(ours["decoded"], theirs["decoded"], atol=1e-3)


def test_straight_through(ours: Outcomes, theirs: Outcomes) -> None:
    for name in ("value", "to_latents", "to_quantized"):
        np.testing.assert_array_equal(ours[name], theirs[name])
    assert np.any(ours["to_latents"]) and not np.any(ours["to_quantized"])


def test_one_training_step(ours: Outcomes, theirs: Outcomes) -> None:
    losses = [name for name in ours if name.startswith("loss ")]
    assert len(losses) == 4
    for name in [*losses, "norm"]:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-3, err_msg=name)


def test_the_next_step_sees_what_the_first_moved(ours: Outcomes, theirs: Outcomes) -> None:
    np.testing.assert_allclose(ours["commitment"], theirs["commitment"], rtol=2e-3)
    assert abs(ours["commitment"] - ours["loss commitment"]) > 0.05 * ours["loss commitment"]


def test_what_a_step_moved(ours: Outcomes, theirs: Outcomes) -> None:
    """Adam's first step is one learning rate a weight whichever way, so a few tiny gradients may differ in sign."""
    assert np.mean(np.abs(ours["moved"] - theirs["moved"]) > 1e-4) < 0.02
    assert np.abs(ours["moved"]).max() > 1e-4
    for name in ("codebooks", "mean"):
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-3)
