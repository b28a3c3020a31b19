r"""The Fourier transform by matrix products, for runtimes without an FFT.

A transform of length n = a * b is two products with small matrices (Cooley and Tukey 1965):

    x as [a, b] -> columns times waves of length a -> times W^(j k) -> rows times waves of length b -> [b, a] as X

For n = 1920 = 40 * 48 and n = 960 = 30 * 32 that takes a tenth of the multiplications of one large matrix.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from keras import ops

from codec.network.spectral import Analysis, Synthesis
from codec.network.streaming import Tensor


class Fourier:
    """The Fourier transform of real signals of one length.

    Args:
        length: samples; even.
    """

    def __init__(self, length: int) -> None:
        self.length, self.bins = length, length // 2 + 1
        self.rows = max(number for number in range(1, math.isqrt(length) + 1) if length % number == 0)
        self.columns = length // self.rows
        used = self.bins // self.rows + 1  # rows of the result [columns, rows] that hold the bins
        first = _waves(self.rows, self.rows, self.rows)
        second = _waves(self.columns, used, self.columns)
        twiddles = _waves(self.columns, self.rows, length)
        self.first = np.hstack([first.real, first.imag]).astype(np.float32)
        self.second = np.block([[second.real, second.imag], [-second.imag, second.real]]).astype(np.float32)
        self.cosines, self.sines = twiddles.real.astype(np.float32), twiddles.imag.astype(np.float32)

    def rfft(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return real and imaginary parts of the bins from zero to half the sample rate.

        Shapes:
            x:       [batch, frame, length]
            returns: [batch, frame, bins] each
        """
        columns = _swapped(ops.reshape(x, (-1, self.rows, self.columns)))
        real, imaginary = ops.split(ops.matmul(columns, self.first), 2, axis=-1)  # [n, columns, rows]
        turned = (
            real * self.cosines - imaginary * self.sines,
            real * self.sines + imaginary * self.cosines,
        )
        rows = ops.concatenate([_swapped(part) for part in turned], axis=-1)
        parts = ops.split(ops.matmul(rows, self.second), 2, axis=-1)  # [n, rows, used rows of the result]
        shape = (*ops.shape(x)[:-1], self.second.shape[1] // 2 * self.rows)
        real, imaginary = (ops.reshape(_swapped(part), shape)[..., : self.bins] for part in parts)
        return real, imaginary

    def irfft(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Return the signal of a spectrum, [batch, frame, bins] each -> [batch, frame, length].

        A forward transform of real + imaginary parts gives it, by way of the Hartley transform (Hartley 1942).
        """
        inner = slice(1, self.bins - 1)
        ends = np.zeros(self.bins, np.float32)
        ends[inner] = 1.0
        imaginary = imaginary * ends  # of the first and the last bin it means nothing
        mirrored = ops.flip((real - imaginary)[..., inner], axis=-1)
        real, imaginary = self.rfft(ops.concatenate([real + imaginary, mirrored], axis=-1))
        mirrored = ops.flip((real - imaginary)[..., inner], axis=-1)
        return ops.concatenate([real + imaginary, mirrored], axis=-1) / self.length


def _waves(count: int, frequencies: int, length: int) -> np.ndarray:
    """Return exp(-2 pi i j k / length) for j below `count` and k below `frequencies`."""
    turns = np.outer(np.arange(count), np.arange(frequencies)) % length
    return np.exp(-2j * np.pi * turns / length)


def _swapped(x: Tensor) -> Tensor:
    """Swap the last two axes of [n, a, b]."""
    return ops.transpose(x, (0, 2, 1))


@functools.cache
def _fourier(length: int) -> Fourier:
    return Fourier(length)


class ProductAnalysis(Analysis):
    """Analysis without an FFT."""

    def rfft(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return real and imaginary parts of the bins, as `Analysis.rfft` does."""
        return _fourier(frames.shape[-1]).rfft(frames)


class ProductSynthesis(Synthesis):
    """Synthesis without an FFT."""

    def irfft(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Return the samples of a spectrum, as `Synthesis.irfft` does."""
        return _fourier(self.config.short_window).irfft(real, imaginary)
