"""Vectors to integers and back: one codebook, or a stack where each codes what the ones before left.

How a gradient gets past a step that has none: `straight_through` returns the quantized vectors and hands the gradient
to the latents unchanged (Bengio et al. 2013, arXiv 1308.3432; van den Oord et al. 2017, arXiv 1711.00937, section 3.2).
Three forms of it go round; tests show what each one does:

    straight_through(latents, quantized)                a custom gradient of two tensors: exact, and what is used here
    latents + stop_gradient(quantized - latents)        equal to it, but for rounding
    latents - stop_gradient(quantized - latents)        wrong: decodes 2 * latents - quantized, and still trains

Do not put the custom gradient on a layer's `call` that reads the codebook inside: TensorFlow then asks for a
`variables` argument, and where it is given, the codebook is silently cut off from every gradient.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from codec.network.codebook import Averages, candidates, codewords, count, move, nearest, restart
from codec.network.streaming import Tensor


@ops.custom_gradient  # on TensorFlow this is tf.custom_gradient, on JAX jax.custom_gradient
def straight_through(latents: Tensor, quantized: Tensor) -> Any:
    """Return `quantized` exactly; backward, hand the gradient to `latents` and nothing to `quantized`."""

    def backward(upstream: Tensor) -> tuple[Tensor, Tensor]:
        return upstream, ops.zeros_like(upstream)

    return quantized, backward


class Movement(NamedTuple):
    """What one training step counted, to move the codebooks by."""

    batch: Averages
    fresh: Tensor  # [codebook, codebook_size, dim], where dead codewords may start again


class Quantized(NamedTuple):
    """What the residual stack made of the latents in training."""

    quantized: Tensor  # [batch, frame, dim], straight-through
    commitment: (
        Tensor  # [], mean squared distance of the targets to their codewords, summed over the active stages
    )
    errors: (
        Tensor  # [codebook], mean squared error of what each stage was given, over the items it is active for
    )
    movement: Movement


class Descent(NamedTuple):
    """All stages of a residual stack, one after another, for rows of latents; without gradient."""

    targets: Tensor  # [codebook, rows, dim], what each stage was given
    codes: Tensor  # int32 [codebook, rows]
    chosen: Tensor  # [codebook, rows, dim], the codewords


def descend(rows: Tensor, codebooks: Tensor) -> Descent:
    """Quantize rows [rows, dim] by the first of [codebook, codebook_size, dim], what is left by the next, and so on."""
    targets, codes, chosen = [], [], []
    for stage in range(codebooks.shape[0]):
        targets.append(rows)
        codes.append(nearest(rows, codebooks[stage]))
        chosen.append(ops.take(codebooks[stage], codes[-1], axis=0))
        rows = rows - chosen[-1]
    return Descent(ops.stack(targets), ops.stack(codes), ops.stack(chosen))


def look_up(codes: Tensor, codebooks: Tensor) -> Tensor:
    """Sum of the codewords: codes [batch, frame, codebook], of the first of the codebooks -> [batch, frame, dim]."""
    nothing = ops.zeros((*ops.shape(codes)[:-1], codebooks.shape[-1]))
    return sum(
        (ops.take(codebooks[stage], codes[..., stage], axis=0) for stage in range(codes.shape[-1])), nothing
    )


@keras.saving.register_keras_serializable("lamella")
class ResidualVectorQuantizer(keras.layers.Layer):
    """A stack of codebooks, each coding what the ones before left (Zeghidour et al. 2021, arXiv 2107.03312, Alg. 1).

    Every stage sees latents - stop_gradient(sum so far), so each commitment reaches the latents; straight-through is
    applied once, to the sum, so the gradient of the reconstruction does not grow with the number of stages. The
    codebooks are no trained weights: they follow by moving averages, and replicas stay equal, see `update`.

    Shapes:
        latents: [batch, frame, dim]
        codes:   int32 [batch, frame, codebook]; any number of leading codebooks decodes

    Args:
        num_codebooks: stages.
        codebook_size: codewords of each.
        decay: of the moving averages, per training step.
    """

    def __init__(self, num_codebooks: int, codebook_size: int, decay: float = 0.99, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})  # near ties must not hang on a lower precision
        if num_codebooks < 1 or codebook_size < 1 or not 0 <= decay < 1:
            found = f"{num_codebooks}, {codebook_size} and {decay}"
            raise ValueError(f"need num_codebooks >= 1, codebook_size >= 1 and 0 <= decay < 1, found {found}")
        self.num_codebooks, self.codebook_size, self.decay = num_codebooks, codebook_size, decay
        # Gives the same numbers at each call, so `sums` begin as `codebooks`. What `build` assigned, `fit` would lose.
        self.initializer: Any = keras.initializers.RandomNormal(0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Every constructor argument; the codebooks travel with the weights."""
        names = ("num_codebooks", "codebook_size", "decay")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = (self.num_codebooks, self.codebook_size, input_shape[-1])
        self.codebooks = self.add_weight(
            shape, self.initializer, trainable=False, aggregation="only_first_replica", name="codebooks"
        )
        averaged = {"trainable": False, "aggregation": "mean"}
        self.counts = self.add_weight(shape[:2], "ones", name="counts", **averaged)
        self.sums = self.add_weight(shape, self.initializer, name="sums", **averaged)

    def start(self, codebooks: Tensor) -> None:
        """Begin at given codewords [codebook, codebook_size, dim], each as if chosen once."""
        self.codebooks.assign(codebooks)
        self.sums.assign(codebooks)
        self.counts.assign(ops.ones((self.num_codebooks, self.codebook_size)))

    def encode(self, latents: Tensor, num_codebooks: int) -> Tensor:
        """Codes of the first `num_codebooks` stages, [batch, frame, num_codebooks]."""
        return self._search(latents, self._books()[:num_codebooks])

    def decode(self, codes: Tensor) -> Tensor:
        """Sum of the codewords, [batch, frame, dim]."""
        return look_up(codes, self._books())

    def quantize_latents(self, latents: Tensor, num_codebooks: Tensor) -> Quantized:
        """Quantize in training, each item with its own number of stages.

        Args:
            latents: [batch, frame, dim].
            num_codebooks: int32 [batch], the stages that are active for each item; a stage counts only these items.
        """
        rows = self._rows(latents)
        stages = np.arange(self.num_codebooks, dtype=np.int32)[:, None]
        frames = ops.shape(rows)[0] // ops.shape(num_codebooks)[0]
        weights = ops.cast(ops.repeat(num_codebooks, frames)[None] > stages, "float32")
        predicted, (targets, codes, chosen) = self._stages(ops.stop_gradient(ops.cast(latents, "float32")))
        total = ops.reshape(predicted + ops.sum(weights[..., None] * chosen, axis=0), ops.shape(latents))
        distances = ops.mean(ops.square(rows - ops.stop_gradient(rows - targets + chosen)), axis=-1)
        each = ops.sum(weights * distances, axis=-1)
        batch, fresh = (
            count(targets, codes, weights, self.codebook_size),
            candidates(targets, weights, self.codebook_size),
        )
        return Quantized(
            straight_through(ops.cast(latents, "float32"), total),
            ops.sum(each) / ops.cast(ops.shape(rows)[0], "float32"),
            each / ops.maximum(ops.sum(weights, axis=-1), 1.0),
            Movement(batch, fresh),
        )

    def update(self, movement: Movement) -> None:
        """Move the codebooks by what one training step counted; call it outside the gradient.

        Of several replicas each brings its own movement. Every assignment merges them: the averages are averaged, and
        what the codebooks are given is that of the first replica of each machine; so all hold the same in the end.
        """
        self._keep(move(self._averages(), movement.batch, self.decay))
        self.codebooks.assign(movement.fresh)
        fresh = ops.convert_to_tensor(self.codebooks)
        self._keep(restart(self._averages(), fresh, movement.batch))
        self.codebooks.assign(codewords(self._averages()))

    def _stages(self, latents: Tensor) -> tuple[Tensor | float, Descent]:
        """What is known of the latents [batch, frame, dim] without any code, as rows, and all stages on the rest."""
        return 0.0, descend(self._rows(latents), self._books())

    def _search(self, latents: Tensor, codebooks: Tensor) -> Tensor:
        """Codes of latents [batch, frame, dim] in some of the codebooks, [batch, frame, codebook]."""
        codes = descend(self._rows(latents), codebooks).codes
        return ops.reshape(ops.transpose(codes), (*ops.shape(latents)[:-1], codebooks.shape[0]))

    def _books(self) -> Tensor:
        return ops.convert_to_tensor(self.codebooks)

    def _averages(self) -> Averages:
        return Averages(ops.convert_to_tensor(self.counts), ops.convert_to_tensor(self.sums))

    def _keep(self, averages: Averages) -> None:
        self.counts.assign(averages.counts)
        self.sums.assign(averages.sums)

    def call(self, latents: Tensor) -> Tensor:
        return self.decode(self.encode(latents, self.num_codebooks))

    def _rows(self, latents: Tensor) -> Tensor:
        return ops.reshape(ops.cast(latents, "float32"), (-1, self.codebooks.shape[-1]))


