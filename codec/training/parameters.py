"""Weights in training: one long vector with its optimizer and its moving average."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from codec.network.streaming import Tensor
from codec.training.replicas import mean_over_replicas


class FlatParameters:
    """Some weights of a model, trained as one vector.

    One vector needs one gradient, one optimizer step and one moving average instead of some hundred of each.
    `write_back` copies the vector, or its average, back into the weights.

    Attributes:
        weights: the weights of the model, as `write_back` left them.
        master: float32 [weights], the vector that the optimizer changes.
        average: float32 [weights], the moving average of `master`, which is what ships.
        optimizer: Adam, with one variable.
    """

    def __init__(self, weights: list[keras.Variable], betas: tuple[float, float]) -> None:
        self.weights = weights
        self.shapes = [tuple(weight.shape) for weight in weights]
        zeros = np.zeros(sum(math.prod(shape) for shape in self.shapes), np.float32)
        self.master = keras.Variable(zeros, dtype="float32", name="master")
        self.average = keras.Variable(zeros, trainable=False, dtype="float32", name="average")
        self.optimizer = keras.optimizers.Adam(1e-3, beta_1=betas[0], beta_2=betas[1])
        self.optimizer.build([self.master])
        self.read_weights()

    def read_weights(self) -> None:
        """Set `master` and `average` to the values of the weights."""
        values = [np.ravel(ops.convert_to_numpy(weight.value)) for weight in self.weights]
        self.master.assign(np.concatenate(values))
        self.average.assign(self.master.value)

    def write_back(self, vector: keras.Variable) -> None:
        """Set the weights to the values of `master` or `average`."""
        for weight, value in self.split(vector.value):
            weight.assign(value)

    def split(self, vector: Tensor) -> list[tuple[keras.Variable, Tensor]]:
        """Return each weight with its part of a vector, as `keras.StatelessScope` takes them."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        pieces = ops.split(vector, [int(end) for end in ends[:-1]])
        shaped = [ops.reshape(piece, shape) for piece, shape in zip(pieces, self.shapes, strict=True)]
        return list(zip(self.weights, shaped, strict=True))

    def update(self, gradient: Tensor, learning_rate: Tensor, limit: float, averaging: float) -> Tensor:
        """Take one step of the optimizer and move the average.

        `optimizer.apply` would merge the gradients of replicas only after clipping, so this calls what it would call.

        Args:
            gradient: [weights], on this replica; the mean over the replicas is applied.
            learning_rate: of this step.
            limit: greatest norm of the gradient; a longer one is clipped.
            averaging: decay of the moving average; smaller in the first steps.

        Returns:
            The norm of the gradient before clipping.
        """
        gradient, norm = clip(mean_over_replicas(gradient), limit)
        self.optimizer.update_step(gradient, self.master, learning_rate)
        self.optimizer.iterations.assign_add(1)
        count = ops.cast(self.optimizer.iterations, "float32")
        decay = ops.minimum(averaging, (1.0 + count) / (10.0 + count))
        self.average.assign(decay * self.average + (1.0 - decay) * self.master)
        return norm

    def state(self, prefix: str = "") -> dict[str, keras.Variable]:
        """Return every variable that `update` changes, by name."""
        optimizer = {f"optimizer.{i}": variable for i, variable in enumerate(self.optimizer.variables)}
        named: dict[str, Any] = {"master": self.master, "average": self.average, **optimizer}
        return {prefix + name: variable for name, variable in named.items()}


def clip(gradient: Tensor, limit: float) -> tuple[Tensor, Tensor]:
    """Scale a gradient to a norm of at most `limit`; return it and its norm before."""
    norm = ops.sqrt(ops.sum(ops.square(gradient)))
    return gradient * ops.minimum(1.0, limit / (norm + 1e-12)), norm


def frozen_variables(
    model: keras.Model, trained: list[keras.Variable]
) -> list[tuple[keras.Variable, Tensor]]:
    """Return the variables of a model that are not trained, with their present values.

    A `keras.StatelessScope` inside another one does not see the values of the outer one, so it must be given all.
    """
    ids = {id(weight) for weight in trained}
    return [(w, ops.convert_to_tensor(w)) for w in model.variables if id(w) not in ids]
