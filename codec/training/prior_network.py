"""The networks of the prior in floats: a small Keras model to train, and its quantization to integers.

    contexts -> standardized -> hidden1 -> hidden2 -> logits of the groups, and of the places in one group

Each codebook has networks of its own; all codebooks are trained side by side, as one axis of every array. The trained
weights become the integer arrays that `codec.bitstream.prior` computes with.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from codec.bitstream.intervals import SCORE_BITS
from codec.bitstream.prior import ACTIVATION_BITS, EXACT
from codec.bitstream.prior_arrays import MAX_BIAS, MAX_SHIFT
from codec.network.streaming import Tensor
from codec.training.recipe import PriorRecipe

PriorArrays = dict[str, np.ndarray]

HIDDEN_LIMITS = (4.0, 1.0)  # largest activations of the two hidden layers; the smallest is 0
HIDDEN_START = 0.5  # about where the activations of the second hidden layer start
PSEUDO_COUNT = 4.0  # added to the count of every code


class PriorNetwork(keras.Model):
    """For each codebook: two hidden layers, and logits of groups and of the places in each group.

    Hidden activations are limited, so that 8 bits can represent them.

    Shapes:
        contexts: float32 [row, codebook, context]
        codes:    int32 [row, codebook], as `group * members + place`
        hidden:   float32 [codebook, row, narrow]

    Args:
        num_codebooks: how many networks.
        context_size: inputs of each.
        codebook_size: codes, a power of two.
        recipe: for the sizes of the hidden layers.
    """

    def __init__(
        self, num_codebooks: int, context_size: int, codebook_size: int, recipe: PriorRecipe
    ) -> None:
        super().__init__()
        self.groups = 1 << (codebook_size.bit_length() - 1) // 2
        self.members = codebook_size // self.groups
        wide, narrow = recipe.wide, recipe.narrow

        def add(name: str, *shape: int, trainable: bool = True) -> keras.Variable:
            return self.add_weight((num_codebooks, *shape), "zeros", name=name, trainable=trainable)

        self.mean = add("mean", context_size, trainable=False)
        self.scale = add("scale", context_size, trainable=False)
        self.kernel1, self.bias1 = add("kernel1", context_size, wide), add("bias1", wide)
        self.kernel2, self.bias2 = add("kernel2", wide, narrow), add("bias2", narrow)
        self.group_kernel, self.group_bias = (
            add("groups", narrow, self.groups),
            add("group_bias", self.groups),
        )
        self.place_kernel = add("places", narrow, self.groups, self.members)
        self.place_bias = add("place_bias", self.groups, self.members)
        self.built = True

    @property
    def undecayed(self) -> list[keras.Variable]:
        """The weights that weight decay leaves alone."""
        return [self.bias1, self.bias2, self.group_bias]

    def initialize(self, codewords: np.ndarray, counts: np.ndarray, generator: np.random.Generator) -> None:
        """Set the weights before training.

        The output kernels start at the principal directions of the codewords, the output biases at the frequencies of
        the codes.

        Args:
            codewords: [codebook, codebook_size, dim], in the order of the codes.
            counts: [codebook, codebook_size], how often each code occurs.
            generator: for the random weights.
        """
        for kernel in (self.kernel1, self.kernel2):
            spread = 0.5 / np.sqrt(kernel.shape[1])
            kernel.assign(generator.normal(0, spread, kernel.shape))
        self.bias2.assign(np.full(self.bias2.shape, HIDDEN_START))
        narrow = self.bias2.shape[1]
        directions = np.stack([principal_directions(book, narrow, generator) for book in codewords])
        places = directions.reshape(*directions.shape[:2], self.groups, self.members)
        centres = places.mean(axis=3, keepdims=True)
        shares = counts.reshape(len(counts), self.groups, self.members) + PSEUDO_COUNT
        group_shares = shares.sum(axis=2)
        self._assign_output(self.group_kernel, self.group_bias, centres[..., 0], group_shares)
        self._assign_output(self.place_kernel, self.place_bias, places - centres, shares)

    def _assign_output(
        self, kernel: keras.Variable, bias: keras.Variable, directions: np.ndarray, shares: np.ndarray
    ) -> None:
        """Set an output layer so that its first likelihoods are the shares of the codes."""
        likelihoods = np.log(shares / shares.sum(axis=-1, keepdims=True))
        kernel.assign(directions)
        bias.assign(likelihoods - HIDDEN_START * directions.sum(axis=1))

    def call(self, contexts: Tensor) -> Tensor:
        """Return the activations of the second hidden layer."""
        x = (ops.transpose(contexts, (1, 0, 2)) - self.mean[:, None]) / self.scale[:, None]
        x = ops.clip(ops.matmul(x, self.kernel1) + self.bias1[:, None], 0.0, HIDDEN_LIMITS[0])
        return ops.clip(ops.matmul(x, self.kernel2) + self.bias2[:, None], 0.0, HIDDEN_LIMITS[1])

    def bits(self, hidden: Tensor, codes: Tensor) -> Tensor:
        """Return the bits that each code takes, [codebook, row]."""
        codes = ops.transpose(codes)
        groups, places = codes // self.members, codes % self.members
        group_logits = ops.matmul(hidden, self.group_kernel) + self.group_bias[:, None]
        place_logits = self._place_logits(hidden, groups)
        nats = ops.sparse_categorical_crossentropy(groups, group_logits, from_logits=True)
        nats += ops.sparse_categorical_crossentropy(places, place_logits, from_logits=True)
        return nats / np.log(2)

    def _place_logits(self, hidden: Tensor, groups: Tensor) -> Tensor:
        """Return the logits of the places in one group for each row, [codebook, row, members].

        One product gives the logits for all groups. It is faster than a product for each row with the kernel of its
        group alone.
        """
        codebooks, narrow = hidden.shape[0], hidden.shape[2]
        rows = ops.shape(groups)[1]
        kernel = ops.reshape(self.place_kernel, (codebooks, narrow, self.groups * self.members))
        logits = ops.reshape(ops.matmul(hidden, kernel), (-1, self.members))
        chosen = ops.arange(codebooks * rows) * self.groups + ops.reshape(groups, (-1,))
        bias_rows = np.arange(codebooks)[:, None] * self.groups + groups
        bias = ops.take(ops.reshape(self.place_bias, (-1, self.members)), bias_rows, axis=0)
        return ops.reshape(ops.take(logits, chosen, axis=0), (codebooks, rows, self.members)) + bias

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Return the mean bits per frame, for `fit`."""
        return ops.sum(ops.mean(self.bits(y_pred, y), axis=1))

    def to_integers(self, context_limits: np.ndarray) -> PriorArrays:
        """Return the layers as integers, by the names of a prior's arrays.

        Args:
            context_limits: largest absolute value of each element of a context, [context].
        """
        by_codebook = [
            self._codebook_to_integers(number, context_limits) for number in range(self.mean.shape[0])
        ]
        return {name: np.stack([arrays[name] for arrays in by_codebook]) for name in by_codebook[0]}

    def _codebook_to_integers(self, number: int, context_limits: np.ndarray) -> PriorArrays:
        weights = {
            weight.name: ops.convert_to_numpy(weight.value)[number].astype(np.float64)
            for weight in self.weights
        }
        logits_per_step = np.log(2) / 2**SCORE_BITS
        wide_unit, narrow_unit = (2**ACTIVATION_BITS / limit for limit in HIDDEN_LIMITS)
        kernel1 = weights["kernel1"] / weights["scale"][:, None]
        bias1 = weights["bias1"] - weights["mean"] @ kernel1
        kernel2 = weights["kernel2"] / wide_unit
        group_bias = weights["group_bias"] - weights["group_bias"].max()
        place_bias = weights["place_bias"] - weights["place_bias"].max(axis=-1, keepdims=True)
        groups = weights["groups"] / narrow_unit / logits_per_step
        places = weights["places"].transpose(1, 0, 2) / narrow_unit / logits_per_step
        wide_limits, narrow_limits = (np.full(size, 2**ACTIVATION_BITS - 1) for size in kernel2.shape)
        layers = (
            ("hidden1", kernel1 * wide_unit, bias1 * wide_unit, np.int16, context_limits),
            ("hidden2", kernel2 * narrow_unit, weights["bias2"] * narrow_unit, np.int16, wide_limits),
            ("group", groups, group_bias / logits_per_step, np.int8, narrow_limits),
            ("place", places, place_bias / logits_per_step, np.int8, narrow_limits),
        )
        arrays: PriorArrays = {}
        for layer in layers:
            arrays.update(quantize_layer(*layer))
        return arrays


