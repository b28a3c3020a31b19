"""What a saved codec makes of fixed sounds and codes, and of one training step, on the backend Keras runs on.

    python backend_side.py PRESET RESULT.npz

test_backends.py calls `outcomes` itself on one backend, and runs this program for the other.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from codec.network.codec import Codec
from codec.network.compiled import compiled
from codec.network.quantizer import straight_through
from codec.presets import load_keras
from codec.training.joint import JointStage
from codec.training.recipe import Recipe
from codec.training.steppers import new_stepper
from codec.training.steps import StepInputs

FRAMES, BATCH = 26, 2


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def sound(codec: Codec) -> np.ndarray:
    """A chord over noise, [batch, time, 1]."""
    time = np.arange(FRAMES * codec.config.hop_length) / codec.config.sample_rate
    chords = [sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 6)) for pitch in (150, 220)]
    return (0.2 * np.stack(chords)[..., None] + 0.01 * noise(BATCH, len(time), 1)).astype(np.float32)


def coded(codec: Codec) -> dict[str, np.ndarray]:
    """Latents, codes, and the sound of codes drawn at random."""
    audio, config = sound(codec), codec.config
    shape = (BATCH, FRAMES, config.num_codebooks)
    drawn = np.random.default_rng(1).integers(0, config.codebook_size, shape).astype(np.int32)
    codes, _ = codec.encode_step(audio, codec.encoder_state(BATCH), config.num_codebooks)
    decoded, _ = codec.decode_step(drawn, codec.decoder_state(BATCH))
    latents, _ = compiled(codec.encoder.step)(audio, codec.encoder.initial_state(BATCH))
    return {"latents": latents, "codes": codes, "decoded": decoded}


def passed_through() -> dict[str, np.ndarray]:
    """The value of `straight_through`, and the gradients to both of its arguments."""
    latents, quantized, upstream = noise(3, 4), noise(3, 4, seed=1), noise(3, 4, seed=2)
    if keras.backend.backend() == "jax":
        import jax

        value, backward = jax.vjp(straight_through, latents, quantized)
        gradients = backward(jax.numpy.asarray(upstream))
    else:
        import tensorflow as tf

        given = [tf.constant(latents), tf.constant(quantized)]
        with tf.GradientTape() as tape:
            tape.watch(given)
            value = straight_through(*given)
        gradients = tape.gradient(value, given, upstream, unconnected_gradients="zero")
    return {"value": value, "to_latents": gradients[0], "to_quantized": gradients[1]}


def trained(codec: Codec) -> dict[str, np.ndarray]:
    """Losses of two joint steps, and what the first moved."""
    stage, config = JointStage(codec, Recipe(steps=1)), codec.config
    before = keras.ops.convert_to_numpy(stage.parameters.master.value).copy()
    books = np.full(BATCH, config.num_codebooks, np.int32)
    nothing = np.zeros((BATCH, 0, 0), np.float32)
    arrays = StepInputs(
        sound(codec), books, np.array([0, 9], np.int32), nothing, np.ones((BATCH, FRAMES), np.float32)
    )
    stepper = new_stepper(stage)
    report = stepper.step(arrays, 1e-3, 1)
    stepper.write_variables()
    losses = {f"loss {name}": value for name, value in report.losses.items()}
    moved = {
        "moved": keras.ops.convert_to_numpy(stage.parameters.master.value) - before,
        "codebooks": keras.ops.copy(codec.quantizer.codebooks.value),
        "mean": keras.ops.copy(codec.encoder.standardize.mean.value),
    }
    again = stepper.step(arrays, 1e-3, 1)  # with the codebooks that the first step moved
    return {**losses, "norm": report.gradient_norm, **moved, "commitment": again.losses["commitment"]}


def outcomes(preset: str) -> dict[str, np.ndarray]:
    codec = load_keras(preset)
    found = {**coded(codec), **passed_through(), **trained(codec)}
    return {name: keras.ops.convert_to_numpy(value) for name, value in found.items()}


if __name__ == "__main__":
    np.savez(sys.argv[2], backend=keras.backend.backend(), **outcomes(sys.argv[1]))
