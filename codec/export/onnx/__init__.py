"""Presets as ONNX graphs, written from the description of the network without a training framework.

    encoder.onnx   audio [batch, time, 1], resets, num_codebooks and the state  -> codes, and the state after them
    decoder.onnx   codes [batch, frame, codebook], resets and the state         -> audio, and the state after it

- A call takes any number of frames: one in a live step, all of a signal, or some, with the state passed on.
- `resets` [batch, frame] is true where the predictor starts again, as a .lam file does at each chunk.
- `num_codebooks` [1] is how many codes of a frame are searched; the others are -1.
- The state `base` is an input `base` and an output `next_base`, and so on.

    graph      values and nodes
    function   inputs, outputs, state, weights
    layers     the layers of `codec.architecture`
    fourier    the Fourier transform by matrix products
    encoder    audio -> codes
    decoder    codes -> audio
    export     a preset -> files
"""

from __future__ import annotations

WEIGHTS = ("float16", "float32", "int8")  # how an export stores weights
