"""The quantizer as operations that LiteRT can run.

`PredictiveQuantizer` loops over frames with `keras.ops.scan`, which fills lists of tensors; LiteRT has none. The loop
here adds each frame to its place in one tensor. Codes and quantized latents are the same.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from keras import ops

from codec.network.predictive_quantizer import PredictiveQuantizer
from codec.network.quantizer import quantize_residuals
from codec.network.streaming import Tensor


def encode_frames(quantizer: PredictiveQuantizer, latents: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:
    """Return the codes of all codebooks, and the base after the last frame.

    Shapes:
        latents: float32 [rows, frame, dim], a known number of frames
        base:    float32 [rows, base_dim], of the frame before
        returns: int32 [rows, frame, codebook], and float32 [rows, base_dim]
    """
    dim, count = quantizer.base_dim, quantizer.base_codebooks
    codebooks = ops.convert_to_tensor(quantizer.codebooks)
    prediction = ops.convert_to_tensor(quantizer.prediction)

    def code_frame(carried: Tensor, frame: Tensor) -> Tensor:
        stages = quantize_residuals(
            frame - ops.matmul(carried[:, :dim], prediction), codebooks[:count, :, :dim]
        )
        rest = stages.targets[-1] - stages.chosen[-1]
        return ops.concatenate([frame - rest, ops.cast(ops.transpose(stages.codes), "float32")], axis=-1)

    carried = ops.concatenate([base, ops.zeros((ops.shape(base)[0], count))], axis=-1)
    coded = scan_frames(code_frame, carried, latents[..., :dim])
    bases, codes = coded[..., :dim], ops.cast(coded[..., dim:], "int32")
    if quantizer.num_codebooks > count:
        rest = ops.concatenate([latents[..., :dim] - bases, latents[..., dim:]], axis=-1)
        others = quantize_residuals(ops.reshape(rest, (-1, latents.shape[-1])), codebooks[count:]).codes
        others = ops.reshape(ops.transpose(others), (-1, latents.shape[1], quantizer.num_codebooks - count))
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
    codebooks = ops.convert_to_tensor(quantizer.codebooks)
    prediction = ops.convert_to_tensor(quantizer.prediction)

    def add_difference(base: Tensor, difference: Tensor) -> Tensor:
        return ops.matmul(base, prediction) + difference

    differences = look_up(codes[..., :count], codebooks[:count, :, :dim])
    bases = scan_frames(add_difference, base, differences)
    others = look_up(codes[..., count:], codebooks[count:])
    quantized = ops.concatenate([bases + others[..., :dim], others[..., dim:]], axis=-1)
    return quantized, bases[:, -1]


def look_up(codes: Tensor, codebooks: Tensor) -> Tensor:
    """Return the sum of the codewords, where -1 adds nothing.

    Shapes:
        codes:     int32 [rows, frame, codebook]
        codebooks: float32 [codebook, codebook_size, dim]
        returns:   float32 [rows, frame, dim]
    """
    total = ops.zeros((*ops.shape(codes)[:-1], codebooks.shape[-1]))
    for stage in range(codebooks.shape[0]):
        code = codes[..., stage]
        exists = ops.cast(code >= 0, "float32")[..., None]
        total = total + exists * ops.take(codebooks[stage], ops.maximum(code, 0), axis=0)
    return total


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