def principal_directions(codewords: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return the principal coordinates of codewords [codebook_size, dim], and their squared length.

    Returns:
        float32 [count, codebook_size], of unit variance; the directions that are left over are small and random.
    """
    directions = generator.normal(0, 0.05, (count, len(codewords)))
    centred = codewords - codewords.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    kept = min(3 * count // 4, int((sizes > 1e-3 * sizes[0]).sum()))
    if kept:
        directions[:kept] = (left * sizes)[:, :kept].T
        directions[:kept] /= directions[:kept].std()
    squares = np.square(centred).sum(axis=1)
    directions[kept] = (squares - squares.mean()) / (squares.std() + 1e-9)
    return directions.astype(np.float32)


def quantize_layer(
    name: str, kernel: np.ndarray, bias: np.ndarray, kind: type[np.signedinteger], limits: np.ndarray
) -> PriorArrays:
    """Return a layer as integers, as precise as its type allows while every sum stays exact in float32.

    Args:
        name: of the layer.
        kernel: [.., inputs, outputs].
        bias: [.., outputs].
        kind: integer type of the kernel.
        limits: largest absolute value of each input, [inputs].
    """
    largest = np.iinfo(kind).max
    sums = (limits @ np.abs(kernel) + np.abs(bias)).max()
    factor = min(
        largest / np.abs(kernel).max(initial=1e-9),
        (EXACT - 1 - (limits.sum() + 1) / 2) / max(sums, 1e-9),  # each weight may be rounded up by a half
        MAX_BIAS / np.abs(bias).max(initial=1e-9),
    )
    shift = int(np.clip(np.floor(np.log2(factor)), 0, MAX_SHIFT))
    return {
        f"{name}.kernel": np.clip(np.rint(kernel * 2.0**shift), -largest, largest).astype(kind),
        f"{name}.bias": np.clip(np.rint(bias * 2.0**shift), -MAX_BIAS, MAX_BIAS).astype(np.int32),
        f"{name}.shift": np.array(shift, np.int32),
    }
