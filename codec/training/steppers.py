"""Compile the steps of a stage: on TensorFlow with a gradient tape, on JAX as a pure function.

Both give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops

from codec.network.streaming import Tensor
from codec.training.replicas import mean_over_replicas, of_first_replica
from codec.training.steps import Stage, StepInputs, StepResult


class Stepper(Protocol):
    """Takes the steps of a stage on one backend; it may keep the present values outside the stage's variables."""

    def step(self, inputs: StepInputs, learning_rate: float, number: int) -> StepResult:
        """Take step `number`; call `write_variables` before reading any variable."""

    def write_variables(self) -> None:
        """Set the stage's variables to the present values."""

    def read_variables(self) -> None:
        """Set the present values to the stage's variables."""


def new_stepper(stage: Stage) -> Stepper:
    """Return the stepper for the backend that Keras runs on.

    Raises:
        ValueError: it is neither TensorFlow nor JAX.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return TensorFlowStepper(stage)
    if backend == "jax":
        return JaxStepper(stage)
    raise ValueError(f"training runs on tensorflow and on jax, found the backend {backend}")


def split_in_halves(inputs: StepInputs) -> list[StepInputs]:
    """Split a batch in two: two branches of one graph keep two cores busier than one; a single item stays whole."""
    half = len(inputs.audio) // 2
    halves = [
        StepInputs(*(array[:half] for array in inputs)),
        StepInputs(*(array[half:] for array in inputs)),
    ]
    return halves if half else halves[1:]


class TensorFlowStepper:
    """Steps with `tf.GradientTape`; the stage's variables always hold the present values.

    A stepper that is made in the scope of a `tf.distribute` strategy, like its stage, takes each step on all replicas.
    Each process gives it its own shard of the batch.
    """

    def __init__(self, stage: Stage) -> None:
        import tensorflow as tf

        self.stage, self.tf, self.strategy = stage, tf, tf.distribute.get_strategy()
        self.graph = tf.function(self._step_on_replicas, autograph=False)
        self.read_variables()

    def step(self, inputs: StepInputs, learning_rate: float, number: int) -> StepResult:
        """Take one step on all replicas and return the first local result."""
        results = self.graph(self._distribute(inputs), number % self.stage.turns, np.float32(learning_rate))
        return self.strategy.experimental_local_results(results)[0]

    def write_variables(self) -> None:
        """Do nothing: the variables are up to date."""

    def read_variables(self) -> None:
        """Give all replicas the values of the first one."""
        if self.strategy.num_replicas_in_sync > 1:
            self.strategy.run(self.tf.function(self._copy_first_replica, autograph=False))

    def _copy_first_replica(self) -> None:
        variables = list(self.stage.state().values())
        values = of_first_replica([ops.convert_to_tensor(variable) for variable in variables])
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def _distribute(self, inputs: StepInputs) -> Any:
        """Return the halves of this process's shard; with several devices, those of each device's part."""
        several = self.strategy.num_replicas_in_sync > 1
        devices = len(self.strategy.extended.worker_devices) if several else 1
        if devices == 1:
            return split_in_halves(inputs)
        columns = [np.split(array, devices) for array in inputs]
        by_device = [StepInputs(*arrays) for arrays in zip(*columns, strict=True)]
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: self.tf.nest.map_structure(
                self.tf.constant, split_in_halves(by_device[context.replica_id_in_sync_group % devices])
            )
        )

    def _step_on_replicas(self, halves: Any, turn: int, learning_rate: Tensor) -> Any:
        return self.strategy.run(lambda own: self._step(own, turn, learning_rate), (halves,))

    def _step(self, halves: list[StepInputs], turn: int, learning_rate: Tensor) -> StepResult:
        losses, norm = self.stage.step(halves, turn, learning_rate, self._differentiate)
        return StepResult(mean_over_replicas(losses), norm)

    def _differentiate(
        self, function: Callable[[Tensor], tuple[Tensor, Any]], x: Tensor
    ) -> tuple[Tensor, Any]:
        with self.tf.GradientTape() as tape:
            tape.watch(x)
            total, extra = function(x)
        return tape.gradient(total, x), extra


class JaxStepper:
    """Steps as one compiled function of all values, which stay on the device between steps.

    Each device of this machine holds all values and an equal part of the batch, if the batch can be divided equally.
    """

    def __init__(self, stage: Stage) -> None:
        import jax
        from jax.sharding import Mesh, NamedSharding, PartitionSpec

        self.stage, self.jax = stage, jax
        self.variables = list(stage.state().values())
        self.values: list[Any] = []
        devices = Mesh(np.array(jax.local_devices()), ("batch",))
        self.replicated = NamedSharding(devices, PartitionSpec())
        self.divided = NamedSharding(devices, PartitionSpec("batch"))
        self.graph = jax.jit(
            self._step, static_argnames="turn", donate_argnums=0, out_shardings=self.replicated
        )
        self.read_variables()

    def step(self, inputs: StepInputs, learning_rate: float, number: int) -> StepResult:
        """Take one step on all devices."""
        divides = len(inputs.audio) % self.divided.mesh.size == 0
        placed = self.jax.device_put(inputs, self.divided if divides else self.replicated)
        self.values, result = self.graph(
            self.values, placed, np.float32(learning_rate), turn=number % self.stage.turns
        )
        return result

    def write_variables(self) -> None:
        """Copy the values from the device into the variables."""
        for variable, value in zip(self.variables, self.values, strict=True):
            variable.assign(np.array(value))

    def read_variables(self) -> None:
        """Copy the variables to the devices; a step takes over the memory of the copies."""
        copies = [self.jax.numpy.array(variable.value) for variable in self.variables]
        self.values = self.jax.device_put(copies, self.replicated)

    def _step(
        self, values: list[Any], inputs: StepInputs, learning_rate: Any, turn: int
    ) -> tuple[list[Any], StepResult]:
        with keras.StatelessScope(list(zip(self.variables, values, strict=True))) as scope:
            result = self.stage.step([inputs], turn, learning_rate, self._differentiate)
        return [scope.get_current_value(variable) for variable in self.variables], result

    def _differentiate(
        self, function: Callable[[Tensor], tuple[Tensor, Any]], x: Tensor
    ) -> tuple[Tensor, Any]:
        (_, extra), gradient = self.jax.value_and_grad(function, has_aux=True)(x)
        return gradient, extra
