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
    Discriminator,
    DiscriminatorOutput,
    Discriminators,
    adversarial_loss,
    feature_distance,
    hinge_loss,
)
from codec.training.recipe import AdversarialRecipe
from codec.training.steppers import Stepper, new_stepper

SMALL = AdversarialRecipe(
    windows=(0.032, 0.016),
    frequency_limit=2000.0,
    channels=(4, 4, 4, 4),
    crop_seconds=0.4,
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


def outputs(*logits: float) -> list[DiscriminatorOutput]:
    return [DiscriminatorOutput(ops.array([[value]]), [ops.array([[value, 2.0]])]) for value in logits]


def test_losses_of_the_discriminators() -> None:
    assert float(hinge_loss(outputs(1.5, 2.0), outputs(-3.0, -1.0))) == 0
    assert float(hinge_loss(outputs(0.0, 2.0), outputs(0.0, -1.0))) == pytest.approx(1.0)
    assert float(adversarial_loss(outputs(1.0, 2.0))) == pytest.approx(-1.5)


def test_feature_distance_is_relative() -> None:
    assert float(feature_distance(outputs(1.0), outputs(1.0))) == 0
    assert float(feature_distance(outputs(2.0), outputs(4.0))) == pytest.approx(1.0 / 2.0, rel=1e-4)


def test_the_shapes_of_logits_and_features() -> None:
    discriminator = Discriminator(256, 60, (4, 4, 6, 8))
    discriminator.build((None, None))
    audio = np.random.default_rng(0).standard_normal((2, 2048)).astype(np.float32)
    output = discriminator(audio)
    assert discriminator.bins == 64  # 60, rounded up to a multiple of the strides
    assert [tuple(x.shape) for x in output.features] == [
        (2, 29, 16, 4),
        (2, 29, 4, 4),
        (2, 15, 2, 6),
        (2, 8, 1, 8),
    ]
    assert tuple(output.logits.shape) == (2, 8, 1, 1)
    assert Discriminator(256, 10_000, (1, 1, 1, 1)).bins == 128


def test_discriminators_see_nothing_above_the_frequency_limit() -> None:
    discriminators = Discriminators(8000, (0.032,), 1000.0, (4, 4, 4, 4), "float32")
    time = np.arange(4096) / 8000
    low = 0.1 * np.sin(2 * np.pi * 500 * time)[None].astype(np.float32)
    high = low + 0.1 * np.sin(2 * np.pi * 3500 * time).astype(np.float32)
    logits = [ops.convert_to_numpy(discriminators(audio)[0].logits) for audio in (low, high)]
    np.testing.assert_allclose(*logits, atol=1e-3)


def test_the_first_norms_count_in_full() -> None:
    first = adversarial.update_norms(ops.zeros(2), ops.array([2.0, 3.0]))
    assert ops.convert_to_numpy(first).tolist() == pytest.approx([2.0, 3.0])
    later = adversarial.update_norms(first, ops.array([4.0, 3.0]))
    assert ops.convert_to_numpy(later).tolist() == pytest.approx([2.02, 3.0])


def test_a_step_leaves_encoder_and_codebooks_unchanged(bench: Bench) -> None:
    batch = tiny.inputs(bench.stage.codec, 1)  # of one item, for a small graph
    for number in range(3):
        report = bench.stepper.step(batch, 1e-3, number)
        bench.stepper.write_variables()
        assert ("hinge" in report.losses) is (number == 1)  # the discriminators learn every other step
        assert all(np.isfinite(float(value)) for value in report.losses.values())
    now, before = tiny.values(bench.stage), bench.initial
    moved = {name for name in now if not np.array_equal(now[name], before[name])}
    assert {"decoder.master", "decoder.average", "discriminators.master", "norms"} <= moved
    assert not any(name.startswith("weights.") for name in moved)
    bench.stage.parameters.write_back(bench.stage.parameters.average)
    settled = tiny.values(bench.stage)
    changed = {name for name in settled if not np.array_equal(settled[name], now[name])}
    assert changed and all(name.startswith("weights.decoder.") for name in changed)


def test_discriminators_learn_and_the_decoder_follows(bench: Bench) -> None:
    batch = tiny.inputs(bench.stage.codec, 1)
    reports = [bench.stepper.step(batch, 2e-3, number).losses for number in range(60)]
    hinges = [float(figures["hinge"]) for figures in reports[1::2]]
    assert hinges[0] == pytest.approx(2.0, abs=0.3)
    assert min(hinges) < 0.8 * hinges[0]
    distances = [float(figures["mel"]) for figures in reports[::2]]
    assert distances[-1] < 1.05 * distances[0]


def test_a_crop_is_shorter_than_the_segment(bench: Bench) -> None:
    recipe = dataclasses.replace(
        tiny.bench().recipe, adversarial=dataclasses.replace(SMALL, crop_seconds=9.0)
    )
    stage = AdversarialStage(bench.stage.codec, recipe)
    room = recipe.segment_seconds * tiny.RATE - bench.stage.codec.latency - stage.crop_length
    assert bench.stage.crop_length < stage.crop_length and 0 <= room <= 2 * tiny.CONFIG.hop_length


def test_the_crop_is_placed_by_the_batch(bench: Bench) -> None:
    batch = tiny.inputs(bench.stage.codec)
    starts = [
        int(bench.stage._prepare(batch._replace(noise_start=np.array([start, 7], np.int32))).crop_start)
        for start in (0, 4095)
    ]
    room = batch.audio.shape[1] - bench.stage.codec.latency - bench.stage.crop_length
    assert starts == [0, room * 4095 // 4096]


def test_lost_frames_become_zeros(bench: Bench) -> None:
    batch = tiny.inputs(bench.stage.codec)
    kept = batch.kept_frames.copy()
    kept[1, 3:6] = 0
    whole, cut = (
        ops.convert_to_numpy(bench.stage._prepare(batch._replace(kept_frames=mask)).quantized)
        for mask in (batch.kept_frames, kept)
    )
    assert not cut[1, 3:6].any()
    cut[1, 3:6] = whole[1, 3:6]
    assert np.array_equal(cut, whole)


def test_the_inputs_lose_frames_by_the_seeds_of_the_batch(bench: Bench) -> None:
    recipe = dataclasses.replace(SMALL, erasure_probability=1.0)
    stage = bench.stage
    before, stage.recipe = stage.recipe, dataclasses.replace(stage.recipe, adversarial=recipe)
    counts = np.array([3, 3], np.int32)
    batch = Batch(np.zeros((2, 1600, 1), np.float32), counts, counts, np.array([1, 2], np.int32))
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
