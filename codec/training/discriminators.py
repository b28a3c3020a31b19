"""Discriminators distinguish decoded from real audio by the fine structure of their spectra.

    audio -> magnitudes -> divided by the level of their third octave -> log -> [frame, bin] convolutions -> logits

One small network over each of several short-time spectra, after the multi-scale STFT discriminator of EnCodec (arXiv
2210.13438, section 3.4), with strides instead of dilations. The bits carry the levels of the bands, and a distance
teaches a mean of everything else, whose magnitudes are too smooth. So the discriminators see what the mean lacks, and
nothing of the levels. They see nothing below `lowest` either, where the phases are coded and a distance is enough.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from codec.network.streaming import Tensor
from codec.training import losses

NEGATIVE_SLOPE = 0.1  # of the leaky rectifiers
# Size and stride of each convolution over [frame, bin]: first along the bins, then along both.
KERNELS = ((3, 8), (3, 8), (3, 4), (3, 4))
STRIDES = ((1, 4), (1, 4), (2, 2), (2, 2))
BANDS_PER_OCTAVE = 3
POWER_FLOOR = 1e-8  # -80 dB: quieter bands look empty
DEPTH = (
    1e-3  # added to powers relative to their band's, so that zeros of the spectrum have a finite logarithm
)


class DiscriminatorOutput(NamedTuple):
    """The output of one discriminator for a batch of audio.

    logits:   [batch, frame, bin, 1], positive for audio that it takes for real
    features: after each convolution, [batch, frame, bin, channels]
    """

    logits: Tensor
    features: list[Tensor]


class FrequencyRange(NamedTuple):
    """What the discriminators see of a spectrum, Hz."""

    lowest: float
    highest: float


class FineStructure:
    """The logarithm of each magnitude relative to the level of its third octave.

    Shapes:
        audio:   float32 [batch, time]
        returns: float32 [batch, frame, bin]

    Args:
        window: samples.
        sample_rate: Hz.
        seen: the range of the bins.
    """

    def __init__(self, window: int, sample_rate: int, seen: FrequencyRange) -> None:
        self.window = window
        first, last = (int(limit * window / sample_rate) for limit in seen)
        self.bins = slice(max(1, first), min(last, window // 2))
        frequencies = np.arange(self.bins.start, self.bins.stop) * sample_rate / window
        self.to_bands, self.to_bins = _third_octaves(frequencies)

    def __call__(self, audio: Tensor) -> Tensor:
        """Return the logarithms, in nepers."""
        real, imaginary = (part[..., self.bins] for part in losses.spectra(audio, self.window))
        scale = np.float32(8 / 3 / self.window)  # of a Hann window with unit energy
        power = scale * (real * real + imaginary * imaginary)
        level = ops.matmul(ops.matmul(power, self.to_bands), self.to_bins) + POWER_FLOOR
        return 0.5 * ops.log((power + POWER_FLOOR) / level + DEPTH)


def _third_octaves(frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights of the means of triangular bands, [bin, band], and of the interpolation back, [band, bin]."""
    octaves = np.log2(frequencies)
    count = max(1, round(BANDS_PER_OCTAVE * (octaves[-1] - octaves[0])))
    centers = octaves[0] + np.arange(count + 1) / BANDS_PER_OCTAVE
    triangles = np.maximum(0.0, 1.0 - BANDS_PER_OCTAVE * np.abs(octaves[:, None] - centers))
    triangles = triangles[:, triangles.any(axis=0)]
    triangles[~triangles.any(axis=1), -1] = 1.0  # above the last center
    to_bins = triangles / triangles.sum(axis=1, keepdims=True)
    return (triangles / triangles.sum(axis=0)).astype(np.float32), to_bins.T.astype(np.float32)


class Discriminator(keras.layers.Layer):
    """A convolutional network over the fine structure of one short-time spectrum.

    Shapes:
        audio: float32 [batch, time]

    Args:
        fine_structure: of the spectrum.
        channels: of each convolution.
    """

    def __init__(self, fine_structure: FineStructure, channels: tuple[int, ...], **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # spectra stay in float32
        self.fine_structure, policy = fine_structure, self.dtype_policy
        self.convolutions = [
            keras.layers.Conv2D(
                count, kernel, stride, padding="same", kernel_initializer="he_normal", dtype=policy
            )
            for count, kernel, stride in zip(channels, KERNELS, STRIDES, strict=True)
        ]
        self.output_convolution = keras.layers.Conv2D(1, 3, padding="same", dtype=policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the convolutions."""
        channels = 1
        for layer in self.convolutions:
            layer.build((None, None, None, channels))
            channels = layer.filters
        self.output_convolution.build((None, None, None, channels))
        self.built = True

    def call(self, audio: Tensor) -> DiscriminatorOutput:
        """Return logits and features."""
        x, features = self.fine_structure(audio)[..., None], []
        for layer in self.convolutions:
            x = layer(x)
            x = ops.maximum(x, NEGATIVE_SLOPE * x)
            features.append(x)
        return DiscriminatorOutput(ops.cast(self.output_convolution(x), "float32"), features)


def new_discriminators(
    sample_rate: int, windows: tuple[float, ...], seen: FrequencyRange, channels: tuple[int, ...], dtype: str
) -> list[Discriminator]:
    """Return a discriminator for each window.

    Args:
        sample_rate: Hz.
        windows: seconds.
        seen: the range of frequencies; it ends at half of the sample rate at the latest.
        channels: of the convolutions.
        dtype: policy of the convolutions.
    """
    lengths = [4 * round(seconds * sample_rate / 4) for seconds in windows]
    discriminators = [
        Discriminator(FineStructure(length, sample_rate, seen), channels, dtype=dtype) for length in lengths
    ]
    for discriminator in discriminators:
        discriminator.build((None, None))
    return discriminators


def hinge_loss(real: DiscriminatorOutput, decoded: DiscriminatorOutput) -> Tensor:
    """Return the loss of a discriminator: logits of real audio below 1 and of decoded audio above -1 cost."""
    return ops.mean(ops.relu(1.0 - real.logits)) + ops.mean(ops.relu(1.0 + decoded.logits))


def adversarial_loss(decoded: DiscriminatorOutput) -> Tensor:
    """Return the loss of the decoder: the higher the logits of its audio, the lower."""
    return -ops.mean(decoded.logits)


def feature_distance(real: DiscriminatorOutput, decoded: DiscriminatorOutput) -> Tensor:
    """Return the mean distance of the features, each layer relative to its size (EnCodec, equation 2)."""
    distances = [
        ops.mean(ops.abs(ops.cast(x, "float32") - ops.cast(y, "float32")))
        / ops.mean(ops.abs(ops.cast(x, "float32")) + 1e-6)
        for x, y in zip(real.features, decoded.features, strict=True)
    ]
    return sum(distances) / len(distances)
