"""A model that trains in seconds, a folder of sound to train it on, and runs in processes of their own."""

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
from codec.network.codec import Codec
from codec.training.initialization import kmeans_start, pca_start
from codec.training.joint import JointStage
from codec.training.recipe import PriorRecipe, Recipe, Tuning
from codec.training.steps import Arrays, Stage, Stepper, new_stepper

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
    """Two segments of half a second, two steps of warm-up, few rows for the starts, no decoder stage."""
    tiny = {"batch_size": 2, "segment_seconds": 0.5, "warm_up_steps": 2, "start_frames": 400}
    made = {
        "steps": steps,
        "kmeans_iterations": 1,
        "tuning": Tuning(part=0),
        "prior": PRIOR,
        **tiny,
        **changes,
    }
    return Recipe(**made)  # type: ignore[arg-type]


def sines(seconds: float, seed: int) -> np.ndarray:
    """Notes of a quarter of a second with overtones, float32 [time]."""
    generator, time = np.random.default_rng(seed), np.arange(RATE // 4) / RATE
    notes = []
    for pitch in generator.uniform(100, 400, round(4 * seconds)):
        waves = sum(np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 6))
        notes.append(0.2 * waves * np.hanning(len(time)))
    return np.concatenate(notes).astype(np.float32)


def recordings(folder: Path, seconds: float = 6.0) -> Path:
    """Three WAVs in a new folder."""
    folder.mkdir(parents=True)
    for number in range(3):
        soundfile.write(folder / f"{number}.wav", sines(seconds, number), RATE)
    return folder


def arrays(codec: Codec, batch_size: int = 2, seconds: float = 1.0) -> Arrays:
    """A batch of sines without noise for the latents, all codebooks in use."""
    audio = np.stack([sines(seconds, 10 + number) for number in range(batch_size)])[..., None]
    rates = np.full(batch_size, codec.config.num_codebooks, np.int32)
    kept = np.ones((batch_size, audio.shape[1] // codec.config.hop_length), np.float32)
    return Arrays(
        audio, rates, np.zeros(batch_size, np.int32), np.zeros((batch_size, 0, 0), np.float32), kept
    )


def values(stage: Stage) -> dict[str, np.ndarray]:
    """All that a checkpoint holds, copied."""
    return {name: np.array(ops.convert_to_numpy(variable.value)) for name, variable in stage.state().items()}


@dataclasses.dataclass(frozen=True)
class Bench:
    """A started codec and its step: compiling one costs seconds, so tests share it and put it back."""

    stage: JointStage
    stepper: Stepper
    recipe: Recipe
    begin: dict[str, np.ndarray]

    def reset(self) -> None:
        for name, variable in self.stage.state().items():
            variable.assign(self.begin[name])
        self.stepper.reload()


@functools.cache
def bench() -> Bench:
    """The one of this process, with sines behind its principal components and codebooks."""
    keras.utils.set_random_seed(3)
    codec, made = Codec(CONFIG), recipe(100, rise_steps=1)
    audio = [sines(2.0, number)[None, :, None] for number in range(4)]
    pca_start(codec, audio)
    kmeans_start(codec, audio, 2, 0)
    stage = JointStage(codec, made)
    return Bench(stage, new_stepper(stage), made, values(stage))


RUN = """
import sys, pathlib
import keras, numpy as np, tiny_training as tiny
from codec.training import trainer
trainer.HELD_OUT_SECONDS, trainer.HELD_OUT_COUNT = 1.0, 2
folder, output, steps, minutes = sys.argv[1:]
say = lambda line: print(line, flush=True)
made = tiny.recipe(int(steps), checkpoint_minutes=float(minutes))
trainer.train(pathlib.Path(folder), pathlib.Path(output), made, say, config=tiny.CONFIG, show=say)
print(keras.backend.backend(), "tensorflow" in sys.modules)
"""


def start(code: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Run Python code that sees the checkout and this module."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a process that must succeed; gives what it printed."""
    printed, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors
    return printed
