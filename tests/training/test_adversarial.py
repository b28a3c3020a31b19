"""The adversarial stage: discriminators, the balance of the gradients, and what a step leaves unchanged."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras import ops
from support import tiny_training as tiny

from codec.training import adversarial
from codec.training.adversarial import AdversarialStage
from codec.training.data import Batch
from codec.training.discriminators import (
    DiscriminatorOutput,
    FineStructure,
    FrequencyRange,
    adversarial_loss,
    feature_distance,
    hinge_loss,
    new_discriminators,
)
from codec.training.recipe import AdversarialRecipe
from codec.training.steppers import Stepper, new_stepper
from codec.training.steps import StepInputs

SMALL = AdversarialRecipe(
    windows=(0.032, 0.016),
    lowest_frequency=500.0,
    highest_frequency=3000.0,
    channels=(4, 4, 4, 4),
    crop_frames=40,
    context_frames=4,
    segments=16,
    head_start=1,
    learning_rate=1e-3,
)


class Bench(NamedTuple):
    """A stage and its step, compiled once."""

    stage: AdversarialStage
    stepper: Stepper
    initial: dict[str, np.ndarray]


@functools.cache
def shared() -> Bench:
    keras.utils.set_random_seed(5)
    stage = AdversarialStage(
        tiny.bench().stage.codec, dataclasses.replace(tiny.bench().recipe, adversarial=SMALL)
    )
    return Bench(stage, new_stepper(stage), tiny.values(stage))


@pytest.fixture
def bench() -> Iterator[Bench]:
    yield shared()
    for name, variable in shared().stage.state().items():
        variable.assign(shared().initial[name])
    shared().stepper.read_variables()


def crops(stage: AdversarialStage, batch_size: int = 2) -> StepInputs:
    """Return a batch of sines with the latents that all codebooks leave of them."""
    batch = tiny.inputs(stage.codec, batch_size)
    latents, _ = stage.codec.encoder.step(batch.audio, stage.codec.encoder.initial_state(batch_size))
    quantized = stage.codec.quantizer.quantize_latents(latents, batch.num_codebooks).quantized
    return batch._replace(quantized=ops.convert_to_numpy(quantized))


def output(logit: float) -> DiscriminatorOutput:
    return DiscriminatorOutput(ops.array([[logit]]), [ops.array([[logit, 2.0]])])


def test_losses_of_a_discriminator() -> None:
    assert float(hinge_loss(output(1.5), output(-3.0))) == 0
    assert float(hinge_loss(output(0.0), output(0.5))) == pytest.approx(2.5)
    assert float(adversarial_loss(output(1.5))) == pytest.approx(-1.5)


def test_feature_distance_is_relative() -> None:
    assert float(feature_distance(output(1.0), output(1.0))) == 0
    assert float(feature_distance(output(2.0), output(4.0))) == pytest.approx(1.0 / 2.0, rel=1e-4)


def test_the_shapes_of_logits_and_features() -> None:
    [discriminator] = new_discriminators(8000, (0.032,), FrequencyRange(1000, 3000), (4, 4, 6, 8), "float32")
    found = discriminator(noise(2, 2048))
    assert [tuple(x.shape) for x in found.features] == [
        (2, 29, 16, 4),
        (2, 29, 4, 4),
        (2, 15, 2, 6),
        (2, 8, 1, 8),
    ]
    assert tuple(found.logits.shape) == (2, 8, 1, 1)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_discriminators_see_nothing_outside_their_frequencies() -> None:
    structure = FineStructure(256, 8000, FrequencyRange(1000, 3000))
    time = np.arange(4096) / 8000
    middle = noise(1, 4096)
    tones = [(0.3 * np.sin(2 * np.pi * hertz * time))[None].astype(np.float32) for hertz in (250, 3750)]
    seen = [ops.convert_to_numpy(structure(audio)) for audio in (middle, *(middle + tone for tone in tones))]
    np.testing.assert_allclose(seen[1], seen[0], atol=0.01)
    np.testing.assert_allclose(seen[2], seen[0], atol=0.01)


def test_discriminators_see_no_levels() -> None:
    structure = FineStructure(256, 8000, FrequencyRange(500, 3900))
    audio = noise(1, 8192)
    loud, quiet = (ops.convert_to_numpy(structure(gain * audio)) for gain in (1.0, 0.1))
    np.testing.assert_allclose(loud, quiet, atol=0.01)
    tilted = np.cumsum(audio, axis=1).astype(np.float32)  # 6 dB less in each octave
    falling = ops.convert_to_numpy(structure(tilted - tilted.mean()))
    assert abs(float(falling.mean() - loud.mean())) < 0.1
    time = np.arange(8192) / 8000
    tone = np.sin(2 * np.pi * 1000 * time)[None].astype(np.float32)
    assert ops.convert_to_numpy(structure(audio + 5 * tone)).std() > 1.2 * loud.std()


def test_the_first_norms_count_in_full() -> None:
    first = adversarial.update_norms(ops.zeros(2), ops.array([2.0, 3.0]))
    assert ops.convert_to_numpy(first).tolist() == pytest.approx([2.0, 3.0])
    later = adversarial.update_norms(first, ops.array([4.0, 3.0]))
    assert ops.convert_to_numpy(later).tolist() == pytest.approx([2.02, 3.0])


def test_a_step_leaves_encoder_and_codebooks_unchanged(bench: Bench) -> None:
    batch = crops(bench.stage, 1)  # of one item, for a small graph
    for number in range(3):
        before = tiny.values(bench.stage)
        report = bench.stepper.step(batch, 1e-3, number)
        bench.stepper.write_variables()
        now = tiny.values(bench.stage)
        moved = {name for name in now if not np.array_equal(now[name], before[name])}
        learning = {name for name in moved if name.startswith("discriminators.")}
        assert {name.split(".")[1] for name in learning} == ({str(number)} if number < 2 else set())
        assert "norms" in moved
        assert ("decoder.master" in moved) is (
            number > 0
        )  # in the first step the discriminators know nothing
        assert not any(name.startswith("weights.") for name in moved)
        assert all(np.isfinite(float(value)) for value in report.losses.values())
    bench.stage.parameters.write_back(bench.stage.parameters.average)
    settled = tiny.values(bench.stage)
    changed = {name for name in settled if not np.array_equal(settled[name], now[name])}
    assert changed and all(name.startswith("weights.decoder.") for name in changed)


def test_discriminators_learn_and_the_decoder_follows(bench: Bench) -> None:
    batch = crops(bench.stage, 1)
    reports = [bench.stepper.step(batch, 2e-3, number).losses for number in range(90)]
    hinges = [float(figures["hinge"]) for figures in reports if "hinge" in figures]
    assert len(hinges) == 60
    assert hinges[0] == pytest.approx(2.0, abs=0.5)
    assert min(hinges) < 0.8 * hinges[0]
    distances = [float(figures["mel"]) for figures in reports[2::3]]
    assert distances[-1] < 1.05 * distances[0]


def test_a_context_before_the_crop_is_not_compared(bench: Bench) -> None:
    batch, hop = crops(bench.stage, 1), tiny.CONFIG.hop_length
    other = batch.audio.copy()
    other[:, : SMALL.context_frames * hop] = 0
    found = [
        bench.stepper.step(batch._replace(audio=audio), 0.0, 2).losses["mel"]
        for audio in (batch.audio, other)
    ]
    assert float(found[0]) == float(found[1])


def test_lost_frames_are_zeros_for_the_decoder(bench: Bench) -> None:
    batch = crops(bench.stage, 1)
    kept = batch.kept_frames.copy()
    kept[0, 20:25] = 0
    cut = batch.quantized.copy()
    cut[0, 20:25] = 0
    whole, lost, zeros = (
        float(bench.stepper.step(each, 0.0, 2).losses["mel"])
        for each in (batch, batch._replace(kept_frames=kept), batch._replace(quantized=cut))
    )
    assert lost == zeros != whole


def test_the_inputs_lose_frames_by_the_seeds_of_the_batch(bench: Bench) -> None:
    recipe = dataclasses.replace(SMALL, erasure_probability=1.0)
    stage = bench.stage
    before, stage.recipe = stage.recipe, dataclasses.replace(stage.recipe, adversarial=recipe)
    counts = np.array([3, 3], np.int32)
    audio, none = np.zeros((2, 1600, 1), np.float32), np.zeros((2, 0, 0), np.float32)
    batch = Batch(audio, counts, counts, np.array([1, 2], np.int32), none)
    first, again = stage.inputs(batch).kept_frames, stage.inputs(batch).kept_frames
    stage.recipe = before
    assert np.array_equal(first, again)
    assert (first == 0).any(axis=1).all() and not np.array_equal(first[0], first[1])


def test_some_items_lose_a_few_frames_in_a_row() -> None:
    kept = adversarial.draw_kept_frames(
        np.random.default_rng(0), (2000, 50), AdversarialRecipe(erasure_probability=0.1, max_erased_frames=5)
    )
    lost = (1 - kept).sum(axis=1)
    assert 0.07 < (lost > 0).mean() < 0.13
    assert set(lost.astype(int)) == set(range(6))
    edges = np.abs(np.diff(kept, axis=1, prepend=1, append=1)).sum(axis=1)
    assert edges.max() == 2  # one run


def test_the_share_of_the_discriminators_falls_with_the_bitrate() -> None:
    counts = np.array([3, 6, 12, 24], np.int32)
    found = ops.convert_to_numpy(adversarial.discriminator_share(counts, (3, 6, 12, 24), (0.4, 0.1)))
    np.testing.assert_allclose(found, [0.4, 0.3, 0.2, 0.1], rtol=1e-5)
    alone = adversarial.discriminator_share(np.array([2, 2], np.int32), (2,), (0.4, 0.1))
    np.testing.assert_allclose(ops.convert_to_numpy(alone), 0.4, rtol=1e-6)
