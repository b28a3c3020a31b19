"""The schedule of a run: when a stage ends, which one follows, and the learning rate on the way."""

from __future__ import annotations

import math

from codec.training.progress import ADVERSARIAL, JOINT, WARM_UP, Progress
from codec.training.recipe import Recipe


def fraction_done(recipe: Recipe, progress: Progress) -> float:
    """Return how much of the present stage is done, 0 to 1, by steps or by hours; 0 throughout the warm-up."""
    if progress.stage == WARM_UP:
        return 0.0
    is_last = progress.stage == ADVERSARIAL
    share = recipe.adversarial.share if is_last else 1 - recipe.adversarial.share
    if not share:
        return 1.0
    if recipe.steps:
        return min(1.0, (progress.step - progress.stage_start_step) / (share * recipe.steps))
    end = 3600 * recipe.hours * (1.0 if is_last else share)
    started = progress.stage_start_seconds
    return min(1.0, (progress.seconds - started) / max(end - started, 1.0))


def is_stage_over(recipe: Recipe, progress: Progress) -> bool:
    """Return True when the present stage has no steps left."""
    if progress.stage == WARM_UP:
        return progress.step >= recipe.warm_up_steps
    return fraction_done(recipe, progress) >= 1


def is_run_over(recipe: Recipe, progress: Progress) -> bool:
    """Return True when the last stage of the recipe has no steps left."""
    last = ADVERSARIAL if recipe.adversarial.share else JOINT
    return progress.stage == last and is_stage_over(recipe, progress)


def learning_rate(recipe: Recipe, progress: Progress) -> float:
    """Return the learning rate of the next step.

    It rises linearly over the first steps of a stage and falls along a cosine to the end of the stage; in the warm-up
    it only rises.
    """
    rates = recipe.adversarial if progress.stage == ADVERSARIAL else recipe
    rate = recipe.learning_rate
    if progress.stage != WARM_UP:
        cosine = 0.5 + 0.5 * math.cos(math.pi * fraction_done(recipe, progress))
        rate = rates.final_learning_rate + cosine * (rates.learning_rate - rates.final_learning_rate)
    rise = (progress.step - progress.stage_start_step + 1) / recipe.rise_steps
    return min(1.0, rise) * rate
