"""Training steps on TensorFlow, by a gradient tape, and on JAX, by a pure function: the same numbers on both.

A stage of training says what a step does to its variables; a stepper turns that into one compiled graph of its backend.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
from keras import ops

from codec.network.streaming import Tensor
from codec.training.parameters import Trainee
from codec.training.replicas import mean_over_replicas, of_first_replica

TURNS = 2  # a stage may do one thing at even steps and another at odd ones; each is a graph of its own


class Arrays(NamedTuple):
    """What a step takes in."""

    audio: Any  # float32 [batch, time, 1]
    num_codebooks: Any  # int32 [batch]
    noise_start: Any  # int32 [batch], 0 .. 4095
    latent_noise: Any  # float32 [batch, frame, latent_dim], in the warm-up; [batch, 0, 0] after it
    kept: Any  # float32 [batch, frame]: 1, or 0 where the decoder stage shall learn to conceal a lost frame


class Report(NamedTuple):
    """What a step tells."""

    figures: dict[str, Any]  # losses by name, []
    gradient_norm: Any  # [], before clipping


# Of a function of one tensor that returns (scalar, anything): its gradient, and the anything.
Differentiate = Callable[[Callable[[Tensor], tuple[Tensor, Any]], Tensor], tuple[Tensor, Any]]


class Stage(Protocol):
    """A stage of training: variables, and what a step does to them.

    Attributes:
        trainee: those weights of the codec that the stage trains.
    """

    trainee: Trainee

    def state(self) -> dict[str, keras.Variable]:
        """Every variable that a step reads or changes, by name: what a checkpoint holds."""

    def step(
        self, parts: list[Arrays], turn: int, learning_rate: Tensor, differentiate: Differentiate
    ) -> Report:
        """Assign to the variables what a step on the parts of a batch makes of them."""


class Stepper(Protocol):
    """The steps of a stage on one backend."""

    def step(self, arrays: Arrays, learning_rate: float, number: int) -> Report:
        """Take step `number`; afterwards `settle` is needed before variables are read."""

    def settle(self) -> None:
        """Put the present values into the stage's variables."""

    def reload(self) -> None:
        """Take the stage's variables as the present values."""


def halves_of(arrays: Arrays) -> list[Arrays]:
    """A batch as two halves: two branches of one graph keep two cores busier than one."""
    half = len(arrays.audio) // 2
    parts = [Arrays(*(part[:half] for part in arrays)), Arrays(*(part[half:] for part in arrays))]
    return parts if half else parts[1:]


class TensorFlowStepper:
    """A step by `tf.GradientTape`; variables are always up to date.

    Made in the scope of a `tf.distribute` strategy, as its stage must be too, it takes the step on all replicas. This
    process gives it its own part of the batch.
    """

    def __init__(self, stage: Stage) -> None:
        import tensorflow as tf

        self.stage, self.tf, self.strategy = stage, tf, tf.distribute.get_strategy()
        self.graph = tf.function(self._steps, autograph=False)
        self.reload()

    def step(self, arrays: Arrays, learning_rate: float, number: int) -> Report:
        reports = self.graph(self._deal(arrays), number % TURNS, np.float32(learning_rate))
        return self.strategy.experimental_local_results(reports)[0]

    def settle(self) -> None:
        """Nothing to do."""

    def reload(self) -> None:
        """Give all replicas the first one's values."""
        if self.strategy.num_replicas_in_sync > 1:
            self.strategy.run(self.tf.function(self._spread, autograph=False))

    def _spread(self) -> None:
        variables = list(self.stage.state().values())
        values = of_first_replica([ops.convert_to_tensor(variable) for variable in variables])
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def _deal(self, arrays: Arrays) -> Any:
        """The halves of a batch, for each device of this process those of its part."""
        several = self.strategy.num_replicas_in_sync > 1
        devices = len(self.strategy.extended.worker_devices) if several else 1
        if devices == 1:
            return halves_of(arrays)
        parts = [Arrays(*part) for part in zip(*[np.split(array, devices) for array in arrays], strict=True)]
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: self.tf.nest.map_structure(
                self.tf.constant, halves_of(parts[context.replica_id_in_sync_group % devices])
            )
        )

    def _steps(self, parts: Any, turn: int, learning_rate: Tensor) -> Any:
        return self.strategy.run(lambda given: self._step(given, turn, learning_rate), (parts,))

    def _step(self, parts: list[Arrays], turn: int, learning_rate: Tensor) -> Report:
        figures, norm = self.stage.step(parts, turn, learning_rate, self._differentiate)
        return Report(mean_over_replicas(figures), norm)

    def _differentiate(
        self, function: Callable[[Tensor], tuple[Tensor, Any]], x: Tensor
    ) -> tuple[Tensor, Any]:
        with self.tf.GradientTape() as tape:
            tape.watch(x)
            total, more = function(x)
        return tape.gradient(total, x), more


