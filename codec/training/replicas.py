"""Replicas: several devices and machines that train one model, each with an equal part of every batch.

On TensorFlow `tf.distribute` connects them: MirroredStrategy for the GPUs of one machine, MultiWorkerMirroredStrategy
for the processes that the environment variable TF_CONFIG lists. Every step merges gradients, codebook counts and
statistics, so all replicas hold the same weights. Random numbers belong to the items of a batch. So the weights are
those of one process with the whole batch, except for rounding.

On JAX the devices of one machine share each batch by sharding, see `JaxStepper`; several machines are not supported.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from codec.errors import CodecError
from codec.network.streaming import Tensor
from codec.training.data import WHOLE_BATCH, Shard


class Replicas:
    """A single process that trains alone; the base class of several.

    Attributes:
        shard: the part of each batch that this process draws; `shard.total` is the number of processes.
        count: number of replicas; a process may have several devices, which are a replica each.
        chief: True for the process that writes the files. The others read them, so they must see the same folders.
    """

    def __init__(self, shard: Shard = WHOLE_BATCH, count: int = 1, chief: bool = True) -> None:
        self.shard, self.count, self.chief = shard, count, chief

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Return the scope in which to make shared variables and their steppers."""
        return contextlib.nullcontext()

    def total(self, *values: float) -> list[float]:
        """Return sums over the processes. All must call it, and each waits for the others."""
        return list(values)

    def of_chief(self, value: float) -> float:
        """Return the chief's value in all processes."""
        return self.total(value if self.chief else 0.0)[0]

    @contextlib.contextmanager
    def chief_first(self) -> Iterator[None]:
        """Let the chief run the body first, then the others."""
        if not self.chief:
            self.total(0.0)
        yield
        if self.chief:
            self.total(0.0)


class StrategyReplicas(Replicas):
    """The replicas of a `tf.distribute` strategy."""

    def __init__(self, strategy: Any) -> None:
        self.strategy = strategy
        numbers = strategy.experimental_local_results(self._each(float))
        count, local = strategy.num_replicas_in_sync, len(numbers)
        self.first = int(numbers[0])
        super().__init__(Shard(self.first // local, count // local), count, self.first == 0)

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Return the scope of the strategy."""
        return self.strategy.scope()

    def total(self, *values: float) -> list[float]:
        """Return sums over the processes; the first replica of each contributes."""
        given = self._each(lambda number: [value * (number == self.first) for value in values])
        return [float(value) for value in self.strategy.reduce("SUM", given, axis=None)]

    def _each(self, value: Any) -> Any:
        """Return a float64 tensor for each replica of this process, made from its number."""
        import tensorflow as tf

        return self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(value(context.replica_id_in_sync_group), "float64")
        )


def find_replicas() -> Replicas:
    """Return the replicas that TF_CONFIG and the machine offer; call it before anything else on TensorFlow.

    Raises:
        CodecError: TF_CONFIG is invalid, or the processes it lists cannot be reached.
    """
    if keras.backend.backend() != "tensorflow":
        return Replicas()
    import tensorflow as tf

    if "TF_CONFIG" in os.environ:
        try:
            return StrategyReplicas(tf.distribute.MultiWorkerMirroredStrategy())
        except (KeyError, TypeError, ValueError, tf.errors.OpError) as error:
            raise CodecError(f"TF_CONFIG cannot be used: {error}") from error
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return StrategyReplicas(tf.distribute.MirroredStrategy())
    return Replicas()


def mean_over_replicas(values: Any) -> Any:
    """Return the mean of tensors over the replicas, inside a step."""
    context = _context()
    return context.all_reduce("MEAN", values) if context else values


def sum_over_replicas(values: Any) -> Any:
    """Return the sum of tensors over the replicas, inside a step."""
    context = _context()
    return context.all_reduce("SUM", values) if context else values


def first_over_replicas(values: Tensor, valid: Tensor) -> Tensor:
    """Return each row from the first replica where it is valid, inside a step; zeros where it is valid nowhere.

    Args:
        values: [row, ...].
        valid: bool [row].
    """
    context = _context()
    if not context:
        return values
    numbers, own = np.arange(context.num_replicas_in_sync), context.replica_id_in_sync_group
    known = ops.cast(ops.equal(numbers, own), "float32")[:, None] * ops.cast(valid, "float32")
    earlier = ops.cast(numbers < own, "float32")[:, None] * context.all_reduce("SUM", known)  # [replica, row]
    mine = ops.logical_and(valid, ops.sum(earlier, axis=0) == 0)
    mine = ops.reshape(mine, (-1, *[1] * (len(values.shape) - 1)))
    return context.all_reduce("SUM", ops.where(mine, values, ops.zeros_like(values)))


def of_first_replica(values: list[Tensor]) -> list[Tensor]:
    """Return the first replica's tensors in all replicas."""
    context = _context()
    if not context:
        return values
    first = ops.equal(context.replica_id_in_sync_group, 0)
    mine = [ops.where(first, value, ops.zeros_like(value)) for value in values]
    return [context.all_reduce("SUM", value) for value in mine]  # one by one: they are of several types


def _context() -> Any:
    """Return TensorFlow's replica context if there are several replicas; on JAX a step sees the whole batch."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context if context.num_replicas_in_sync > 1 else None
