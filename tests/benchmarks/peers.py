"""Print the processor time that EnCodec or Mimi takes for a clip, as JSON, on one thread and with random weights.

`speed.py --peers PYTHON` runs `peers.py encodec|mimi WAV` with an interpreter that has torch, encodec and transformers.
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

PEER_RATE = 24000  # Hz
Coder = tuple[Callable[[Any], Any], Callable[[Any], Any]]


def encodec() -> Coder:
    """Return EnCodec's functions for 24 kHz, causal, 6 kbit/s: 8 codebooks of 75 frames a second."""
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")  # encodec imports it, for files alone
    from encodec import EncodecModel

    model = EncodecModel.encodec_model_24khz(pretrained=False).eval()
    model.set_target_bandwidth(6.0)
    return model.encode, model.decode


def mimi() -> Coder:
    """Return Mimi's functions for 24 kHz, 4.4 kbit/s: all 32 codebooks of 12.5 frames a second."""
    from transformers import MimiConfig, MimiModel

    model = MimiModel(MimiConfig()).eval()
    return lambda audio: model.encode(audio, num_quantizers=32).audio_codes, model.decode


def main() -> None:
    """Encode and decode twice, and print the seconds of the second time; the first prepares tables."""
    torch.set_num_threads(1)
    encode, decode = {"encodec": encodec, "mimi": mimi}[sys.argv[1]]()
    samples, sample_rate = soundfile.read(sys.argv[2], dtype="float32")
    audio = torch.from_numpy(samples[:: sample_rate // PEER_RATE].copy())[None, None]
    with torch.inference_mode():
        for _ in range(2):
            start = time.process_time()
            codes = encode(audio)
            middle = time.process_time()
            decode(codes)
            end = time.process_time()
    print(json.dumps({"encode": middle - start, "decode": end - middle}))


if __name__ == "__main__":
    main()
