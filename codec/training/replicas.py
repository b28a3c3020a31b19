"""Several devices and machines that train one model: replicas, each with an equal part of every batch.

On TensorFlow `tf.distribute` does it: MirroredStrategy for the GPUs of one machine, MultiWorkerMirroredStrategy for
the processes that the environment variable TF_CONFIG lists. At every step gradients, codebook counts and statistics
are merged, so all replicas hold the same weights. Random numbers belong to the items of a batch, so these are the
weights of one process that has the whole batch, but for rounding.

On JAX the devices of one machine share each batch by sharding, see `JaxStepper`; several machines do not.
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
from codec.training.data import WHOLE, Part


class Replicas:
    """This process alone. What several would have to agree on, it decides.

    Attributes:
        part: of each batch, this process's.
        count: of replicas; `part.total` is that of processes, which may have several devices each.
        chief: whether this process writes the files. The others read them, so they must see the same folders.
    """

    def __init__(self, part: Part = WHOLE, count: int = 1, chief: bool = True) -> None:
        self.part, self.count, self.chief = part, count, chief

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Where variables that the replicas share are made, and their steps."""
        return contextlib.nullcontext()

    def total(self, *values: float) -> list[float]:
        """Sums over the processes. All must call it, and each waits for the others."""
        return list(values)

    def of_chief(self, value: float) -> float:
        """The chief's value, on all processes."""
        return self.total(value if self.chief else 0.0)[0]

    @contextlib.contextmanager
    def chief_first(self) -> Iterator[None]:
        """Let the chief do what stands inside, then the others."""
        if not self.chief:
            self.total(0.0)
        yield
        if self.chief:
            self.total(0.0)


class StrategyReplicas(Replicas):
    """Those of a `tf.distribute` strategy."""

    def __init__(self, strategy: Any) -> None:
        self.strategy = strategy
        numbers = strategy.experimental_local_results(self._each(float))
        count, local = strategy.num_replicas_in_sync, len(numbers)
        self.first = int(numbers[0])
        super().__init__(Part(self.first // local, count // local), count, self.first == 0)

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        return self.strategy.scope()

    def total(self, *values: float) -> list[float]:
        given = self._each(lambda number: [value * (number == self.first) for value in values])
        return [float(value) for value in self.strategy.reduce("SUM", given, axis=None)]

    def _each(self, value: Any) -> Any:
        """A tensor, float64, for each replica of this process, by its number."""
        import tensorflow as tf

        return self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(value(context.replica_id_in_sync_group), "float64")
        )


def find_replicas() -> Replicas:
    """Those that TF_CONFIG and the machine offer. To be called before anything else on TensorFlow.

    Raises:
        CodecError: what TF_CONFIG says cannot be used.
    """
    if keras.backend.backend() != "tensorflow":
        return Replicas()
    import tensorflow as tf

    if "TF_CONFIG" in os.environ:
        try:
            return StrategyReplicas(tf.distribute.MultiWorkerMirroredStrategy())
        except (KeyError, TypeError, ValueError, tf.errors.OpError) as error:
            raise CodecError(f"TF_CONFIG is of no use: {error}") from error
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return StrategyReplicas(tf.distribute.MirroredStrategy())
    return Replicas()


def mean_over_replicas(values: Any) -> Any:
    """Mean of tensors over the replicas, inside a step."""
    context = _context()
    return context.all_reduce("MEAN", values) if context else values


def sum_over_replicas(values: Any) -> Any:
    """Sum of tensors over the replicas, inside a step."""
    context = _context()
    return context.all_reduce("SUM", values) if context else values


def first_over_replicas(values: Tensor, valid: Tensor) -> Tensor:
    """Of each row the first replica's for which it is valid, inside a step: [row, ...], bool [row] -> [row, ...].

    Rows that are valid nowhere become zeros.
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
    """The first replica's tensors, on all."""
    context = _context()
    if not context:
        return values
    first = ops.equal(context.replica_id_in_sync_group, 0)
    mine = [ops.where(first, value, ops.zeros_like(value)) for value in values]
    return [context.all_reduce("SUM", value) for value in mine]  # one by one: they are of several types


def _context() -> Any:
    """TensorFlow's view of this replica, where there are several; on JAX a step is of the whole batch anyway."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context if context.num_replicas_in_sync > 1 else None
