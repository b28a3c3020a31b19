"""Run a preset on fixed audio and codes, and through two training steps, on the backend that Keras uses.

    python backend_side.py PRESET RESULT.npz

`tests/network/test_backends.py` calls `results` on one backend, and runs this program for the other.
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
    """Return Gaussian noise of variance 1, float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def chords(codec: Codec) -> np.ndarray:
    """Return a chord over noise in each item, [batch, time, 1]."""
    time = np.arange(FRAMES * codec.config.hop_length) / codec.config.sample_rate
    waves = [sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 6)) for pitch in (150, 220)]
    return (0.2 * np.stack(waves)[..., None] + 0.01 * noise(BATCH, len(time), 1)).astype(np.float32)


def coding(codec: Codec) -> dict[str, np.ndarray]:
    """Return latents, codes, and the audio of random codes."""
    audio, config = chords(codec), codec.config
    shape = (BATCH, FRAMES, config.num_codebooks)
    random_codes = np.random.default_rng(1).integers(0, config.codebook_size, shape).astype(np.int32)
    codes, _ = codec.encode_step(audio, codec.encoder_state(BATCH), config.num_codebooks)
    decoded, _ = codec.decode_step(random_codes, codec.decoder_state(BATCH))
    latents, _ = compiled(codec.encoder.step)(audio, codec.encoder.initial_state(BATCH))
    return {"latents": latents, "codes": codes, "decoded": decoded}


def gradients_of_straight_through() -> dict[str, np.ndarray]:
    """Return the value of `straight_through`, and the gradients to both arguments."""
    latents, quantized, upstream = noise(3, 4), noise(3, 4, seed=1), noise(3, 4, seed=2)
    if keras.backend.backend() == "jax":
        import jax

        value, backward = jax.vjp(straight_through, latents, quantized)
        gradients = backward(jax.numpy.asarray(upstream))
    else:
        import tensorflow as tf

        arguments = [tf.constant(latents), tf.constant(quantized)]
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            value = straight_through(*arguments)
        gradients = tape.gradient(value, arguments, upstream, unconnected_gradients="zero")
    return {"value": value, "to_latents": gradients[0], "to_quantized": gradients[1]}


def training(codec: Codec) -> dict[str, np.ndarray]:
    """Return the losses of two joint steps, and the change of the weights in the first."""
    stage, config = JointStage(codec, Recipe(steps=1)), codec.config
    before = keras.ops.convert_to_numpy(stage.parameters.master.value).copy()
    num_codebooks = np.full(BATCH, config.num_codebooks, np.int32)
    no_pitch = np.zeros((BATCH, 0, 0), np.float32)
    inputs = StepInputs(
        chords(codec),
        num_codebooks,
        np.array([0, 9], np.int32),
        no_pitch,
        np.zeros((BATCH, 0, 0), np.float32),
        np.ones((BATCH, FRAMES), np.float32),
    )
    stepper = new_stepper(stage)
    report = stepper.step(inputs, 1e-3, 1)
    stepper.write_variables()
    losses = {f"loss {name}": value for name, value in report.losses.items()}
    changed = {
        "change": keras.ops.convert_to_numpy(stage.parameters.master.value) - before,
        "codebooks": keras.ops.copy(codec.quantizer.codebooks.value),
        "mean": keras.ops.copy(codec.encoder.standardize.mean.value),
    }
    second = stepper.step(inputs, 1e-3, 1)  # uses the codebooks that the first step moved
    return {
        **losses,
        "gradient_norm": report.gradient_norm,
        **changed,
        "commitment": second.losses["commitment"],
    }


def results(preset: str) -> dict[str, np.ndarray]:
    """Return all arrays that the backends must agree on."""
    codec = load_keras(preset)
    arrays = {**coding(codec), **gradients_of_straight_through(), **training(codec)}
    return {name: keras.ops.convert_to_numpy(array) for name, array in arrays.items()}


if __name__ == "__main__":
    np.savez(sys.argv[2], backend=keras.backend.backend(), **results(sys.argv[1]))
