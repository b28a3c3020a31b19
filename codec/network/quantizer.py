"""Vectors to integers and back: one codebook, or a residual stack of them.

Quantization has no gradient. `straight_through` returns the quantized vectors and passes the gradient to the latents
unchanged (Bengio et al. 2013, arXiv 1308.3432; van den Oord et al. 2017, arXiv 1711.00937, section 3.2). Three forms of
it are in use elsewhere; tests show what each one does:

    straight_through(latents, quantized)                a custom gradient of two tensors: exact, and what is used here
    latents + stop_gradient(quantized - latents)        equal to it, but for rounding
    latents - stop_gradient(quantized - latents)        wrong: decodes 2 * latents - quantized, and still trains

Do not put the custom gradient on a layer's `call` that reads the codebook inside: TensorFlow then asks for a
`variables` argument, and a function that takes it cuts the codebook off from every gradient without a warning.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from codec.network.codebook import (
    Averages,
    codewords,
    count,
    move,
    nearest,
    replacement_vectors,
    revive,
)
from codec.network.streaming import Tensor


@ops.custom_gradient  # on TensorFlow this is tf.custom_gradient, on JAX jax.custom_gradient
def straight_through(latents: Tensor, quantized: Tensor) -> Any:
    """Return `quantized` exactly; in the backward pass, give the gradient to `latents` and none to `quantized`."""

    def backward(upstream: Tensor) -> tuple[Tensor, Tensor]:
        return upstream, ops.zeros_like(upstream)

    return quantized, backward


class Movement(NamedTuple):
    """What a training step counted, to move the codebooks by."""

    batch: Averages
    fresh: Tensor  # [codebook, codebook_size, dim], where dead codewords may be revived


class Quantized(NamedTuple):
    """The latents of a training step after the residual stack."""

    quantized: Tensor  # [batch, frame, dim], straight-through
    commitment: Tensor  # [], mean squared distance of targets to codewords, summed over the active stages
    errors: Tensor  # [codebook], mean squared error left by each stage, over the items it is active for
    movement: Movement


class ResidualCodes(NamedTuple):
    """All stages of a residual stack for rows of latents; without gradient."""

    targets: Tensor  # [codebook, rows, dim], the input of each stage
    codes: Tensor  # int32 [codebook, rows]
    chosen: Tensor  # [codebook, rows, dim], the codewords


def quantize_residuals(rows: Tensor, codebooks: Tensor) -> ResidualCodes:
    """Quantize rows by the first codebook, what remains by the next, and so on.

    Shapes:
        rows:      [rows, dim]
        codebooks: [codebook, codebook_size, dim]
    """
    targets, codes, chosen = [], [], []
    for stage in range(codebooks.shape[0]):
        targets.append(rows)
        codes.append(nearest(rows, codebooks[stage]))
        chosen.append(ops.take(codebooks[stage], codes[-1], axis=0))
        rows = rows - chosen[-1]
    return ResidualCodes(ops.stack(targets), ops.stack(codes), ops.stack(chosen))


def look_up(codes: Tensor, codebooks: Tensor) -> Tensor:
    """Return the sum of the codewords of each row: [batch, frame, codebook] -> [batch, frame, dim]."""
    zeros = ops.zeros((*ops.shape(codes)[:-1], codebooks.shape[-1]))
    stages = range(codes.shape[-1])
    return sum((ops.take(codebooks[stage], codes[..., stage], axis=0) for stage in stages), zeros)


@keras.saving.register_keras_serializable("lamella")
class ResidualVectorQuantizer(keras.layers.Layer):
    """A stack of codebooks, each coding what the earlier ones left (Zeghidour et al. 2021, arXiv 2107.03312, Alg. 1).

    Every stage sees latents - stop_gradient(sum so far), so each commitment reaches the latents. Straight-through is
    applied once, to the sum, so the gradient of the reconstruction does not grow with the number of stages. The
    codebooks are no trained weights: they follow moving averages, see `update`.

    Shapes:
        latents: [batch, frame, dim]
        codes:   int32 [batch, frame, codebook]; any number of leading codebooks can be decoded

    Args:
        num_codebooks: stages.
        codebook_size: codewords of each.
        decay: of the moving averages, per training step.
    """

    def __init__(self, num_codebooks: int, codebook_size: int, decay: float = 0.99, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})  # near ties must not depend on a lower precision
        if num_codebooks < 1 or codebook_size < 1 or not 0 <= decay < 1:
            values = f"{num_codebooks}, {codebook_size} and {decay}"
            raise ValueError(
                f"need num_codebooks >= 1, codebook_size >= 1 and 0 <= decay < 1, found {values}"
            )
        self.num_codebooks, self.codebook_size, self.decay = num_codebooks, codebook_size, decay
        # Gives the same numbers at each call, so that `sums` start equal to `codebooks`. `fit` would drop an
        # assignment made in `build`.
        self.initializer: Any = keras.initializers.RandomNormal(0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Return every constructor argument; the codebooks travel with the weights."""
        names = ("num_codebooks", "codebook_size", "decay")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = (self.num_codebooks, self.codebook_size, input_shape[-1])
        self.codebooks = self.add_weight(
            shape, self.initializer, trainable=False, aggregation="only_first_replica", name="codebooks"
        )
        averaged: dict[str, Any] = {"trainable": False, "aggregation": "mean"}
        self.counts = self.add_weight(shape[:2], "ones", name="counts", **averaged)
        self.sums = self.add_weight(shape, self.initializer, name="sums", **averaged)

    def start(self, codebooks: Tensor) -> None:
        """Set the codewords [codebook, codebook_size, dim], each as if chosen once."""
        self.codebooks.assign(codebooks)
        self.sums.assign(codebooks)
        self.counts.assign(ops.ones((self.num_codebooks, self.codebook_size)))

    def encode(self, latents: Tensor, num_codebooks: int) -> Tensor:
        """Return the codes of the first `num_codebooks` stages, [batch, frame, num_codebooks]."""
        return self._search(latents, ops.convert_to_tensor(self.codebooks)[:num_codebooks])

    def decode(self, codes: Tensor) -> Tensor:
        """Return the sum of the codewords, [batch, frame, dim]."""
        return look_up(codes, ops.convert_to_tensor(self.codebooks))

    def quantize_latents(self, latents: Tensor, num_codebooks: Tensor) -> Quantized:
        """Quantize in training, each item with its own number of stages.

        Args:
            latents: [batch, frame, dim].
            num_codebooks: int32 [batch], the active stages of each item; a stage counts only these items.
        """
        rows = self._rows(latents)
        stages = np.arange(self.num_codebooks, dtype=np.int32)[:, None]
        frames = ops.shape(rows)[0] // ops.shape(num_codebooks)[0]
        weights = ops.cast(ops.repeat(num_codebooks, frames)[None] > stages, "float32")
        predicted, (targets, codes, chosen) = self._stages(ops.stop_gradient(ops.cast(latents, "float32")))
        total = ops.reshape(predicted + ops.sum(weights[..., None] * chosen, axis=0), ops.shape(latents))
        distances = ops.mean(ops.square(rows - ops.stop_gradient(rows - targets + chosen)), axis=-1)
        errors = ops.sum(weights * distances, axis=-1)
        batch = count(targets, codes, weights, self.codebook_size)
        fresh = replacement_vectors(targets, weights, self.codebook_size)
        return Quantized(
            straight_through(ops.cast(latents, "float32"), total),
            ops.sum(errors) / ops.cast(ops.shape(rows)[0], "float32"),
            errors / ops.maximum(ops.sum(weights, axis=-1), 1.0),
            Movement(batch, fresh),
        )

    def update(self, movement: Movement) -> None:
        """Move the codebooks by what a training step counted; call it outside the gradient.

        With several replicas, each brings its own movement, and every assignment merges them: averages are averaged,
        codebooks are taken from the first replica of each machine. So all replicas end with the same values.
        """
        self._assign(move(self._averages(), movement.batch, self.decay))
        self.codebooks.assign(movement.fresh)
        fresh = ops.convert_to_tensor(self.codebooks)
        self._assign(revive(self._averages(), fresh, movement.batch))
        self.codebooks.assign(codewords(self._averages()))

    def call(self, latents: Tensor) -> Tensor:
        return self.decode(self.encode(latents, self.num_codebooks))

    def _stages(self, latents: Tensor) -> tuple[Tensor | float, ResidualCodes]:
        """Return what is known of [batch, frame, dim] without any code, as rows, and all stages on the rest."""
        return 0.0, quantize_residuals(self._rows(latents), ops.convert_to_tensor(self.codebooks))

    def _search(self, latents: Tensor, codebooks: Tensor) -> Tensor:
        """Return the codes of [batch, frame, dim] in the given codebooks, [batch, frame, codebook]."""
        codes = quantize_residuals(self._rows(latents), codebooks).codes
        return ops.reshape(ops.transpose(codes), (*ops.shape(latents)[:-1], codebooks.shape[0]))

    def _averages(self) -> Averages:
        return Averages(ops.convert_to_tensor(self.counts), ops.convert_to_tensor(self.sums))

    def _assign(self, averages: Averages) -> None:
        self.counts.assign(averages.counts)
        self.sums.assign(averages.sums)

    def _rows(self, latents: Tensor) -> Tensor:
        return ops.reshape(ops.cast(latents, "float32"), (-1, self.codebooks.shape[-1]))


@keras.saving.register_keras_serializable("lamella")
class VectorQuantizer(keras.layers.Layer):
    """Replace each vector by its nearest codeword; the codebook follows moving averages.

    The layer works alone in any Keras model. `call` returns the nearest codewords, straight-through, adds the
    commitment loss and, in training, moves the codebook.

    Shapes:
        latents: [batch, ..., dim]
        codes:   int32 [batch, ...]

    Args:
        codebook_size: number of codewords.
        decay: of the moving averages, per training step.
        commitment: weight of mean((latents - codewords)^2), which keeps the latents near their codewords.
        codebook: initial codewords, [codebook_size, dim]. Default: random ones, which the first batches replace.
    """

    def __init__(
        self,
        codebook_size: int,
        decay: float = 0.99,
        commitment: float = 0.25,
        codebook: np.ndarray | list[list[float]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.codebook_size, self.decay, self.commitment = codebook_size, decay, commitment
        self.initial_codebook = None if codebook is None else np.asarray(codebook, np.float32)
        self.stack = ResidualVectorQuantizer(1, codebook_size, decay, name="stack")

    def get_config(self) -> dict[str, Any]:
        """Return every constructor argument but the initial codebook, which travels with the weights."""
        names = ("codebook_size", "decay", "commitment")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if self.initial_codebook is not None:
            shape = (self.codebook_size, input_shape[-1])
            if self.initial_codebook.shape != shape:
                raise ValueError(f"`codebook` must have shape {shape}, found {self.initial_codebook.shape}")
            self.stack.initializer = keras.initializers.Constant(self.initial_codebook[None])
        self.stack.build(input_shape)

    @property
    def codebook(self) -> Tensor:
        """Return the codewords, [codebook_size, dim]."""
        return ops.convert_to_tensor(self.stack.codebooks)[0]

    def encode(self, latents: Tensor) -> Tensor:
        """Return the index of the nearest codeword, int32 [batch, ...]."""
        return self.stack.encode(latents, 1)[..., 0]

    def decode(self, codes: Tensor) -> Tensor:
        """Return the codewords, [batch, ..., dim]."""
        return self.stack.decode(codes[..., None])

    def call(self, latents: Tensor, training: bool = False) -> Tensor:
        rows = ops.reshape(latents, (1, -1, latents.shape[-1]))
        result = self.stack.quantize_latents(rows, ops.ones((1,), "int32"))
        if training:
            self.stack.update(result.movement)
        self.add_loss(self.commitment * result.commitment)
        return ops.reshape(result.quantized, ops.shape(latents))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape
