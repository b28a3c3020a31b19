"""Recipes and schedules: valid values, and how much of a stage is done."""

from __future__ import annotations

from typing import Any

import pytest

from codec.training import schedule
from codec.training.checkpoint import Progress
from codec.training.recipe import AdversarialRecipe, Recipe, recipe_for


def recipe(steps: int, share: float = 0, minutes: float = 60) -> Recipe:
    """Return a recipe that gives a share of itself to the adversarial stage."""
    return Recipe(steps=steps, hours=minutes / 60, adversarial=AdversarialRecipe(share=share))


@pytest.mark.parametrize(
    ("recipe", "progress", "done"),
    [
        (recipe(10), Progress("warm-up", 5), 0.0),
        (recipe(10), Progress("joint", 100, stage_start_step=100), 0.0),
        (recipe(10), Progress("joint", 105, stage_start_step=100), 0.5),
        (recipe(10), Progress("joint", 200, stage_start_step=100), 1.0),
        (recipe(0, minutes=2), Progress("joint", 9, seconds=60.0, stage_start_seconds=0.0), 0.5),
        (recipe(0, minutes=2), Progress("joint", 9, seconds=90.0, stage_start_seconds=60.0), 0.5),
        (recipe(0, minutes=1), Progress("joint", 9, seconds=90.0, stage_start_seconds=80.0), 1.0),
        (recipe(10, share=0.5), Progress("joint", 104, stage_start_step=100), 0.8),
        (recipe(10, share=0.5), Progress("adversarial", 106, stage_start_step=105), 0.2),
        (recipe(0, share=0.5, minutes=2), Progress("joint", 9, seconds=30.0), 0.5),
        (
            recipe(0, share=0.5, minutes=2),
            Progress("adversarial", 9, seconds=90.0, stage_start_seconds=60.0),
            0.5,
        ),
        (recipe(10, share=1.0), Progress("joint", 0), 1.0),
    ],
)
def test_how_much_of_a_stage_is_done(recipe: Recipe, progress: Progress, done: float) -> None:
    assert schedule.fraction_done(recipe, progress) == pytest.approx(done)
    last = progress.stage == ("adversarial" if recipe.adversarial.share else "joint")
    assert schedule.is_run_over(recipe, progress) is (done == 1 and last)


def test_fewer_codebooks_mean_more_noise() -> None:
    recipe = Recipe()
    assert [recipe.noise_variance(count) for count in (3, 6, 12, 24)] == pytest.approx(recipe.warm_up_noise)
    assert recipe.noise_variance(1) == recipe.noise_variance(3) > recipe.noise_variance(4)
    assert recipe.noise_variance(48) == recipe.noise_variance(24)


@pytest.mark.parametrize(
    "wrong", [{"steps": -1}, {"hours": 0.0}, {"batch_size": 0}, {"segment_seconds": 0.1}]
)
def test_a_wrong_recipe_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Recipe(**wrong)


def test_each_device_has_a_recipe() -> None:
    assert recipe_for("cpu") == Recipe()
    big = recipe_for("gpu", steps=7)
    assert (big.steps, recipe_for("cpu", steps=7).steps) == (7, 7)
    assert big.batch_size > Recipe().batch_size and len(big.adversarial.windows) > len(
        Recipe().adversarial.windows
    )
    with pytest.raises(ValueError, match="found tpu"):
        recipe_for("tpu")


@pytest.mark.parametrize(
    "wrong",
    [{"erasure_probability": 2.0}, {"share": -0.1}, {"share": 1.1}, {"discriminator_shares": (0.4, 2.0)}],
)
def test_a_share_outside_0_to_1_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        AdversarialRecipe(**wrong)


def test_the_learning_rate_rises_and_then_falls_along_a_cosine() -> None:
    settings = Recipe(steps=1000, rise_steps=100, adversarial=AdversarialRecipe(share=0))
    rates = [schedule.learning_rate(settings, Progress("joint", step)) for step in (0, 99, 500, 1000)]
    assert rates[0] == pytest.approx(settings.learning_rate / 100, rel=1e-3)
    assert rates[1] == pytest.approx(settings.learning_rate, rel=0.03)
    assert rates[2] == pytest.approx((settings.learning_rate + settings.final_learning_rate) / 2)
    assert rates[3] == pytest.approx(settings.final_learning_rate)
    assert schedule.learning_rate(settings, Progress("warm-up", 150)) == settings.learning_rate
