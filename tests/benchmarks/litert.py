"""Run the network alone, in numpy or as `lamella export --format litert` wrote it, in one process on one thread.

`speed.py --litert FOLDER` runs `litert.py numpy|FOLDER start|live|encode|decode WAV CODES`. Files are coded in pieces:
4 seconds for an export, the fastest of 1, 2, 4 and 8, and 8 seconds for numpy, as `lamella` does.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

ROOT = Path(__file__).parents[2]
SAMPLE_RATE, HOP_LENGTH = 48000, 960  # Hz, samples
STEPS = 1000  # of a live stream
CODEBOOKS = 12  # 6 kbit/s
Step = Callable[[np.ndarray], np.ndarray]


class Coder(NamedTuple):
    """A network: audio [1, time, 1] to codes [1, frame, codebook] and back."""

    encode: Step
    decode: Step
    frames: int  # coded at a time in a file


def in_numpy() -> Coder:
    """Return the default preset as a stream of steps."""
    sys.path.insert(0, str(ROOT))
    from codec import load

    model = load()
    states = {"encode": model.encoder_state(1), "decode": model.decoder_state(1)}

    def encode(audio: np.ndarray) -> np.ndarray:
        codes, states["encode"] = model.encode_step(audio, states["encode"], CODEBOOKS)
        return codes

    def decode(codes: np.ndarray) -> np.ndarray:
        audio, states["decode"] = model.decode_step(codes, states["decode"])
        return audio

    return Coder(encode, decode, 400)


def in_litert(folder: str, suffix: str) -> Coder:
    """Return an export: its functions `encode` and `decode`, or with the suffix `_step` those of one step."""
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(str(Path(folder, "model.tflite")), num_threads=1)
    manifest = json.loads(Path(folder, "manifest.json").read_text())
    missing = [(0, 0), (0, 0), (0, manifest["num_codebooks"] - CODEBOOKS)]
    states: dict[str, dict[str, np.ndarray]] = {}

    def run(name: str, **given: np.ndarray) -> dict[str, np.ndarray]:
        function = model.get_signature_runner(name + suffix)
        if name not in states:
            inputs: dict[str, Any] = function.get_input_details()
            states[name] = {
                key: np.zeros(details["shape"], details["dtype"])
                for key, details in inputs.items()
                if key not in given
            }
        outputs: dict[str, np.ndarray] = function(**given, **states[name])
        states[name] = {key: outputs[key] for key in states[name]}
        return outputs

    def encode(audio: np.ndarray) -> np.ndarray:
        return run("encode", audio=audio)["codes"][..., :CODEBOOKS]

    def decode(codes: np.ndarray) -> np.ndarray:
        return run("decode", codes=np.pad(codes, missing, constant_values=-1))["audio"]

    return Coder(encode, decode, 200)


def encode_file(coder: Coder, wav: str, path: str) -> None:
    """Write the codes of a WAV file."""
    with soundfile.SoundFile(wav) as file:
        blocks = file.blocks(coder.frames * HOP_LENGTH, dtype="float32", always_2d=True)
        codes = [
            coder.encode(block[None])[:, : len(block) // HOP_LENGTH].astype(np.int16) for block in blocks
        ]
    np.save(path, np.concatenate(codes, axis=1))


def decode_file(coder: Coder, wav: str, path: str) -> None:
    """Write the sound of codes to a WAV file."""
    codes = np.load(path)
    with soundfile.SoundFile(wav, "w", SAMPLE_RATE, 1) as file:
        for start in range(0, codes.shape[1], coder.frames):
            file.write(coder.decode(codes[:, start : start + coder.frames].astype(np.int32))[0])


def timed(name: str, step: Callable[[Any], Any], inputs: Sequence[Any]) -> tuple[list[Any], dict[str, float]]:
    """Run a step on each input; return the outputs, and the median and 99th percentile of its milliseconds."""
    outputs, times = [], []
    for value in inputs:
        start = time.process_time()
        outputs.append(step(value))
        times.append(1000 * (time.process_time() - start))
    return outputs, {f"{name} step": float(np.median(times)), f"{name} 99 %": float(np.percentile(times, 99))}


def time_live(coder: Coder, wav: str) -> dict[str, float]:
    """Return the times of encoding and decoding one frame after the other."""
    inputs: list[np.ndarray] = [
        *np.resize(soundfile.read(wav, dtype="float32")[0], (STEPS, 1, HOP_LENGTH, 1))
    ]
    times: dict[str, float] = {}
    for name, step in (("encode", coder.encode), ("decode", coder.decode)):
        inputs, figures = timed(name, step, inputs)
        times |= figures
    return times


def main() -> None:
    """Do the task of the command line."""
    runtime, task, wav, codes = sys.argv[1:]
    whole_files = task in ("encode", "decode")
    coder = in_numpy() if runtime == "numpy" else in_litert(runtime, "" if whole_files else "_step")
    if task == "encode":
        encode_file(coder, wav, codes)
    elif task == "decode":
        decode_file(coder, wav, codes)
    elif task == "live":
        print(json.dumps(time_live(coder, wav)))
    else:
        coder.decode(coder.encode(np.zeros((1, HOP_LENGTH, 1), np.float32)))


if __name__ == "__main__":
    main()
