"""How a model is trained: each stage's numbers in one frozen record."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

WARM_UP_CODEBOOKS = (3, 6, 12, 24)  # those that the variances of Recipe.warm_up_noise stand for


@dataclasses.dataclass(frozen=True)
class Tuning:
    """The decoder stage: the decoder alone against discriminators, on frozen codes."""

    part: float = 0.3  # of the steps or hours; 0 leaves the stage out
    learning_rate: float = 5e-5
    final_learning_rate: float = 5e-6
    discriminator_rate: float = 4.0  # times the decoder's
    head_start: int = 200  # steps of the discriminators after which the decoder's learning rate is whole
    # Of the discriminators in the pull on the decoded audio, beside the spectral losses: with the fewest codebooks that
    # ship, and with all of them. The more bits tell of the source, the less is left to invent.
    shares: tuple[float, float] = (0.4, 0.2)
    feature_weight: float = 2.0  # of the feature distance, beside the adversarial loss
    crop_seconds: float = 0.75  # that the discriminators see of each segment
    windows: tuple[float, ...] = (2048 / 48000, 1024 / 48000, 512 / 48000)  # seconds
    limit: float = 12000.0  # Hz; the discriminators see nothing above
    widths: tuple[int, ...] = (32, 64, 64, 64)  # channels of their convolutions
    erasure: float = 0.1  # share of the segments that lose some frames in a row
    erased_frames: int = 5  # at most
    greatest_rise: float = 1.25  # of the held-out log-mel distance: beyond it the stage ends

    def __post_init__(self) -> None:
        for name in ("part", "shares", "erasure"):
            if not np.all(np.abs(np.subtract(getattr(self, name), 0.5)) <= 0.5):
                raise ValueError(f"`{name}` must lie between 0 and 1, found {getattr(self, name)}")


@dataclasses.dataclass(frozen=True)
class PriorRecipe:
    """How the prior is fitted in the end; a few minutes on two cores."""

    frames: int = 600_000  # to learn from
    chunk_seconds: int = 2  # no context reaches beyond it
    chunks_per_segment: int = 3  # coded in a row
    epochs: int = 3
    batch_size: int = 512  # frames
    learning_rate: float = 4e-3
    decay: float = 0.2  # of the weights, in the rate of learning
    wide: int = 256  # hidden units of the first layer
    narrow: int = 64  # and of the second


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Warm-up without a quantizer, k-means, encoder, quantizer and decoder together; then the decoder alone.

    The last two stages take `steps` steps in all, or, where that is 0, `hours` of training.
    """

    steps: int = 0
    hours: float = 1.0
    batch_size: int = 8  # segments
    segment_seconds: float = 2.0
    seed: int = 0
    warm_up_steps: int = 100
    # Variance of the noise on unit-variance latents that stands for each of WARM_UP_CODEBOOKS.
    warm_up_noise: tuple[float, float, float, float] = (0.65, 0.42, 0.20, 0.05)
    start_frames: int = 100_000  # code frames for the principal components and for k-means
    kmeans_iterations: int = 6
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5
    rise_steps: int = 200  # of the learning rate at the start
    weight_decay: float = 0.01
    gradient_norm: float = 1.0  # gradients are clipped to this, over all weights together
    mel_weight: float = 1.0
    loudness_share: float = 0.5  # of the mel distance; with none PESQ-WB and ESTOI were lower at every rate
    complex_weight: float = 3.0  # half and twice as much sounded worse by most measures
    commitment_weight: float = 0.05
    pitch_weight: float = 0.1
    averaging: float = 0.999  # of the weights that ship
    checkpoint_minutes: float = 5.0
    tuning: Tuning = Tuning()
    prior: PriorRecipe = PriorRecipe()

    def __post_init__(self) -> None:
        if self.steps < 0 or (self.hours <= 0 and not self.steps):
            raise ValueError(f"give `steps` or `hours` to train for, found {self.steps} and {self.hours}")
        if self.batch_size < 1 or self.segment_seconds < 0.5:
            found = f"{self.batch_size} and {self.segment_seconds}"
            raise ValueError(f"need a batch of 1 or more and segments of 0.5 s or more, found {found}")

    def noise_variance(self, num_codebooks: int) -> float:
        """Variance of the warm-up's noise that stands for this many codebooks: linear in their logarithm between."""
        known = np.log(WARM_UP_CODEBOOKS)
        return float(np.interp(np.log(num_codebooks), known, self.warm_up_noise))


def recipe_for(device: str, **changes: Any) -> Recipe:
    """The recipe for a "cpu" or a "gpu", with some of its fields changed; raises ValueError for another device."""
    if device == "cpu":
        return Recipe(**changes)
    if device == "gpu":
        tuning = Tuning(
            windows=tuple(samples / 48000 for samples in (4096, 2048, 1024, 512, 256)),
            widths=(32, 64, 128, 128),
            limit=24000.0,
            crop_seconds=1.5,
        )
        return dataclasses.replace(Recipe(batch_size=64, tuning=tuning), **changes)
    raise ValueError(f"there are recipes for cpu and gpu, found {device}")
