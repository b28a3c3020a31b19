"""A model that trains in seconds, a folder of audio to train it on, and training runs in separate processes."""

from __future__ import annotations

import dataclasses
import functools
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import soundfile
from keras import ops

from codec.config import CodecConfig
from codec.network import Codec
from codec.training.initialization import initialize_codebooks, initialize_linear_paths
from codec.training.joint import JointStage
from codec.training.recipe import AdversarialRecipe, PriorRecipe, Recipe
from codec.training.steppers import Stepper, new_stepper
from codec.training.steps import Stage, StepInputs

ROOT = Path(__file__).parents[2]
RATE = 8000  # Hz

CONFIG = CodecConfig(
    sample_rate=RATE,
    hop_length=160,
    mel_bands=16,
    spectrum_limit=4000,
    envelope_dim=4,
    phase_dim=4,
    detail_dim=2,
    num_codebooks=3,
    codebook_size=16,
    encoder_fine_width=16,
    encoder_width=16,
    encoder_blocks=1,
    decoder_width=16,
    decoder_blocks=1,
    decoder_fine_width=16,
    decoder_fine_blocks=1,
    noise_channels=2,
)

PRIOR = PriorRecipe(frames=400, epochs=1, wide=8, narrow=8)


def recipe(steps: int, **changes: object) -> Recipe:
    """Return a recipe of small batches, a short warm-up and validation, and no adversarial stage."""
    settings = {
        "steps": steps,
        "batch_size": 2,
        "segment_seconds": 0.5,
        "warm_up_steps": 2,
        "initial_frames": 400,
        "kmeans_iterations": 1,
        "held_out_seconds": 1.0,
        "held_out_segments": 2,
        "adversarial": AdversarialRecipe(share=0),
        "prior": PRIOR,
    }
    return Recipe(**{**settings, **changes})  # type: ignore[arg-type]


def sines(seconds: float, seed: int) -> np.ndarray:
    """Return notes of a quarter of a second with overtones, float32 [time]."""
    generator, time = np.random.default_rng(seed), np.arange(RATE // 4) / RATE
    notes = []
    for pitch in generator.uniform(100, 400, round(4 * seconds)):
        waves = sum(np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 6))
        notes.append(0.2 * waves * np.hanning(len(time)))
    return np.concatenate(notes).astype(np.float32)


def recordings(folder: Path, seconds: float = 6.0) -> Path:
    """Write three WAVs to a new folder and return it."""
    folder.mkdir(parents=True)
    for number in range(3):
        soundfile.write(folder / f"{number}.wav", sines(seconds, number), RATE)
    return folder


def inputs(codec: Codec, batch_size: int = 2, seconds: float = 1.0) -> StepInputs:
    """Return a batch of sines with all codebooks in use, no latent noise and no lost frames."""
    audio = np.stack([sines(seconds, 10 + number) for number in range(batch_size)])[..., None]
    return StepInputs(
        audio=audio,
        num_codebooks=np.full(batch_size, codec.config.num_codebooks, np.int32),
        noise_start=np.zeros(batch_size, np.int32),
        latent_noise=np.zeros((batch_size, 0, 0), np.float32),
        quantized=np.zeros((batch_size, 0, 0), np.float32),
        kept_frames=np.ones((batch_size, audio.shape[1] // codec.config.hop_length), np.float32),
    )


def values(stage: Stage) -> dict[str, np.ndarray]:
    """Return a copy of everything that a checkpoint holds."""
    return {name: np.array(ops.convert_to_numpy(variable.value)) for name, variable in stage.state().items()}


@dataclasses.dataclass(frozen=True)
class Bench:
    """An initialized stage and its compiled step. Compiling takes seconds, so tests share it and reset it."""

    stage: JointStage
    stepper: Stepper
    recipe: Recipe
    initial: dict[str, np.ndarray]

    def reset(self) -> None:
        for name, variable in self.stage.state().items():
            variable.assign(self.initial[name])
        self.stepper.read_variables()


@functools.cache
def bench() -> Bench:
    """Return the bench of this process, initialized on sines."""
    keras.utils.set_random_seed(3)
    codec, settings = Codec(CONFIG), recipe(100, rise_steps=1)
    audio = [sines(2.0, number)[None, :, None] for number in range(4)]
    initialize_linear_paths(codec, audio)
    initialize_codebooks(codec, audio, 2, 0)
    stage = JointStage(codec, settings)
    return Bench(stage, new_stepper(stage), settings, values(stage))


RUN = """
import sys, pathlib
import keras
from support import tiny_training as tiny
from codec.training.trainer import train
folder, output, steps, minutes = sys.argv[1:]
say = lambda line: print(line, flush=True)
recipe = tiny.recipe(int(steps), checkpoint_minutes=float(minutes))
train(pathlib.Path(folder), pathlib.Path(output), recipe, say, config=tiny.CONFIG, show=say)
print(keras.backend.backend(), "tensorflow" in sys.modules)
"""


def start(code: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Start a Python program that can import the checkout and the test helpers."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a program that must succeed, and return what it printed."""
    printed, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors
    return printed
