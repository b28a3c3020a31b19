"""One training step of the joint stage and of the warm-up."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from support import tiny_training as tiny

from codec.network import Codec
from codec.network.codebook import Averages
from codec.network.quantizer import Movement
from codec.training import precision, steppers
from codec.training.data import Batch
from codec.training.joint import JointStage, Observations, WarmUpStage, merge_halves
from codec.training.parameters import clip
from codec.training.reconstruction import ALTERNATING_SCALES
from codec.training.steps import StepInputs

ALL = tuple(range(6))


@pytest.fixture
def bench() -> Iterator[tiny.Bench]:
    yield tiny.bench()
    tiny.bench().reset()


def losses_of(
    bench: tiny.Bench, parts: list[StepInputs], scales: tuple[int, ...] = (0, 2)
) -> tuple[float, dict[str, float], Observations]:
    total, (figures, moved) = bench.stage.loss(bench.stage.parameters.master.value, parts, scales)
    return float(total), {name: float(value) for name, value in figures.items()}, moved


def test_two_halves_have_the_loss_of_the_whole_batch(bench: tiny.Bench) -> None:
    batch = tiny.inputs(bench.stage.codec)._replace(num_codebooks=np.array([1, 3], np.int32))
    parts = steppers.split_in_halves(batch)
    assert [len(part.audio) for part in parts] == [1, 1]
    whole, report, moved = losses_of(bench, [batch])
    halved, half_report, half_moved = losses_of(bench, parts)
    assert halved == pytest.approx(whole, rel=1e-4)
    assert half_report["commitment"] == pytest.approx(report["commitment"], rel=1e-4)
    np.testing.assert_allclose(half_moved.latents, moved.latents, atol=1e-4)
    np.testing.assert_allclose(half_moved.movement.batch.counts, moved.movement.batch.counts, atol=2)
    np.testing.assert_allclose(
        np.sum(half_moved.movement.batch.sums, axis=1), np.sum(moved.movement.batch.sums, axis=1), atol=1e-2
    )


@pytest.mark.parametrize(("size", "halves"), [(1, [1]), (2, [1, 1]), (5, [2, 3])])
def test_halves_differ_by_one_item_at_most(size: int, halves: list[int]) -> None:
    batch = StepInputs(*(np.zeros((size, 4)) for _ in StepInputs._fields))
    assert [len(part.audio) for part in steppers.split_in_halves(batch)] == halves


def test_new_codewords_come_from_the_half_that_counted() -> None:
    def moved(counts: list[list[float]], value: float) -> Observations:
        averages = Averages(ops.array(counts), ops.ones((2, 2, 3)))
        return Observations(ops.zeros((1, 1, 3)), Movement(averages, value * ops.ones((2, 2, 3))))

    merged = merge_halves([moved([[1, 0], [0, 0]], 1.0), moved([[2, 2], [3, 0]], 2.0)])
    assert merged.latents.shape == (2, 1, 3)
    assert ops.convert_to_numpy(merged.movement.batch.counts).tolist() == [[3, 2], [3, 0]]
    assert ops.convert_to_numpy(merged.movement.fresh)[:, 0, 0].tolist() == [1.0, 2.0]


def test_a_long_gradient_is_clipped_to_the_limit() -> None:
    gradient = ops.array([3.0, 4.0])
    assert [float(x) for x in clip(gradient, 1.0)[0]] == pytest.approx([0.6, 0.8])
    assert [float(x) for x in clip(gradient, 10.0)[0]] == [3.0, 4.0]
    assert float(clip(gradient, 1.0)[1]) == pytest.approx(5.0)
    assert [float(x) for x in clip(ops.zeros(2), 1.0)[0]] == [0.0, 0.0]


def test_the_alternating_windows_weigh_as_much_as_all_six(bench: tiny.Bench) -> None:
    batch = tiny.inputs(bench.stage.codec, 1)
    first, second, both = (
        losses_of(bench, [batch], scales)[1]["mel"] for scales in (*ALTERNATING_SCALES, ALL)
    )
    assert sorted(ALTERNATING_SCALES[0] + ALTERNATING_SCALES[1]) == list(ALL)
    assert first != second
    assert (first + second) / 2 == pytest.approx(both, rel=1e-4)


def test_the_warm_up_has_noise_in_place_of_the_codebooks(bench: tiny.Bench) -> None:
    stage, batch = (
        WarmUpStage(bench.stage.codec, bench.recipe, bench.stage.parameters),
        tiny.inputs(bench.stage.codec, 1),
    )
    frames = batch.audio.shape[1] // tiny.CONFIG.hop_length
    loud = 3 * np.random.default_rng(0).standard_normal((1, frames, tiny.CONFIG.latent_dim), np.float32)
    master = stage.parameters.master.value
    clean, (_, observed) = stage.loss(master, [batch._replace(latent_noise=np.zeros_like(loud))], (0, 2))
    noisy, (losses, _) = stage.loss(master, [batch._replace(latent_noise=loud)], (0, 2))
    assert observed.movement is None
    assert float(noisy) > float(clean)
    assert float(losses["commitment"]) == 0


def test_the_noise_of_the_warm_up_stands_for_the_number_of_codebooks(bench: tiny.Bench) -> None:
    stage = WarmUpStage(bench.stage.codec, bench.recipe, bench.stage.parameters)
    audio, counts = np.zeros((2, 160 * 500, 1), np.float32), np.array([3, 24], np.int32)
    batch = Batch(audio, counts, counts, np.array([1, 2], np.int32), np.zeros((2, 0, 0), np.float32))
    noise = stage.inputs(batch).latent_noise
    assert noise.shape == (2, 500, tiny.CONFIG.latent_dim)
    variances = [bench.recipe.noise_variance(count) for count in (3, 24)]
    np.testing.assert_allclose(noise.var(axis=(1, 2)), variances, rtol=0.1)


def test_a_step_changes_everything_that_learns(bench: tiny.Bench) -> None:
    batch, rate = tiny.inputs(bench.stage.codec), 1e-3
    report = bench.stepper.step(batch, rate, 0)
    bench.stepper.write_variables()
    now, before = tiny.values(bench.stage), bench.initial
    assert np.isfinite([float(value) for value in (*report.losses.values(), report.gradient_norm)]).all()
    assert np.abs(now["master"] - before["master"]).max() == pytest.approx(rate, rel=0.1)  # Adam's first step
    decay = 2 / 11  # (1 + n) / (10 + n) after the first
    np.testing.assert_allclose(
        now["average"], decay * before["average"] + (1 - decay) * now["master"], atol=1e-6
    )
    for name in ("quantizer.codebooks", "quantizer.counts", "quantizer.sums", "encoder.standardize.mean"):
        assert not np.array_equal(now[f"weights.{name}"], before[f"weights.{name}"]), name
    kernel = "weights.encoder.envelope_map.kernel"
    assert np.array_equal(now[kernel], before[kernel])  # only `write_back` changes the weights
    bench.stage.parameters.write_back(bench.stage.parameters.average)
    assert not np.array_equal(tiny.values(bench.stage)[kernel], before[kernel])


def test_reading_and_writing_back_the_weights_are_inverse(bench: tiny.Bench) -> None:
    bench.stage.parameters.master.assign(bench.stage.parameters.master + 1.0)
    bench.stage.parameters.write_back(bench.stage.parameters.master)
    bench.stage.parameters.read_weights()
    for name in ("master", "average"):
        np.testing.assert_allclose(tiny.values(bench.stage)[name], bench.initial["master"] + 1.0, rtol=1e-6)


def test_a_second_of_sines_is_learned_in_sixty_steps(bench: tiny.Bench) -> None:
    batch = tiny.inputs(bench.stage.codec, 2)
    before = losses_of(bench, [batch], ALL)[0]
    for number in range(60):
        report = bench.stepper.step(batch, 3e-3, number)
    bench.stepper.write_variables()
    after = losses_of(bench, [batch], ALL)[0]
    assert after < 0.75 * before
    assert np.isfinite(float(report.gradient_norm))


def test_arithmetic_in_bfloat16_keeps_weights_and_losses_in_float32(bench: tiny.Bench) -> None:
    codec = Codec(tiny.CONFIG, dtype="mixed_bfloat16")
    stage, batch = JointStage(codec, bench.recipe), tiny.inputs(codec, 1)
    for name, variable in stage.state().items():
        variable.assign(bench.initial[name])
    master = tf.Variable(bench.initial["master"])
    with tf.GradientTape() as tape:
        total, (_, moved) = stage.loss(master.value(), [batch], (0, 2))
    gradient = tape.gradient(total, master)
    exact = losses_of(bench, [batch])[0]
    assert {weight.dtype for weight in codec.weights} == {"float32"}
    assert (total.dtype, moved.latents.dtype, gradient.dtype) == (tf.float32,) * 3
    assert float(total) == pytest.approx(exact, rel=0.05)
    assert np.isfinite(gradient.numpy()).all()


@pytest.mark.parametrize(
    ("backend", "device", "policy"),
    [
        ("jax", "gpu", "mixed_bfloat16"),
        ("jax", "cpu", "float32"),
        ("jax", "tpu", "float32"),
        ("tensorflow", "gpu", "float32"),
        ("tensorflow", "cpu", "float32"),
        ("tensorflow", "cpu with bfloat16", "mixed_bfloat16"),
    ],
)
def test_the_precision_of_training(backend: str, device: str, policy: str) -> None:
    assert precision.choose_policy(backend, device) == policy


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ("", "cpu"),
        ("flags : fpu avx512f avx512_vnni", "cpu"),
        ("flags : avx512f avx512_bf16", "cpu with bfloat16"),
        ("flags : avx512_bf16 amx_bf16 amx_tile", "cpu"),
    ],
)
def test_the_kind_of_cpu(flags: str, kind: str) -> None:
    assert precision.cpu_kind(flags) == kind


def test_the_backend_must_be_one_of_two(bench: tiny.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert precision.training_policy() in ("float32", "mixed_bfloat16")
    monkeypatch.setattr("keras.backend.backend", lambda: "torch")
    with pytest.raises(ValueError, match="found the backend torch"):
        steppers.new_stepper(bench.stage)
