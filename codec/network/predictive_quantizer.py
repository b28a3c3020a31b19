r"""The codec's quantizer: a residual stack whose first codebooks code what cannot be predicted from the frame before.

The envelope part of the latents changes slowly: from one frame to the next it correlates by .8 to .97, the phase part
not at all. So the base, the envelope part as the first few codebooks leave it, is predicted linearly from the base
one frame before, and these codebooks code the difference; the others code what the base leaves of all dimensions.

    envelope part ----> (-) ---> base codebooks ---> (+) ---> base ------------------> (+) ---> quantized
                         ^                            ^         \                       ^
                         |                            |          v                      |
                         +-------- prediction <-------+---- one frame ago               |
                                                                                        |
    latents - base --------------------------------------> the other codebooks ---------+

The last dimensions are details of the envelope, too small for a low bitrate: the first codebooks, the core, leave them
at zero, their mean, and those after them code them with the rest.

The prediction uses the base alone, so every row of codes may be cut down to its base codebooks: a lower bitrate
stays a prefix. Whoever codes a file begins it anew each second, from a base of zero, the mean.

Before any training with it, it left at 3 / 6 / 12 codebooks a squared error of .148 / .078 / .035 of the latents of
unseen audio where a plain stack left .187 / .120 / .053, and decoding from that gave on 14 clips of speech at
6 kbit/s a log-mel distance of 1.49 (1.56), PESQ-WB 1.74 (1.53) and ESTOI .84 (.80).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from codec.network.quantizer import Descent, ResidualVectorQuantizer, descend, look_up
from codec.network.streaming import State, Tensor


@keras.saving.register_keras_serializable("lamella")
class PredictiveQuantizer(ResidualVectorQuantizer):
    """A residual stack with a predicted base (differential coding with the decoder's own past, as in ADPCM).

    Shapes:
        latents: [batch, frame, dim]
        codes:   int32 [batch, frame, codebook]
        state:   [batch, base_dim], the last frame's base

    Args:
        num_codebooks: stages in all.
        codebook_size: codewords of each.
        base_codebooks: stages that code the base. A prefix of fewer decodes too, if it was coded as one.
        base_dim: leading dimensions that the base covers; its codewords are zero in the others.
        core_codebooks: stages that code no detail, those of the base among them.
        core_dim: leading dimensions that are not detail; the core's codewords are zero in the others.
        decay: of the moving averages, per training step.
    """

    def __init__(
        self,
        num_codebooks: int,
        codebook_size: int,
        base_codebooks: int,
        base_dim: int,
        core_codebooks: int,
        core_dim: int,
        decay: float = 0.99,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_codebooks, codebook_size, decay, **kwargs)
        if not 1 <= base_codebooks <= min(core_codebooks, num_codebooks) or not 1 <= base_dim <= core_dim:
            found = f"{base_codebooks}, {core_codebooks} and {num_codebooks}; {base_dim} and {core_dim}"
            raise ValueError(
                "need 1 <= base_codebooks <= core_codebooks, num_codebooks and 1 <= base_dim <= core_dim, "
                f"found {found}"
            )
        self.base_codebooks, self.base_dim = base_codebooks, base_dim
        self.core_codebooks, self.core_dim = core_codebooks, core_dim
        drawn = self.initializer
        self.initializer = lambda shape, dtype=None: self._confined(drawn(shape, dtype))

    def get_config(self) -> dict[str, Any]:
        """Every constructor argument; codebooks and prediction travel with the weights."""
        names = ("base_codebooks", "base_dim", "core_codebooks", "core_dim")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if self.core_dim > (input_shape[-1] or 0):
            raise ValueError(f"core_dim {self.core_dim} is more than the latents' {input_shape[-1]}")
        super().build(input_shape)
        self.prediction = self.add_weight(
            (self.base_dim, self.base_dim),
            "zeros",
            trainable=False,
            aggregation="only_first_replica",
            name="prediction",
        )

    def start(self, codebooks: Tensor) -> None:
        """Begin at given codewords [codebook, codebook_size, dim]; those of base and core lose what is outside."""
        super().start(self._confined(ops.convert_to_tensor(codebooks, "float32")))

    def initial_state(self, batch_size: int | Tensor) -> State:
        """The base where the prediction begins: the mean."""
        return ops.zeros((batch_size, self.base_dim))

    def encode_step(self, latents: Tensor, state: State, num_codebooks: int) -> tuple[Tensor, State]:
        """Codes of the first `num_codebooks` stages, [batch, frame, num_codebooks], and the state after them."""
        latents = ops.cast(latents, "float32")
        bases, codes = self.track(latents, state, min(num_codebooks, self.base_codebooks))
        others = self._books()[self.base_codebooks : max(num_codebooks, self.base_codebooks)]
        if others.shape[0]:
            left = self._search(latents - self._widened(bases), others)
            codes = ops.concatenate([codes, left], axis=-1)
        return codes, bases[:, -1]

    def decode_step(self, codes: Tensor, state: State) -> tuple[Tensor, State]:
        """What the codes stand for, [batch, frame, dim], and the state after them; none: the predicted base."""
        prediction, books = ops.convert_to_tensor(self.prediction), self._books()
        base_codes, others = codes[..., : self.base_codebooks], codes[..., self.base_codebooks :]
        differences = look_up(base_codes, books)[..., : self.base_dim]

        def add(base: Tensor, difference: Tensor) -> tuple[Tensor, Tensor]:
            base = ops.matmul(base, prediction) + difference
            return base, base

        last, bases = ops.scan(add, state, ops.transpose(differences, (1, 0, 2)))
        quantized = self._widened(ops.transpose(bases, (1, 0, 2)))
        return quantized + look_up(others, books[self.base_codebooks :]), last

    def encode(self, latents: Tensor, num_codebooks: int) -> Tensor:
        """`encode_step` from the mean."""
        return self.encode_step(latents, self.initial_state(ops.shape(latents)[0]), num_codebooks)[0]

    def decode(self, codes: Tensor) -> Tensor:
        """`decode_step` from the mean."""
        return self.decode_step(codes, self.initial_state(ops.shape(codes)[0]))[0]

    def track(self, latents: Tensor, state: State, num_codebooks: int) -> tuple[Tensor, Tensor]:
        """Run the base codebooks along the frames, the only loop over time: bases [batch, frame, base_dim], and codes.

        The loop hands out what it carries from frame to frame, so the codes travel beside the base, as floats.
        """
        books = self._books()[:num_codebooks, :, : self.base_dim]
        turned, squares = ops.transpose(books, (0, 2, 1)), ops.sum(ops.square(books), axis=-1)
        prediction = ops.convert_to_tensor(self.prediction)

        def follow(carried: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
            left, codes = frame - ops.matmul(carried[:, : self.base_dim], prediction), []
            for stage in range(num_codebooks):
                distances = squares[stage] - 2 * ops.matmul(left, turned[stage])
                codes.append(ops.argmin(distances, axis=-1))
                left = left - ops.take(books[stage], codes[-1], axis=0)
            carried = ops.concatenate([frame - left, ops.cast(ops.stack(codes, axis=-1), "float32")], axis=-1)
            return carried, carried

        carried = ops.pad(state, ((0, 0), (0, num_codebooks)))
        frames = ops.transpose(latents[..., : self.base_dim], (1, 0, 2))
        tracked = ops.transpose(ops.scan(follow, carried, frames)[1], (1, 0, 2))
        return tracked[..., : self.base_dim], ops.cast(tracked[..., self.base_dim :], "int32")

    def predict(self, bases: Tensor) -> Tensor:
        """Of each frame's base what the one before told, from the mean on: [batch, frame, base_dim]."""
        return ops.matmul(ops.pad(bases[:, :-1], ((0, 0), (1, 0), (0, 0))), self.prediction)

    def _stages(self, latents: Tensor) -> tuple[Tensor, Descent]:
        bases, codes = self.track(latents, self.initial_state(ops.shape(latents)[0]), self.base_codebooks)
        predicted, books = self._rows_of_base(self.predict(bases)), self._books()
        given = self._rows_of_base(latents[..., : self.base_dim]) - predicted
        targets, chosen = [], []
        for stage in range(self.base_codebooks):
            targets.append(given)
            chosen.append(ops.take(books[stage], ops.reshape(codes[..., stage], (-1,)), axis=0))
            given = given - chosen[-1]
        base = Descent(
            ops.stack(targets),
            ops.transpose(ops.reshape(codes, (-1, self.base_codebooks))),
            ops.stack(chosen),
        )
        if self.num_codebooks == self.base_codebooks:
            return predicted, base
        left = self._rows(latents) - self._rows_of_base(bases)
        others = descend(left, books[self.base_codebooks :])
        descent = Descent(*(ops.concatenate(parts) for parts in zip(base, others, strict=True)))
        return predicted, descent._replace(targets=self._confined(descent.targets))

    def _confined(self, vectors: Tensor) -> Tensor:
        """Of [codebook, any, dim] what base and core can code: zero outside of them."""
        stage, dim = np.arange(vectors.shape[0])[:, None, None], np.arange(vectors.shape[2])
        inside = ((stage >= self.base_codebooks) | (dim < self.base_dim)) & (
            (stage >= self.core_codebooks) | (dim < self.core_dim)
        )
        return vectors * inside.astype(np.float32)

    def _widened(self, base: Tensor) -> Tensor:
        """[..., base_dim] -> [..., dim], zero where the base does not reach."""
        missing = self.codebooks.shape[-1] - self.base_dim
        return ops.pad(base, [(0, 0)] * (len(base.shape) - 1) + [(0, missing)])

    def _rows_of_base(self, base: Tensor) -> Tensor:
        return self._rows(self._widened(base))
