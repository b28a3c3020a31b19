"""How a model is trained: each stage's numbers in one frozen record."""

from __future__ import annotations

import dataclasses

import numpy as np

WARM_UP_CODEBOOKS = (3, 6, 12, 24)  # those that the variances of Recipe.warm_up_noise stand for


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Warm-up without a quantizer, k-means, then encoder, quantizer and decoder together.

    The joint stage ends after `steps` steps, or, where that is 0, after `minutes` of training.
    """

    steps: int = 0
    minutes: float = 60.0
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
    complex_weight: float = 3.0
    commitment_weight: float = 0.05
    averaging: float = 0.999  # of the weights that ship
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        if self.steps < 0 or (self.minutes <= 0 and not self.steps):
            raise ValueError(f"give `steps` or `minutes` to train for, found {self.steps} and {self.minutes}")
        if self.batch_size < 1 or self.segment_seconds < 0.5:
            found = f"{self.batch_size} and {self.segment_seconds}"
            raise ValueError(f"need a batch of 1 or more and segments of 0.5 s or more, found {found}")

    def noise_variance(self, num_codebooks: int) -> float:
        """Variance of the warm-up's noise that stands for this many codebooks: linear in their logarithm between."""
        known = np.log(WARM_UP_CODEBOOKS)
        return float(np.interp(np.log(num_codebooks), known, self.warm_up_noise))
