"""How far a run is in its present stage, and the learning rate there."""

from __future__ import annotations

import math

from codec.training.checkpoint import Progress
from codec.training.recipe import Recipe


def fraction(recipe: Recipe, progress: Progress) -> float:
    """How much of the stage is done, 0 .. 1, by steps or by hours; the warm-up is never said to be."""
    if progress.stage == "warm-up":
        return 0.0
    part = recipe.tuning.part if progress.stage == "decoder" else 1 - recipe.tuning.part
    if not part:
        return 1.0
    if recipe.steps:
        return min(1.0, (progress.step - progress.since_step) / (part * recipe.steps))
    end = 3600 * recipe.hours * (1.0 if progress.stage == "decoder" else part)
    return min(1.0, (progress.seconds - progress.since) / max(end - progress.since, 1.0))


def finished(recipe: Recipe, progress: Progress) -> bool:
    """Whether nothing is left to do of the last stage."""
    last = "decoder" if recipe.tuning.part else "joint"
    return progress.stage == last and fraction(recipe, progress) == 1


def falling_rate(recipe: Recipe, progress: Progress) -> float:
    """The learning rate along a cosine over the stage."""
    rates = recipe.tuning if progress.stage == "decoder" else recipe
    cosine = 0.5 + 0.5 * math.cos(math.pi * fraction(recipe, progress))
    return rates.final_learning_rate + cosine * (rates.learning_rate - rates.final_learning_rate)
