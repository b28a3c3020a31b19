r"""The codec's quantizer: a residual stack whose first codebooks code what a predictor does not know.

The envelope part of the latents changes slowly: from one frame to the next it correlates by .8 to .97, the phase part
not at all. The *base* is the envelope part as the first few codebooks leave it. It is predicted linearly from the base
one frame earlier, and these codebooks code the difference. The other codebooks code what the base leaves of all
dimensions.

    envelope part ----> (-) ---> base codebooks ---> (+) ---> base ------------------> (+) ---> quantized
                         ^                            ^         \                       ^
                         |                            |          v                      |
                         +-------- prediction <-------+---- one frame ago               |
                                                                                        |
    latents - base --------------------------------------> the other codebooks ---------+

The last dimensions are details of the envelope, too small for a low bitrate. The first codebooks, the *core*, leave
them at zero, their mean; the codebooks after the core code them with the rest.

The prediction uses the base alone, so every row of codes may be cut down to its base codebooks: a lower bitrate stays
a prefix. Files and streams reset the predictor every `reset_interval` frames, to a base of zero, the mean.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from codec.network.codebook import nearest
from codec.network.quantizer import ResidualCodes, ResidualVectorQuantizer, look_up, quantize_residuals
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
        base_codebooks: stages that code the base. Fewer may be decoded too, if they were coded as such.
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
            values = f"{base_codebooks}, {core_codebooks} and {num_codebooks}; {base_dim} and {core_dim}"
            raise ValueError(
                "need 1 <= base_codebooks <= core_codebooks, num_codebooks and 1 <= base_dim <= core_dim, "
                f"found {values}"
            )
        self.base_codebooks, self.base_dim = base_codebooks, base_dim
        self.core_codebooks, self.core_dim = core_codebooks, core_dim
        unmasked = self.initializer
        self.initializer = lambda shape, dtype=None: self._masked(unmasked(shape, dtype))

    def get_config(self) -> dict[str, Any]:
        """Return every constructor argument; codebooks and prediction travel with the weights."""
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
        """Set the codewords [codebook, codebook_size, dim]; base and core drop the dimensions they do not cover."""
        super().start(self._masked(ops.convert_to_tensor(codebooks, "float32")))

    def initial_state(self, batch_size: int | Tensor) -> State:
        """Return the base of a predictor that was reset: zero, the mean."""
        return ops.zeros((batch_size, self.base_dim))

    def encode_step(self, latents: Tensor, state: State, num_codebooks: int) -> tuple[Tensor, State]:
        """Return the codes of the first stages, [batch, frame, num_codebooks], and the state after them."""
        latents = ops.cast(latents, "float32")
        bases, codes = self.encode_base(latents, state, min(num_codebooks, self.base_codebooks))
        stages = slice(self.base_codebooks, max(num_codebooks, self.base_codebooks))
        others = ops.convert_to_tensor(self.codebooks)[stages]
        if others.shape[0]:
            rest = self._search(latents - self._widened(bases), others)
            codes = ops.concatenate([codes, rest], axis=-1)
        return codes, bases[:, -1]

    def decode_step(self, codes: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the quantized latents, [batch, frame, dim], and the state; without codes, the predicted base."""
        prediction, books = ops.convert_to_tensor(self.prediction), ops.convert_to_tensor(self.codebooks)
        base_codes, others = codes[..., : self.base_codebooks], codes[..., self.base_codebooks :]
        differences = look_up(base_codes, books)[..., : self.base_dim]

        def add(base: Tensor, difference: Tensor) -> tuple[Tensor, Tensor]:
            base = ops.matmul(base, prediction) + difference
            return base, base

        last, bases = ops.scan(add, state, ops.transpose(differences, (1, 0, 2)))
        quantized = self._widened(ops.transpose(bases, (1, 0, 2)))
        return quantized + look_up(others, books[self.base_codebooks :]), last

    def encode(self, latents: Tensor, num_codebooks: int) -> Tensor:
        """Run `encode_step` from a reset predictor."""
        return self.encode_step(latents, self.initial_state(ops.shape(latents)[0]), num_codebooks)[0]

    def decode(self, codes: Tensor) -> Tensor:
        """Run `decode_step` from a reset predictor."""
        return self.decode_step(codes, self.initial_state(ops.shape(codes)[0]))[0]

    def encode_base(self, latents: Tensor, state: State, num_codebooks: int) -> tuple[Tensor, Tensor]:
        """Code the base frame by frame, the only loop over time: bases [batch, frame, base_dim], and codes.

        `ops.scan` returns what it carries from frame to frame, so the codes travel beside the base, as floats.
        """
        books = ops.convert_to_tensor(self.codebooks)[:num_codebooks, :, : self.base_dim]
        prediction = ops.convert_to_tensor(self.prediction)

        def code_frame(carried: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
            rest, codes = frame - ops.matmul(carried[:, : self.base_dim], prediction), []
            for stage in range(num_codebooks):
                codes.append(nearest(rest, books[stage]))
                rest = rest - ops.take(books[stage], codes[-1], axis=0)
            carried = ops.concatenate([frame - rest, ops.cast(ops.stack(codes, axis=-1), "float32")], axis=-1)
            return carried, carried

        carried = ops.pad(state, ((0, 0), (0, num_codebooks)))
        frames = ops.transpose(latents[..., : self.base_dim], (1, 0, 2))
        coded = ops.transpose(ops.scan(code_frame, carried, frames)[1], (1, 0, 2))
        return coded[..., : self.base_dim], ops.cast(coded[..., self.base_dim :], "int32")

    def predict(self, bases: Tensor) -> Tensor:
        """Predict each frame's base from the previous one, the first from the mean: [batch, frame, base_dim]."""
        return ops.matmul(ops.pad(bases[:, :-1], ((0, 0), (1, 0), (0, 0))), self.prediction)

    def _stages(self, latents: Tensor) -> tuple[Tensor, ResidualCodes]:
        bases, codes = self.encode_base(
            latents, self.initial_state(ops.shape(latents)[0]), self.base_codebooks
        )
        predicted = self._rows(self._widened(self.predict(bases)))
        targets = self._rows(self._widened(latents[..., : self.base_dim])) - predicted
        stages = self._base_stages(targets, ops.reshape(codes, (-1, self.base_codebooks)))
        if self.num_codebooks > self.base_codebooks:
            others = ops.convert_to_tensor(self.codebooks)[self.base_codebooks :]
            rest = quantize_residuals(self._rows(latents - self._widened(bases)), others)
            stages = ResidualCodes(*(ops.concatenate(parts) for parts in zip(stages, rest, strict=True)))
        return predicted, stages._replace(targets=self._masked(stages.targets))

    def _base_stages(self, rows: Tensor, codes: Tensor) -> ResidualCodes:
        """Return targets and codewords of rows [rows, dim] whose base codes [rows, codebook] are known."""
        books, targets, chosen = ops.convert_to_tensor(self.codebooks), [], []
        for stage in range(self.base_codebooks):
            targets.append(rows)
            chosen.append(ops.take(books[stage], codes[:, stage], axis=0))
            rows = rows - chosen[-1]
        return ResidualCodes(ops.stack(targets), ops.transpose(codes), ops.stack(chosen))

    def _masked(self, vectors: Tensor) -> Tensor:
        """Set what base and core do not cover to zero, in [codebook, any, dim]."""
        stage, dim = np.arange(vectors.shape[0])[:, None, None], np.arange(vectors.shape[2])
        inside = ((stage >= self.base_codebooks) | (dim < self.base_dim)) & (
            (stage >= self.core_codebooks) | (dim < self.core_dim)
        )
        return vectors * inside.astype(np.float32)

    def _widened(self, base: Tensor) -> Tensor:
        """Fill up with zeros: [..., base_dim] -> [..., dim]."""
        missing = self.codebooks.shape[-1] - self.base_dim
        return ops.pad(base, [(0, 0)] * (len(base.shape) - 1) + [(0, missing)])