class JaxStepper:
    """A step as one compiled function of all values; they stay on the device between steps.

    Of several devices of this machine each has all values and an equal part of the batch, if it divides so.
    """

    def __init__(self, stage: Stage) -> None:
        import jax
        from jax.sharding import Mesh, NamedSharding, PartitionSpec

        self.stage, self.jax = stage, jax
        self.variables = list(stage.state().values())
        devices = Mesh(np.array(jax.local_devices()), ("batch",))
        self.everywhere = NamedSharding(devices, PartitionSpec())
        self.shared = NamedSharding(devices, PartitionSpec("batch"))
        self.graph = jax.jit(
            self._step, static_argnames="turn", donate_argnums=0, out_shardings=self.everywhere
        )
        self.reload()

    def reload(self) -> None:
        copy = self.jax.numpy.array  # the step takes its arguments' memory; variables keep their own
        values = [copy(variable.value) for variable in self.variables]
        self.values = self.jax.device_put(values, self.everywhere)

    def settle(self) -> None:
        for variable, value in zip(self.variables, self.values, strict=True):
            variable.assign(np.array(value))

    def step(self, arrays: Arrays, learning_rate: float, number: int) -> Report:
        sharded = self.jax.device_put(arrays, self._sharding(len(arrays.audio)))
        self.values, report = self.graph(self.values, sharded, np.float32(learning_rate), turn=number % TURNS)
        return report

    def _sharding(self, batch_size: int) -> Any:
        return self.everywhere if batch_size % self.shared.mesh.size else self.shared

    def _step(self, values: list, arrays: Arrays, learning_rate: Any, turn: int) -> tuple[list, Report]:
        with keras.StatelessScope(list(zip(self.variables, values, strict=True))) as scope:
            report = self.stage.step([arrays], turn, learning_rate, self._differentiate)
        return [scope.get_current_value(variable) for variable in self.variables], report

    def _differentiate(
        self, function: Callable[[Tensor], tuple[Tensor, Any]], x: Tensor
    ) -> tuple[Tensor, Any]:
        (_, more), gradient = self.jax.value_and_grad(function, has_aux=True)(x)
        return gradient, more


def compute_policy(backend: str, device: str) -> str:
    """The precision to train in: bfloat16 arithmetic on float32 weights where that is faster, else all float32.

    It is on a GPU under JAX, and on a CPU that multiplies bfloat16 vectors (1.25 times the speed on TensorFlow). With
    matrix units (AMX) as well, TensorFlow uses them on float32 tensors, which is faster still.
    """
    fast = {("jax", "gpu"), ("tensorflow", "cpu with bfloat16")}
    return "mixed_bfloat16" if (backend, device) in fast else "float32"


def cpu_kind(flags: str) -> str:
    """What to call a CPU of these instruction sets, as /proc/cpuinfo lists them."""
    found = set(flags.split())
    return "cpu with bfloat16" if "avx512_bf16" in found and "amx_bf16" not in found else "cpu"


def present_policy() -> str:
    """`compute_policy` of the backend that Keras runs on and of the device it found."""
    if keras.backend.backend() == "jax":
        import jax

        return compute_policy("jax", jax.default_backend())
    listing = Path("/proc/cpuinfo")
    return compute_policy("tensorflow", cpu_kind(listing.read_text() if listing.is_file() else ""))


def new_stepper(stage: Stage) -> Stepper:
    """The stepper of the backend that Keras runs on."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return TensorFlowStepper(stage)
    if backend == "jax":
        return JaxStepper(stage)
    raise ValueError(f"training runs on tensorflow and on jax, found the backend {backend}")