@keras.saving.register_keras_serializable("lamella")
class VectorQuantizer(keras.layers.Layer):
    """Each vector becomes the index of its nearest codeword; the codebook follows by moving averages.

    Usable alone in any Keras model: `call` returns the nearest codewords, straight-through, adds the commitment loss
    and, in training, moves the codebook.

    Shapes:
        latents: [batch, ..., dim]
        codes:   int32 [batch, ...]

    Args:
        codebook_size: number of codewords.
        decay: of the moving averages, per training step.
        commitment: weight of mean((latents - codewords)^2), which keeps the latents near their codewords.
        codebook: initial codewords, [codebook_size, dim]; random ones otherwise, which the first batches replace.
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
        """Every constructor argument but the initial codebook, which travels with the weights."""
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
        """The codewords, [codebook_size, dim]."""
        return ops.convert_to_tensor(self.stack.codebooks)[0]

    def encode(self, latents: Tensor) -> Tensor:
        """Index of the nearest codeword, int32 [batch, ...]."""
        return self.stack.encode(latents, 1)[..., 0]

    def decode(self, codes: Tensor) -> Tensor:
        """The codewords, [batch, ..., dim]."""
        return self.stack.decode(codes[..., None])

    def call(self, latents: Tensor, training: bool = False) -> Tensor:
        rows = ops.reshape(latents, (1, -1, latents.shape[-1]))
        found = self.stack.quantize_latents(rows, ops.ones((1,), "int32"))
        if training:
            self.stack.update(found.movement)
        self.add_loss(self.commitment * found.commitment)
        return ops.reshape(found.quantized, ops.shape(latents))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape
