"""Two processes that train one model: the same weights on both, and those of one process with the whole batch."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from support import tiny_training as tiny

from codec.errors import CodecError
from codec.presets import save_preset
from codec.training.checkpoint import NAME
from codec.training.data import WHOLE_BATCH, Shard
from codec.training.replicas import Replicas, find_replicas
from codec.training.trainer import train

SIDE = """
import hashlib, os, pathlib, sys
import tensorflow as tf
from codec.training.replicas import StrategyReplicas, find_replicas
if os.environ.get("DEVICES"):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    replicas = StrategyReplicas(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
else:
    replicas = find_replicas()
from support import tiny_training as tiny
from codec.presets import load_keras
from codec.training import trainer
from codec.training.recipe import AdversarialRecipe
folder, preset, output, steps, share = sys.argv[1:]
small = {"windows": (0.032,), "lowest_frequency": 500.0, "highest_frequency": 3000.0, "channels": (4, 4, 4, 4)}
small |= {"crop_frames": 14, "segments": 16}
adversarial = AdversarialRecipe(float(share), **small)
recipe = tiny.recipe(int(steps), batch_size=4, rise_steps=1, adversarial=adversarial)
new_stepper, stages = trainer.new_stepper, []
trainer.new_stepper = lambda stage: (stages.append(stage), new_stepper(stage))[1]
with replicas.scope():
    codec = load_keras(preset)
trainer.train(pathlib.Path(folder), pathlib.Path(output), recipe, print, codec, replicas=replicas)
state = tiny.values(stages[-1])
print(len(stages), hashlib.sha256(b"".join(state[name].tobytes() for name in sorted(state))).hexdigest())
"""
GUIDE = Path(__file__).parents[2] / "assets" / "docs" / "training.md"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a folder of recordings, and a model initialized on sines."""
    folder = tmp_path_factory.mktemp("two")
    tiny.recordings(folder / "in")
    save_preset(tiny.bench().stage.codec, folder / "preset", "# sines\n")
    return folder / "in", folder / "preset"


def settings(number: int, ports: list[int]) -> str:
    """Return TF_CONFIG as in the guide, with other ports, for process `number`."""
    found = re.search(r"TF_CONFIG='(.*)'", GUIDE.read_text(encoding="utf-8"))
    assert found
    config = json.loads(found[1])
    config["cluster"]["worker"] = [f"localhost:{port}" for port in ports]
    config["task"]["index"] = number
    return json.dumps(config)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]


def two(code: str, *arguments: object) -> list[str]:
    """Run a program as two processes of one cluster, and return what each printed."""
    ports = free_ports(2)
    processes = [tiny.start(code, *arguments, TF_CONFIG=settings(number, ports)) for number in range(2)]
    return [tiny.finish(process) for process in processes]


def state(output: Path) -> dict[str, np.ndarray]:
    return load_file(output / "training" / NAME)


@pytest.fixture(scope="module")
def alone(inputs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Return the state of one process that trains on the whole batches."""
    output = tmp_path_factory.mktemp("alone")
    tiny.finish(tiny.start(SIDE, *inputs, output, 2, 0))
    return state(output)


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Assert that two states are equal except for rounding, which Adam enlarges where a gradient is tiny."""
    assert set(found) == set(expected)
    assert np.mean(np.abs(found["master"] - expected["master"]) > 1e-4) < 0.02
    for name in expected:
        if name.startswith(("result", "weights.quantizer", "weights.encoder.standardize")):
            np.testing.assert_allclose(found[name], expected[name], atol=2e-3, err_msg=name)


@pytest.mark.slow
def test_two_processes_train_like_one(
    inputs: tuple[Path, Path], alone: dict[str, np.ndarray], tmp_path: Path
) -> None:
    output = tmp_path / "two"
    printed = two(SIDE, *inputs, output, 2, 0)
    assert printed[0].splitlines()[-1] == printed[1].splitlines()[-1]  # the same to the last bit
    assert len(printed[1].splitlines()) == 1  # only the chief says anything
    same(state(output), alone)
    assert (output / "prior.safetensors").is_file()
    assert len(list((output / "training" / "tensorboard").iterdir())) == 1
    # They continue together, to the adversarial stage.
    printed = two(SIDE, *inputs, output, 4, 0.5)
    assert "\ncontinuing after 2 steps" in printed[0]
    assert printed[0].splitlines()[-1] == printed[1].splitlines()[-1]
    assert printed[1].startswith("2 ")  # stages


@pytest.mark.slow
def test_two_devices_train_like_one(
    inputs: tuple[Path, Path], alone: dict[str, np.ndarray], tmp_path: Path
) -> None:
    tiny.finish(tiny.start(SIDE, *inputs, tmp_path, 2, 0, DEVICES="2"))
    same(state(tmp_path), alone)


@pytest.mark.slow
def test_the_command_of_the_guide(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    code, (folder, preset) = "from cli.main import main; main()", inputs
    options = ("--from", preset, "--steps", 2, "--batch-size", 2, "--segment", 0.5)
    two(code, "train", folder, "--output", tmp_path / "model", *options)
    assert "| 600 |" in (tmp_path / "model" / "card.md").read_text()
    source = folder / "0.wav"
    tiny.finish(tiny.start(code, "compress", "--model", tmp_path / "model", source, tmp_path / "a.lam"))
    assert (tmp_path / "a.lam").stat().st_size > 100


JAX = """
import sys
import numpy as np
from support import tiny_training as tiny
import jax
assert jax.local_device_count() == int(sys.argv[2])
bench = tiny.bench()
batch = tiny.inputs(bench.stage.codec, 4)._replace(num_codebooks=np.array([3, 1, 2, 3], np.int32))
report = bench.stepper.step(batch, 1e-3, 0)
if jax.local_device_count() > 1:
    assert len(bench.stepper.values[0].sharding.device_set) == 2
bench.stepper.write_variables()
result = {**report.losses, "norm": report.gradient_norm}
np.savez(sys.argv[1], **tiny.values(bench.stage), **{f"result {name}": value for name, value in result.items()})
"""


@pytest.mark.slow
def test_two_devices_on_jax_train_like_one(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    for count in (1, 2):
        quick = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # half the time to compile
        flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}", **quick}
        tiny.finish(tiny.start(JAX, tmp_path / f"{count}.npz", count, KERAS_BACKEND="jax", **flags))
    with np.load(tmp_path / "2.npz") as found, np.load(tmp_path / "1.npz") as expected:
        same(dict(found), dict(expected))


def test_a_process_alone_is_the_chief() -> None:
    replicas = Replicas()
    with replicas.scope(), replicas.chief_first():
        assert replicas.total(1.0, 2.0) == [1.0, 2.0]
        assert replicas.of_chief(3.0) == 3.0
    assert (replicas.shard, replicas.count, replicas.chief) == (WHOLE_BATCH, 1, True)


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a batch of 2 does not divide among 3 devices"):
        train(tmp_path, tmp_path, tiny.recipe(1), print, replicas=Replicas(Shard(0, 3), 3))


@pytest.mark.parametrize("wrong", ["{", '{"cluster": {"worker": ["here:1"]}, "task": {"type": "boss"}}'])
def test_an_invalid_tf_config_is_an_error(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("TF_CONFIG", wrong)
    with pytest.raises(CodecError, match="TF_CONFIG cannot be used"):
        find_replicas()
