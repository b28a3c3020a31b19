"""Models for programs that have neither Python nor this library: ONNX graphs, LiteRT, a TensorFlow SavedModel.

ONNX has two functions, each in a file, with explicit state; a call takes any number of frames (`codec.export.onnx`).
The others have four functions with named inputs and outputs:

    encode       audio [batch, time, 1]                      -> codes [batch, frame, codebook]
    decode       codes [batch, frame, codebook]              -> audio [batch, frame * hop_length - latency, 1]
    encode_step  audio [batch, hop_length, 1] and the state  -> codes [batch, 1, codebook] and the state after it
    decode_step  codes [batch, 1, codebook] and the state    -> audio [batch, hop_length, 1] and the state after it

- `batch` is any number of channels or streams, side by side.
- `encode` and `decode` take a whole signal of any length and reset the predictor as a .lam file does. Their codes are
  those of `--effort 0`.
- A step is one frame, and `decode_step` is `latency` samples late.
- Each tensor of the state has one name, both as input and as output. All start as zeros, except `frame`, which selects
  the noise and differs between channels. For the codes of a .lam file, set `base` to zeros at every reset.
- Codes come in all codebooks. For a lower bitrate, keep the first ones, at least those of the base, and set the others
  to -1.

`manifest.json` beside the model has names, shapes and numbers; `codec.export.manifest` documents it.
"""

from __future__ import annotations

from codec.export.litert import export_litert
from codec.export.onnx.export import export_onnx, write_onnx
from codec.export.saved_model import export_saved_model
from codec.export.web import export_web

__all__ = ["export_litert", "export_onnx", "export_saved_model", "export_web", "write_onnx"]
