"""Run the functions of an export, and the codec in numpy to compare them with."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from codec.export.litert import LITERT_FILE
from codec.export.manifest import MANIFEST
from codec.runtime import NumpyCodec

Arrays = dict[str, np.ndarray]
NEEDS_LITERT = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None, reason="pip install 'lamella[litert]'"
)
EACH_FORMAT = ["saved-model", pytest.param("litert", marks=NEEDS_LITERT)]
TIES = 0.01  # share of codes: many random codewords are nearly as near as another


class Export(NamedTuple):
    """An export that was opened."""

    manifest: dict[str, Any]
    runner: Callable[[str], Callable[..., Any]]

    def run(self, function: str, **inputs: np.ndarray) -> Arrays:
        """Run a function on arrays."""
        return {name: np.asarray(array) for name, array in self.runner(function)(**inputs).items()}

    def initial_state(self, function: str, batch_size: int) -> Arrays:
        """Return the state before the first step, as the manifest describes it."""
        state = {
            name: np.zeros([batch_size, *array["shape"][1:]], array["dtype"])
            for name, array in self.manifest["functions"][function]["state"].items()
        }
        if "frame" in state:
            numbers = np.arange(batch_size) * self.manifest["channel_noise_offset"]
            state["frame"] += (numbers % self.manifest["noise_period"]).astype(np.int32)
        return state


def open_export(directory: Path) -> Export:
    """Open an export of any format."""
    manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    if manifest["format"] == "saved-model":
        model = tf.saved_model.load(str(directory))
        return Export(manifest, lambda name: model.signatures[name])
    from ai_edge_litert.interpreter import Interpreter

    return Export(manifest, Interpreter(str(directory / LITERT_FILE)).get_signature_runner)


def code_whole(codec: NumpyCodec, audio: np.ndarray) -> np.ndarray:
    """Return all codes of a whole signal [batch, time, 1], as in a file."""
    padding = codec.latency + -(audio.shape[1] + codec.latency) % codec.config.hop_length
    audio = np.pad(audio, ((0, 0), (0, padding), (0, 0)))
    return codec.encode_step(audio, codec.encoder_state(len(audio)), codec.config.num_codebooks)[0]


def decode_whole(codec: NumpyCodec, codes: np.ndarray) -> np.ndarray:
    """Return the audio of a whole signal, from the first sample of the source on."""
    return codec.decode_step(codes, codec.decoder_state(len(codes)))[0][:, codec.latency :]


def check_audio(found: np.ndarray, expected: np.ndarray) -> None:
    """Check that samples agree within 1e-3 or 1e-5 of the loudest."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=max(1e-3, 1e-5 * np.abs(expected).max()))


def check_whole_signal(
    export: Export, codec: NumpyCodec, audio: np.ndarray, max_different_codes: float
) -> None:
    """Check `encode` and `decode` on audio [batch, time, 1] against the codec in numpy."""
    codes = code_whole(codec, audio)
    exported_codes = export.run("encode", audio=audio)["codes"]
    assert exported_codes.dtype == np.int32 and exported_codes.shape == codes.shape
    assert np.mean(exported_codes != codes) < max_different_codes
    decoded = export.run("decode", codes=codes)["audio"]
    assert decoded.shape[1] >= audio.shape[1]
    check_audio(decoded, decode_whole(codec, codes))


def run_steps(export: Export, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Code and decode audio [batch, time, 1] frame by frame, with the resets of a file; return codes and audio."""
    hop, interval = export.manifest["hop_length"], export.manifest["reset_interval"]
    encoder, decoder = (export.initial_state(name, len(audio)) for name in ("encode_step", "decode_step"))
    codes, decoded = [], []
    for number, frame in enumerate(np.split(audio, audio.shape[1] // hop, axis=1)):
        if number % interval == 0:
            encoder["base"], decoder["base"] = np.zeros_like(encoder["base"]), np.zeros_like(decoder["base"])
        encoder = export.run("encode_step", audio=frame, **encoder)
        codes.append(encoder.pop("codes"))
        decoder = export.run("decode_step", codes=codes[-1], **decoder)
        decoded.append(decoder.pop("audio"))
    return np.concatenate(codes, axis=1), np.concatenate(decoded, axis=1)


def check_steps(export: Export, codec: NumpyCodec, audio: np.ndarray, max_different_codes: float) -> None:
    """Check `encode_step` and `decode_step` frame by frame against the codec in numpy on the whole signal."""
    codes, decoded = run_steps(export, audio)
    whole, _ = codec.encode_step(audio, codec.encoder_state(len(audio)), codec.config.num_codebooks)
    assert np.mean(codes != whole) < max_different_codes
    expected, _ = codec.decode_step(codes, codec.decoder_state(len(audio)))
    check_audio(decoded, expected)
