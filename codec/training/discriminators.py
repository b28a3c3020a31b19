"""Discriminators distinguish decoded from real audio: one small network over each of several short-time spectra.

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

NEGATIVE_SLOPE = 0.1  # of the leaky rectifiers
# Size and stride of each convolution over [frame, bin]: first along the bins, then along both.
KERNELS = ((3, 8), (3, 8), (3, 4), (3, 4))
STRIDES = ((1, 4), (1, 4), (2, 2), (2, 2))


class DiscriminatorOutput(NamedTuple):
    """The output of one discriminator for a batch of audio.

    logits:   [batch, frame, bin, 1], positive for audio that it takes for real
    features: after each convolution, [batch, frame, bin, channels]
    """

    logits: Tensor
    features: list[Tensor]


class Discriminator(keras.layers.Layer):
    """A convolutional network over one short-time spectrum.

    Shapes:
        audio: float32 [batch, time]

    Args:
        window: samples.
        bins: how many of the lowest bins it sees; rounded up to a multiple of the strides.
        channels: of each convolution.
    """

    def __init__(self, window: int, bins: int, channels: tuple[int, ...], **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # spectra stay in float32
        step = int(np.prod([stride for _, stride in STRIDES]))
        self.window, self.bins = window, min(-(-bins // step) * step, window // 2)
        policy = self.dtype_policy
        self.convolutions = [
            keras.layers.Conv2D(
                count, kernel, stride, padding="same", kernel_initializer="he_normal", dtype=policy
            )
            for count, kernel, stride in zip(channels, KERNELS, STRIDES, strict=True)
        ]
        self.output_convolution = keras.layers.Conv2D(1, 3, padding="same", dtype=policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the convolutions."""
        channels = 2
        for layer in self.convolutions:
            layer.build((None, None, None, channels))
            channels = layer.filters
        self.output_convolution.build((None, None, None, channels))

    def call(self, audio: Tensor) -> DiscriminatorOutput:
        """Return logits and features."""
        real, imaginary = losses.spectra(audio, self.window)
        level = np.float32(np.sqrt(8 / 3 / self.window))  # scales a Hann window to unit energy
        planes = compress(real[..., : self.bins] * level, imaginary[..., : self.bins] * level, SPECTRUM_POWER)
        x, features = ops.stack(planes, axis=-1), []
        for layer in self.convolutions:
            x = layer(x)
            x = ops.maximum(x, NEGATIVE_SLOPE * x)
            features.append(x)
        return DiscriminatorOutput(ops.cast(self.output_convolution(x), "float32"), features)


class Discriminators(keras.Model):
    """One discriminator for each window.

    Args:
        sample_rate: Hz.
        windows: seconds.
        frequency_limit: Hz; the discriminators see nothing above.
        channels: of the convolutions.
        dtype: policy of the convolutions.
    """

    def __init__(
        self,
        sample_rate: int,
        windows: tuple[float, ...],
        frequency_limit: float,
        channels: tuple[int, ...],
        dtype: str,
    ) -> None:
        super().__init__(dtype=dtype, autocast=False)
        lengths = [4 * round(seconds * sample_rate / 4) for seconds in windows]
        self.discriminators = [
            Discriminator(length, round(frequency_limit * length / sample_rate), channels, dtype=dtype)
            for length in lengths
        ]
        self.build((None, None))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build all discriminators."""
        for each in self.discriminators:
            each.build(input_shape)

    def call(self, audio: Tensor) -> list[DiscriminatorOutput]:
        """Return the output of each discriminator for audio [batch, time]."""
        return [each(audio) for each in self.discriminators]


def hinge_loss(real: list[DiscriminatorOutput], decoded: list[DiscriminatorOutput]) -> Tensor:
    """Return the loss of the discriminators: logits of real audio below 1 and of decoded audio above -1 cost."""
    return sum(
        ops.mean(ops.relu(1.0 - a.logits)) + ops.mean(ops.relu(1.0 + b.logits))
        for a, b in zip(real, decoded, strict=True)
    ) / len(real)


def adversarial_loss(decoded: list[DiscriminatorOutput]) -> Tensor:
    """Return the loss of the decoder: the higher the logits of its audio, the lower."""
    return -sum(ops.mean(output.logits) for output in decoded) / len(decoded)


def feature_distance(real: list[DiscriminatorOutput], decoded: list[DiscriminatorOutput]) -> Tensor:
    """Return the mean distance of the features, each layer relative to its size (EnCodec, equation 2)."""
    distances = [
        ops.mean(ops.abs(ops.cast(x, "float32") - ops.cast(y, "float32")))
        / ops.mean(ops.abs(ops.cast(x, "float32")) + 1e-6)
        for a, b in zip(real, decoded, strict=True)
        for x, y in zip(a.features, b.features, strict=True)
    ]
    return sum(distances) / len(distances)
