"""Presets as ONNX graphs, written from the description of the network without a training framework.

graph      values and nodes
function   inputs, outputs, state, weights
layers     the layers of `codec.architecture`
fourier    the Fourier transform by matrix products
encoder    audio -> codes
decoder    codes -> audio
"""

from __future__ import annotations

WEIGHTS = ("float16", "float32", "int8")  # how an export stores weights
