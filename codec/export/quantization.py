"""The quantizer as operations that LiteRT can run.

`PredictiveQuantizer` loops over frames with `keras.ops.scan`, which fills lists of tensors; LiteRT has none. The loop
here adds each frame to its place in one tensor. Codes and quantized latents are the same.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from keras import ops

from codec.network.codebook import nearest
from codec.network.predictive_quantizer import PredictiveQuantizer
from codec.network.streaming import Tensor


def encode_frames(quantizer: PredictiveQuantizer, latents: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:
    """Return the codes of all codebooks, and the base after the last frame.

    Shapes:
        latents: float32 [rows, frame, dim], a known number of frames
        base:    float32 [rows, base_dim], of the frame before
        returns: int32 [rows, frame, codebook], and float32 [rows, base_dim]
    """
    dim, count = quantizer.base_dim, quantizer.base_codebooks
    base_books, other_books = _codebooks(quantizer)
    prediction = ops.convert_to_tensor(quantizer.prediction)

    def code_frame(carried: Tensor, frame: Tensor) -> Tensor:
        codes, rest = code_residuals(frame - ops.matmul(carried[:, :dim], prediction), base_books)
        return ops.concatenate([frame - rest, ops.cast(codes, "float32")], axis=-1)

    carried = ops.concatenate([base, ops.zeros((ops.shape(base)[0], count))], axis=-1)
    coded = scan_frames(code_frame, carried, latents[..., :dim])
    bases, codes = coded[..., :dim], ops.cast(coded[..., dim:], "int32")
    if other_books:
        rest = ops.concatenate([latents[..., :dim] - bases, latents[..., dim:]], axis=-1)
        others, _ = code_residuals(ops.reshape(rest, (-1, latents.shape[-1])), other_books)
        others = ops.reshape(others, (-1, latents.shape[1], len(other_books)))
        codes = ops.concatenate([codes, others], axis=-1)
    return codes, bases[:, -1]


def decode_frames(quantizer: PredictiveQuantizer, codes: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:
    """Return the quantized latents, and the base after the last frame.

    Shapes:
        codes:   int32 [rows, frame, codebook], a known number of frames; -1 adds nothing
        base:    float32 [rows, base_dim], of the frame before
        returns: float32 [rows, frame, dim], and float32 [rows, base_dim]
    """
    dim, count = quantizer.base_dim, quantizer.base_codebooks
    base_books, other_books = _codebooks(quantizer)
    prediction = ops.convert_to_tensor(quantizer.prediction)

    def add_difference(base: Tensor, difference: Tensor) -> Tensor:
        return ops.matmul(base, prediction) + difference

    bases = scan_frames(add_difference, base, look_up(codes[..., :count], base_books))
    if not other_books:
        missing = quantizer.codebooks.shape[-1] - dim
        return ops.pad(bases, [[0, 0], [0, 0], [0, missing]]), bases[:, -1]
    others = look_up(codes[..., count:], other_books)
    quantized = ops.concatenate([bases + others[..., :dim], others[..., dim:]], axis=-1)
    return quantized, bases[:, -1]


def code_residuals(rows: Tensor, codebooks: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Code rows by the first codebook, what remains by the next, and so on; return the codes and what remains.

    Shapes:
        rows:      float32 [rows, dim]
        codebooks: float32 [codebook_size, dim] each
        returns:   int32 [rows, codebook], and float32 [rows, dim]
    """
    codes = []
    for codebook in codebooks:
        codes.append(nearest(rows, codebook))
        rows = rows - ops.take(codebook, codes[-1], axis=0)
    return ops.stack(codes, axis=-1), rows


def look_up(codes: Tensor, codebooks: list[Tensor]) -> Tensor:
    """Return the sum of the codewords, where -1 adds nothing.

    Shapes:
        codes:     int32 [rows, frame, codebook]
        codebooks: float32 [codebook_size, dim] each
        returns:   float32 [rows, frame, dim]
    """
    total = ops.zeros((*ops.shape(codes)[:-1], codebooks[0].shape[-1]))
    for stage, codebook in enumerate(codebooks):
        code = codes[..., stage]
        exists = ops.cast(code >= 0, "float32")[..., None]
        total = total + exists * ops.take(codebook, ops.maximum(code, 0), axis=0)
    return total


def _codebooks(quantizer: PredictiveQuantizer) -> tuple[list[Tensor], list[Tensor]]:
    """Return the codebooks of the base, [codebook_size, base_dim] each, and the others, [codebook_size, dim] each."""
    codebooks, count = ops.convert_to_tensor(quantizer.codebooks), quantizer.base_codebooks
    return ops.unstack(codebooks[:count, :, : quantizer.base_dim]), ops.unstack(codebooks[count:])


def scan_frames(step: Callable[[Tensor, Tensor], Tensor], state: Tensor, frames: Tensor) -> Tensor:
    """Return the state after every frame, as `keras.ops.scan` does, without lists of tensors.

    Args:
        step: from the state [rows, width] and a frame [rows, dim] to the next state.
        state: before the first frame, [rows, width].
        frames: [rows, frame, dim], a known number.

    Returns:
        The states, [rows, frame, width].
    """
    count = frames.shape[1]
    if count == 1:
        return step(state, frames[:, 0])[:, None]
    places = np.eye(count, dtype=np.float32)[..., None]  # [frame, frame, 1], 1 at each frame's own place

    def add_frame(number: Tensor, state: Tensor, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        state = step(state, ops.take(frames, number, axis=1))
        place = ops.take(ops.convert_to_tensor(places), number, axis=0)
        return number + 1, state, states + place * state[:, None]

    states = ops.zeros((ops.shape(frames)[0], count, state.shape[-1]))
    return ops.while_loop(lambda number, *_: number < count, add_frame, (0, state, states))[-1]
