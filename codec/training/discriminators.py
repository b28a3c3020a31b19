"""What tells decoded from real audio: one small network over each of several short-time spectra.

After the multi-scale STFT discriminator of EnCodec (arXiv 2210.13438, section 3.4), with strides instead of dilations:

    audio -> spectrum, X |X|^-0.7, re and im as channels -> [frame, bin] convolutions -> logits, one for each patch
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from codec.dsp import SPECTRUM_POWER
from codec.network.spectral import compress
from codec.network.streaming import Tensor
from codec.training import losses

SLOPE = 0.1  # of the rectifiers below zero
# Size and stride of each convolution over [frame, bin]: first along the bins, then both.
KERNELS = ((3, 8), (3, 8), (3, 4), (3, 4))
STRIDES = ((1, 4), (1, 4), (2, 2), (2, 2))


class Opinion(NamedTuple):
    """What one discriminator says of a batch of audio."""

    logits: Tensor  # [batch, frame, bin, 1], above zero where it takes the audio for real
    features: list[Tensor]  # after each convolution, [batch, frame, bin, channels]


class Discriminator(keras.layers.Layer):
    """Judges one short-time spectrum.

    Shapes:
        audio: float32 [batch, time]

    Args:
        window: samples.
        bins: how many of the lowest are looked at; rounded up to what the strides divide.
        widths: channels of each convolution.
    """

    def __init__(self, window: int, bins: int, widths: tuple[int, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        step = int(np.prod([stride for _, stride in STRIDES]))
        self.window, self.bins = window, min(-(-bins // step) * step, window // 2)
        policy = self.dtype_policy
        shapes = zip(widths, KERNELS, STRIDES, strict=True)
        self.stack = [
            keras.layers.Conv2D(
                width, kernel, stride, padding="same", kernel_initializer="he_normal", dtype=policy
            )
            for width, kernel, stride in shapes
        ]
        self.verdict = keras.layers.Conv2D(1, 3, padding="same", dtype=policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = 2
        for layer in self.stack:
            layer.build((None, None, None, channels))
            channels = layer.filters
        self.verdict.build((None, None, None, channels))

    def judge(self, audio: Tensor) -> Opinion:
        real, imaginary = losses.spectra(audio, self.window)
        level = np.float32(np.sqrt(8 / 3 / self.window))  # a Hann window to unit energy
        planes = compress(real[..., : self.bins] * level, imaginary[..., : self.bins] * level, SPECTRUM_POWER)
        x, features = ops.stack(planes, axis=-1), []
        for layer in self.stack:
            x = layer(x)
            x = ops.maximum(x, SLOPE * x)
            features.append(x)
        return Opinion(ops.cast(self.verdict(x), "float32"), features)


class Discriminators(keras.Model):
    """One discriminator for each window.

    Args:
        sample_rate: Hz.
        seconds: of each window.
        limit: Hz; what lies above is not looked at.
        widths: channels of the convolutions.
    """

    def __init__(
        self,
        sample_rate: int,
        seconds: tuple[float, ...],
        limit: float,
        widths: tuple[int, ...],
        dtype: str,
    ) -> None:
        super().__init__(dtype=dtype)
        windows = [4 * round(length * sample_rate / 4) for length in seconds]
        self.each = [
            Discriminator(window, round(limit * window / sample_rate), widths, dtype=dtype)
            for window in windows
        ]
        self.build((None, None))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for one in self.each:
            one.build(input_shape)

    def judge(self, audio: Tensor) -> list[Opinion]:
        """Opinions on audio [batch, time]."""
        return [one.judge(audio) for one in self.each]


def hinge_loss(real: list[Opinion], decoded: list[Opinion]) -> Tensor:
    """What the discriminators learn by: real audio above 1, decoded audio below -1."""
    return sum(
        ops.mean(ops.relu(1.0 - ours.logits)) + ops.mean(ops.relu(1.0 + theirs.logits))
        for ours, theirs in zip(real, decoded, strict=True)
    ) / len(real)


def adversarial_loss(decoded: list[Opinion]) -> Tensor:
    """What the decoder learns by: its audio taken for real."""
    return -sum(ops.mean(opinion.logits) for opinion in decoded) / len(decoded)


def feature_distance(real: list[Opinion], decoded: list[Opinion]) -> Tensor:
    """How differently the discriminators see the two, each layer relative to its size (EnCodec, equation 2)."""
    distances = [
        ops.mean(ops.abs(ops.cast(a, "float32") - ops.cast(b, "float32")))
        / ops.mean(ops.abs(ops.cast(a, "float32")) + 1e-6)
        for ours, theirs in zip(real, decoded, strict=True)
        for a, b in zip(ours.features, theirs.features, strict=True)
    ]
    return sum(distances) / len(distances)
