"""The settings of a training run, as frozen dataclasses: one for the whole run and one for each special stage."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

WARM_UP_CODEBOOKS = (3, 6, 12, 24)  # the numbers of codebooks that Recipe.warm_up_noise simulates


@dataclasses.dataclass(frozen=True)
class AdversarialRecipe:
    """The adversarial stage: the decoder alone learns against discriminators, while the codes stay as they are.

    Attributes:
        share: share of the steps or hours, 0 to 1; 0 leaves the stage out.
        learning_rate: of the decoder, at the beginning.
        final_learning_rate: of the decoder, at the end.
        discriminator_rate: learning rate of the discriminators, as a multiple of the decoder's.
        head_start: steps of each discriminator after which the decoder reaches its full learning rate.
        discriminator_shares: share of the discriminators in the gradient, beside the spectral losses: with the fewest
            shipped codebooks, and with all of them. More bits leave less to invent, so the share falls.
        feature_weight: weight of the feature distance relative to the adversarial loss.
        segments: number of segments that are coded once; the steps draw crops of them.
        crop_frames: length of a crop, of which everything is compared with the source.
        context_frames: frames before the crop, which only bring the decoder into its state.
        windows: seconds, one discriminator for each.
        lowest_frequency: Hz; the discriminators see nothing below.
        highest_frequency: Hz; the discriminators see nothing above.
        channels: channels of their convolutions.
        erasure_probability: share of the crops that lose a run of frames.
        max_erased_frames: greatest length of such a run.
        max_distance_rise: factor by which the held-out log-mel distance may grow before the stage ends.
    """

    share: float = 0.3
    learning_rate: float = 1.5e-4
    final_learning_rate: float = 5e-6
    discriminator_rate: float = 3.0
    head_start: int = 100
    discriminator_shares: tuple[float, float] = (0.45, 0.12)
    feature_weight: float = 2.0
    segments: int = 3000
    crop_frames: int = 22
    context_frames: int = 6
    windows: tuple[float, ...] = (2048 / 48000, 1024 / 48000, 512 / 48000)
    lowest_frequency: float = 1500.0
    highest_frequency: float = 14000.0
    channels: tuple[int, ...] = (16, 32, 48, 48)
    erasure_probability: float = 0.1
    max_erased_frames: int = 5
    max_distance_rise: float = 1.25

    def __post_init__(self) -> None:
        for name in ("share", "discriminator_shares", "erasure_probability"):
            if not np.all(np.abs(np.subtract(getattr(self, name), 0.5)) <= 0.5):
                raise ValueError(f"`{name}` must lie between 0 and 1, found {getattr(self, name)}")


@dataclasses.dataclass(frozen=True)
class PriorRecipe:
    """The fit of the prior after the last stage; it takes a few minutes on two cores.

    Attributes:
        frames: code frames to learn from.
        chunk_seconds: length of a chunk; no context reaches beyond it.
        chunks_per_segment: chunks that are encoded in a row.
        epochs: passes over the frames.
        batch_size: frames.
        learning_rate: at the beginning; it falls to 0 along a cosine.
        weight_decay: of the kernels, as a share of the learning rate.
        wide: units of the first hidden layer.
        narrow: units of the second hidden layer.
    """

    frames: int = 600_000
    chunk_seconds: int = 2
    chunks_per_segment: int = 3
    epochs: int = 3
    batch_size: int = 512
    learning_rate: float = 4e-3
    weight_decay: float = 0.2
    wide: int = 256
    narrow: int = 64


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A whole run: warm-up without a quantizer, joint stage, adversarial stage, prior.

    The joint and the adversarial stage take `steps` steps together, or `hours` of training if `steps` is 0.

    Attributes:
        batch_size: segments.
        warm_up_noise: variances of noise on latents of unit variance, one for each of WARM_UP_CODEBOOKS.
        initial_frames: code frames for the principal components and for k-means.
        rise_steps: steps over which the learning rate rises at the beginning of a stage.
        gradient_norm: greatest norm of a gradient, over all weights together; longer ones are clipped to it.
        loudness_share: share of the loudness distance in the mel distance.
        averaging: decay of the moving average of the weights, which is what ships.
        held_out_seconds: length of a validation segment.
        max_setbacks: consecutive steps without a finite gradient after which training gives up.
    """

    steps: int = 0
    hours: float = 1.0
    batch_size: int = 8
    segment_seconds: float = 2.0
    seed: int = 0
    warm_up_steps: int = 100
    warm_up_noise: tuple[float, float, float, float] = (0.65, 0.42, 0.20, 0.05)
    initial_frames: int = 100_000
    kmeans_iterations: int = 6
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5
    rise_steps: int = 200
    gradient_norm: float = 1.0
    mel_weight: float = 1.0
    loudness_share: float = 0.5
    complex_weight: float = 3.0
    commitment_weight: float = 0.05
    pitch_weight: float = 0.1
    averaging: float = 0.999
    checkpoint_minutes: float = 5.0
    held_out_seconds: float = 4.0
    held_out_segments: int = 24
    max_setbacks: int = 10
    adversarial: AdversarialRecipe = AdversarialRecipe()
    prior: PriorRecipe = PriorRecipe()

    def __post_init__(self) -> None:
        if self.steps < 0 or (self.hours <= 0 and not self.steps):
            raise ValueError(f"give `steps` or `hours` to train for, found {self.steps} and {self.hours}")
        if self.batch_size < 1 or self.segment_seconds < 0.5:
            found = f"{self.batch_size} and {self.segment_seconds}"
            raise ValueError(f"need a batch of 1 or more and segments of 0.5 s or more, found {found}")

    def noise_variance(self, num_codebooks: int) -> float:
        """Return the variance of the warm-up noise that stands for a number of codebooks.

        It is linear in the logarithm of that number between the entries of WARM_UP_CODEBOOKS.
        """
        known = np.log(WARM_UP_CODEBOOKS)
        return float(np.interp(np.log(num_codebooks), known, self.warm_up_noise))


def recipe_for(device: str, **changes: Any) -> Recipe:
    """Return the recipe for a device, with some fields of `Recipe` changed.

    Args:
        device: "cpu" or "gpu".
        **changes: new values by the names of the fields.

    Raises:
        ValueError: there is no recipe for this device.
    """
    if device == "cpu":
        return Recipe(**changes)
    if device == "gpu":
        adversarial = AdversarialRecipe(
            windows=tuple(samples / 48000 for samples in (4096, 2048, 1024, 512, 256)),
            channels=(32, 64, 128, 128),
            highest_frequency=24000.0,
            segments=20_000,
            crop_frames=64,
        )
        return dataclasses.replace(Recipe(batch_size=64, adversarial=adversarial), **changes)
    raise ValueError(f"there are recipes for cpu and gpu, found {device}")
