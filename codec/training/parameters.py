"""Weights in training: one long vector with its optimizer and its moving average."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from codec.network.streaming import Tensor
from codec.training.replicas import mean_over_replicas


class Trainee:
    """Some weights of a model, being trained.

    They live in one vector, `master`: one gradient, one optimizer step and one moving average instead of some hundred
    of each. `settle` copies it, or the average, back into the weights themselves.

    Attributes:
        weights: those of the model; their values are those of the last `settle`.
        master: float32 [weights].
        average: float32 [weights], the moving average: what ships.
        optimizer: knows one variable, the master.
    """

    def __init__(self, weights: list[keras.Variable], betas: tuple[float, float]) -> None:
        self.weights = weights
        self.shapes = [tuple(weight.shape) for weight in weights]
        zeros = np.zeros(sum(math.prod(shape) for shape in self.shapes), np.float32)
        self.master = keras.Variable(zeros, dtype="float32", name="master")
        self.average = keras.Variable(zeros, trainable=False, dtype="float32", name="average")
        self.optimizer = keras.optimizers.Adam(1e-3, beta_1=betas[0], beta_2=betas[1])
        self.optimizer.build([self.master])
        self.gather()

    def gather(self) -> None:
        """Take master and average from the weights."""
        values = [np.ravel(ops.convert_to_numpy(weight.value)) for weight in self.weights]
        self.master.assign(np.concatenate(values))
        self.average.assign(self.master.value)

    def settle(self, vector: keras.Variable) -> None:
        """Put `master` or `average` into the weights."""
        for weight, value in self.mapping(vector.value):
            weight.assign(value)

    def mapping(self, vector: Tensor) -> list[tuple[keras.Variable, Tensor]]:
        """Each weight with its piece of a vector, for a `keras.StatelessScope`."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        parts = ops.split(vector, [int(end) for end in ends[:-1]])
        pieces = [ops.reshape(part, shape) for part, shape in zip(parts, self.shapes, strict=True)]
        return list(zip(self.weights, pieces, strict=True))

    def learn(self, gradient: Tensor, learning_rate: Tensor, limit: float, averaging: float) -> Tensor:
        """One step of the optimizer on a gradient clipped to the norm `limit`; returns its norm before clipping.

        The gradient is the mean over the replicas first. `optimizer.apply` would merge gradients only after they were
        clipped, so this calls what it would.
        """
        gradient, norm = clip(mean_over_replicas(gradient), limit)
        self.optimizer.update_step(gradient, self.master, learning_rate)
        self.optimizer.iterations.assign_add(1)
        count = ops.cast(self.optimizer.iterations, "float32")
        decay = ops.minimum(averaging, (1.0 + count) / (10.0 + count))
        self.average.assign(decay * self.average + (1.0 - decay) * self.master)
        return norm

    def state(self, prefix: str = "") -> dict[str, keras.Variable]:
        """Every variable that `learn` changes, by name."""
        optimizer = {f"optimizer.{i}": variable for i, variable in enumerate(self.optimizer.variables)}
        named: dict[str, Any] = {"master": self.master, "average": self.average, **optimizer}
        return {prefix + name: variable for name, variable in named.items()}


def clip(gradient: Tensor, limit: float) -> tuple[Tensor, Tensor]:
    """Scale a gradient to a norm of at most `limit`; also returns the norm before."""
    norm = ops.sqrt(ops.sum(ops.square(gradient)))
    return gradient * ops.minimum(1.0, limit / (norm + 1e-12)), norm


def others(model: keras.Model, weights: list[keras.Variable]) -> list[tuple[keras.Variable, Tensor]]:
    """The variables of a model that are not among `weights`, with their present values.

    A `keras.StatelessScope` inside another one does not see what that one holds, so the inner must be given all.
    """
    trained = {id(weight) for weight in weights}
    return [(w, ops.convert_to_tensor(w)) for w in model.variables if id(w) not in trained]
