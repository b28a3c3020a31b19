"""Run an ONNX export as its manifest describes it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime

from codec.export.manifest import MANIFEST

Arrays = dict[str, np.ndarray]


class OnnxExport:
    """An ONNX export that was opened.

    Args:
        directory: of the export.

    Attributes:
        manifest: as it stands beside the graphs.
        sessions: one for each function.
    """

    def __init__(self, directory: Path) -> None:
        self.manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.sessions = {
            name: onnxruntime.InferenceSession(directory / function["file"], options)
            for name, function in self.manifest["functions"].items()
        }

    def initial_state(self, function: str, batch: int, first_frame: int = 0) -> Arrays:
        """Return the state before the first call of a stream that starts at a code frame."""
        state = {
            name: np.zeros([batch, *array["shape"][1:]], array["dtype"])
            for name, array in self.manifest["functions"][function]["state"].items()
        }
        if "frame" in state:
            offsets = np.arange(batch) * self.manifest["channel_noise_offset"]
            state["frame"][:] = (2 * first_frame + offsets) % self.manifest["noise_period"]
        return state

    def run(self, function: str, state: Arrays, **inputs: np.ndarray) -> tuple[np.ndarray, Arrays]:
        """Call a function; return its output and the state after it."""
        session = self.sessions[function]
        names = [output.name for output in session.get_outputs()]
        outputs = dict(zip(names, session.run(names, {**inputs, **state}), strict=True))
        (output,) = self.manifest["functions"][function]["outputs"]
        return outputs[output], {name: outputs[f"next_{name}"] for name in state}

    def encode(
        self, audio: np.ndarray, num_codebooks: int | None = None, frames: int | None = None
    ) -> np.ndarray:
        """Return the codes of audio [batch, time, 1], with the resets of a file, so many frames in a call."""
        count, hop = num_codebooks or self.manifest["num_codebooks"], self.manifest["hop_length"]
        state, codes = self.initial_state("encode", len(audio)), []
        total = -(-audio.shape[1] // hop)
        for start in range(0, total, frames or total):
            block = audio[:, start * hop : (start + (frames or total)) * hop]
            made, state = self.run(
                "encode",
                state,
                audio=block,
                resets=self.resets(len(audio), start, -(-block.shape[1] // hop)),
                num_codebooks=np.array([count], np.int32),
            )
            codes.append(made)
        return np.concatenate(codes, axis=1)

    def decode(self, codes: np.ndarray, frames: int | None = None) -> np.ndarray:
        """Return the audio of codes [batch, frame, codebook], with the resets of a file, so many frames in a call."""
        missing = self.manifest["num_codebooks"] - codes.shape[2]
        codes = np.pad(codes, ((0, 0), (0, 0), (0, missing)), constant_values=-1)
        state, audio, total = self.initial_state("decode", len(codes)), [], codes.shape[1]
        for start in range(0, total, frames or total):
            part = codes[:, start : start + (frames or total)]
            made, state = self.run(
                "decode", state, codes=part, resets=self.resets(len(codes), start, part.shape[1])
            )
            audio.append(made)
        return np.concatenate(audio, axis=1)

    def resets(self, batch: int, start: int, frames: int) -> np.ndarray:
        """Return where the predictor starts again in a file of chunks of one second."""
        numbers = start + np.arange(frames)
        return np.tile(numbers % self.manifest["reset_interval"] == 0, (batch, 1))
