"""The network alone, in numpy or as `lamella export --format litert` has written it, as a process with one thread.

`speed.py --litert FOLDER` runs `litert.py numpy|FOLDER start|live|encode|decode WAV CODES`. In files an export codes
whole signals of 4 seconds, which of 1, 2, 4, 8 took the least time; numpy codes steps of 8, as `lamella` does.
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

ROOT = Path(__file__).parent.parent.parent
RATE, HOP, STEPS = 48000, 960, 1000  # Hz, samples
CODEBOOKS = 12  # of 24: 6 kbit/s
Step = Callable[[np.ndarray], np.ndarray]


class Coder(NamedTuple):
    """Audio [1, time, 1] to codes [1, frame, codebook] and back, so many frames at once in a file."""

    encode: Step
    decode: Step
    frames: int


def in_numpy() -> Coder:
    """The shipped preset, as a stream of steps of any length."""
    sys.path.insert(0, str(ROOT))
    from codec import load

    codec = load()
    states = {"encode": codec.encoder_state(1), "decode": codec.decoder_state(1)}

    def encode(audio: np.ndarray) -> np.ndarray:
        codes, states["encode"] = codec.encode_step(audio, states["encode"], CODEBOOKS)
        return codes

    def decode(codes: np.ndarray) -> np.ndarray:
        audio, states["decode"] = codec.decode_step(codes, states["decode"])
        return audio

    return Coder(encode, decode, 400)


def in_litert(folder: str, end: str) -> Coder:
    """With the functions `encode` and `decode`, or those of one step, whose names have an end."""
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(str(Path(folder, "model.tflite")), num_threads=1)
    states: dict[str, dict[str, np.ndarray]] = {}

    def run(name: str, **given: np.ndarray) -> dict[str, np.ndarray]:
        function = model.get_signature_runner(name + end)
        if name not in states:
            inputs: dict[str, Any] = function.get_input_details()
            states[name] = {
                key: np.zeros(one["shape"], one["dtype"]) for key, one in inputs.items() if key not in given
            }
        found: dict[str, np.ndarray] = function(**given, **states[name])
        states[name] = {key: found[key] for key in states[name]}
        return found

    def encode(audio: np.ndarray) -> np.ndarray:
        return run("encode", audio=audio)["codes"][..., :CODEBOOKS]

    def decode(codes: np.ndarray) -> np.ndarray:
        rows = np.full((*codes.shape[:2], 2 * CODEBOOKS), -1, np.int32)
        rows[..., :CODEBOOKS] = codes
        return run("decode", codes=rows)["audio"]

    return Coder(encode, decode, 200)


def encode_file(coder: Coder, wav: str, path: str) -> None:
    with soundfile.SoundFile(wav) as file:
        blocks = file.blocks(coder.frames * HOP, dtype="float32", always_2d=True)
        codes = [coder.encode(block[None])[:, : len(block) // HOP].astype(np.int16) for block in blocks]
    np.save(path, np.concatenate(codes, axis=1))


def decode_file(coder: Coder, wav: str, path: str) -> None:
    codes = np.load(path)
    with soundfile.SoundFile(wav, "w", RATE, 1) as file:
        for at in range(0, codes.shape[1], coder.frames):
            file.write(coder.decode(codes[:, at : at + coder.frames].astype(np.int32))[0])


def timed(name: str, step: Callable[[Any], Any], given: Sequence[Any]) -> tuple[list[Any], dict[str, float]]:
    """What a step makes of each, and its milliseconds of the processor: the median, and what 99 % do not exceed."""
    made, times = [], []
    for one in given:
        start = time.process_time()
        made.append(step(one))
        times.append(1000 * (time.process_time() - start))
    return made, {f"{name} step": float(np.median(times)), f"{name} 99 %": float(np.percentile(times, 99))}


def live(coder: Coder, wav: str) -> dict[str, float]:
    """What `timed` tells of frames."""
    given: list[np.ndarray] = [*np.resize(soundfile.read(wav, dtype="float32")[0], (STEPS, 1, HOP, 1))]
    found: dict[str, float] = {}
    for name, step in (("encode", coder.encode), ("decode", coder.decode)):
        given, figures = timed(name, step, given)
        found |= figures
    return found


def main() -> None:
    runtime, task, wav, codes = sys.argv[1:]
    of_files = task in ("encode", "decode")
    coder = in_numpy() if runtime == "numpy" else in_litert(runtime, "" if of_files else "_step")
    if task == "encode":
        encode_file(coder, wav, codes)
    elif task == "decode":
        decode_file(coder, wav, codes)
    elif task == "live":
        print(json.dumps(live(coder, wav)))
    else:
        coder.decode(coder.encode(np.zeros((1, HOP, 1), np.float32)))


if __name__ == "__main__":
    main()
