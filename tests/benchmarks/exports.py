"""Run the network alone, in numpy or as `lamella export` wrote it for LiteRT or ONNX, in one process on one thread.

`speed.py --export FOLDER` runs `exports.py numpy|FOLDER start|live|encode|decode WAV CODES`. Files are coded in pieces:
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
    """Return the default preset as a stream of steps, with the search of exports."""
    sys.path.insert(0, str(ROOT))
    from codec import load

    model = load(effort=0)
    states = {"encode": model.encoder_state(1), "decode": model.decoder_state(1)}

    def encode(audio: np.ndarray) -> np.ndarray:
        codes, states["encode"] = model.encode_step(audio, states["encode"], CODEBOOKS)
        return codes

    def decode(codes: np.ndarray) -> np.ndarray:
        audio, states["decode"] = model.decode_step(codes, states["decode"])
        return audio

    return Coder(encode, decode, 400)


def in_litert(folder: str, suffix: str) -> Coder:
    """Return an export for LiteRT: its functions `encode` and `decode`, or with the suffix `_step` those of a step."""
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


def in_onnx(folder: str) -> Coder:
    """Return an export as ONNX graphs as a stream of calls."""
    import onnxruntime

    manifest = json.loads(Path(folder, "manifest.json").read_text())
    interval = manifest["reset_interval"]
    missing = [(0, 0), (0, 0), (0, manifest["num_codebooks"] - CODEBOOKS)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    sessions: dict[str, Any] = {}
    states: dict[str, dict[str, np.ndarray]] = {}
    frames = dict.fromkeys(manifest["functions"], 0)  # that went through each function

    def run(name: str, count: int, **given: np.ndarray) -> np.ndarray:
        function = manifest["functions"][name]
        if name not in sessions:
            sessions[name] = onnxruntime.InferenceSession(Path(folder, function["file"]), options)
            states[name] = {
                key: np.zeros([1, *array["shape"][1:]], array["dtype"])
                for key, array in function["state"].items()
            }
        resets = (frames[name] + np.arange(count))[None] % interval == 0
        frames[name] += count
        after = [f"next_{key}" for key in states[name]]
        (output,) = function["outputs"]
        result, *kept = sessions[name].run([output, *after], {**given, "resets": resets, **states[name]})
        states[name] = dict(zip(states[name], kept, strict=True))
        made: np.ndarray = result
        return made

    def encode(audio: np.ndarray) -> np.ndarray:
        count = -(-audio.shape[1] // HOP_LENGTH)
        wanted = np.array([CODEBOOKS], np.int32)
        return run("encode", count, audio=audio, num_codebooks=wanted)[..., :CODEBOOKS]

    def decode(codes: np.ndarray) -> np.ndarray:
        return run("decode", codes.shape[1], codes=np.pad(codes, missing, constant_values=-1))

    return Coder(encode, decode, 200)


def format_of(folder: str) -> str:
    """Return the format of an export: "onnx" or "litert"."""
    name: str = json.loads(Path(folder, "manifest.json").read_text())["format"]
    return name


def open_runtime(runtime: str, whole_files: bool) -> Coder:
    """Return the network in a runtime: "numpy", or the folder of an export."""
    if runtime == "numpy":
        return in_numpy()
    if format_of(runtime) == "onnx":
        return in_onnx(runtime)
    return in_litert(runtime, "" if whole_files else "_step")


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
    coder = open_runtime(runtime, whole_files=task in ("encode", "decode"))
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
