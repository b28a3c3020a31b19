"""Recipes: what is wrong in one, and how much of a stage one has done."""

from __future__ import annotations

from typing import Any

import pytest

from codec.training import schedule
from codec.training.checkpoint import Progress
from codec.training.recipe import Recipe, Tuning, recipe_for


def recipe(steps: int, part: float = 0, minutes: float = 60) -> Recipe:
    """A recipe that gives this part of itself to the decoder stage."""
    return Recipe(steps=steps, hours=minutes / 60, tuning=Tuning(part=part))


@pytest.mark.parametrize(
    ("recipe", "progress", "done"),
    [
        (recipe(10), Progress("warm-up", 5), 0.0),
        (recipe(10), Progress("joint", 100, since_step=100), 0.0),
        (recipe(10), Progress("joint", 105, since_step=100), 0.5),
        (recipe(10), Progress("joint", 200, since_step=100), 1.0),
        (recipe(0, minutes=2), Progress("joint", 9, seconds=60.0, since=0.0), 0.5),
        (recipe(0, minutes=2), Progress("joint", 9, seconds=90.0, since=60.0), 0.5),
        (recipe(0, minutes=1), Progress("joint", 9, seconds=90.0, since=80.0), 1.0),
        (recipe(10, part=0.5), Progress("joint", 104, since_step=100), 0.8),
        (recipe(10, part=0.5), Progress("decoder", 106, since_step=105), 0.2),
        (recipe(0, part=0.5, minutes=2), Progress("joint", 9, seconds=30.0), 0.5),
        (recipe(0, part=0.5, minutes=2), Progress("decoder", 9, seconds=90.0, since=60.0), 0.5),
        (recipe(10, part=1.0), Progress("joint", 0), 1.0),
    ],
)
def test_how_much_of_a_stage_is_done(recipe: Recipe, progress: Progress, done: float) -> None:
    assert schedule.fraction(recipe, progress) == pytest.approx(done)
    last = progress.stage == ("decoder" if recipe.tuning.part else "joint")
    assert schedule.finished(recipe, progress) is (done == 1 and last)


def test_the_noise_of_the_warm_up() -> None:
    recipe = Recipe()
    assert [recipe.noise_variance(count) for count in (3, 6, 12, 24)] == pytest.approx(recipe.warm_up_noise)
    assert recipe.noise_variance(1) == recipe.noise_variance(3) > recipe.noise_variance(4)
    assert recipe.noise_variance(48) == recipe.noise_variance(24)


@pytest.mark.parametrize(
    "wrong", [{"steps": -1}, {"hours": 0.0}, {"batch_size": 0}, {"segment_seconds": 0.1}]
)
def test_a_wrong_recipe(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Recipe(**wrong)


def test_recipes_for_devices() -> None:
    assert recipe_for("cpu") == Recipe()
    big = recipe_for("gpu", steps=7)
    assert (big.steps, recipe_for("cpu", steps=7).steps) == (7, 7)
    assert big.batch_size > Recipe().batch_size and len(big.tuning.windows) > len(Recipe().tuning.windows)
    with pytest.raises(ValueError, match="found tpu"):
        recipe_for("tpu")


@pytest.mark.parametrize("wrong", [{"erasure": 2.0}, {"part": -0.1}, {"part": 1.1}, {"shares": (0.4, 2.0)}])
def test_a_wrong_tuning(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Tuning(**wrong)
