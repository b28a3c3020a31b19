"""Encode and decode a clip with EnCodec or Mimi on one thread, random weights; seconds of the processor as JSON.

`speed.py` runs this with the interpreter that has them; the first run of each is left out, as it makes their tables.
"""

from __future__ import annotations

import json
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import soundfile
import torch

Coder = tuple[Callable[[Any], Any], Callable[[Any], Any]]


def encodec() -> Coder:
    """24 kHz, causal, 6 kbit/s: 8 codebooks of 75 frames a second."""
    sys.modules["torchaudio"] = types.ModuleType(
        "torchaudio"
    )  # it wants that for files, and is seldom up with torch
    from encodec import EncodecModel

    model = EncodecModel.encodec_model_24khz(pretrained=False).eval()
    model.set_target_bandwidth(6.0)
    return model.encode, model.decode


def mimi() -> Coder:
    """24 kHz, all 32 codebooks of 12.5 frames a second: 4.4 kbit/s."""
    from transformers import MimiConfig, MimiModel

    model = MimiModel(MimiConfig()).eval()
    return lambda x: model.encode(x, num_quantizers=32).audio_codes, model.decode


def main() -> None:
    """Print what encoding and decoding took."""
    torch.set_num_threads(1)
    encode, decode = {"encodec": encodec, "mimi": mimi}[sys.argv[1]]()
    samples, rate = soundfile.read(sys.argv[2], dtype="float32")
    x = torch.from_numpy(samples[:: rate // 24000].copy())[None, None]
    with torch.inference_mode():
        for _ in range(2):
            start = time.process_time()
            codes = encode(x)
            middle = time.process_time()
            decode(codes)
            end = time.process_time()
    print(json.dumps({"encode": middle - start, "decode": end - middle}))


if __name__ == "__main__":
    main()
