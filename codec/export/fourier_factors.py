r"""The matrices of a Fourier transform by products, for runtimes without an FFT.

A transform of length n = a * b is two products with small matrices (Cooley and Tukey 1965):

    x as [a, b] -> columns times waves of length a -> times W^(j k) -> rows times waves of length b -> [b, a] as X

For n = 1920 = 40 * 48 and n = 960 = 30 * 32 that takes a tenth of the multiplications of one large matrix.
"""

from __future__ import annotations

import math

import numpy as np


class FourierFactors:
    """The matrices of the transform of real signals of one length.

    Args:
        length: samples; even.

    Attributes:
        rows, columns: of a signal as a matrix; their product is the length.
        bins: from zero to half the sample rate.
        first: transforms columns, float32 [rows, 2 rows]: real parts, imaginary parts.
        cosines, sines: the twiddle factors, float32 [columns, rows].
        second: transforms rows whose real and imaginary parts stand side by side, float32 [2 columns, 2 used]. The
            rows of the result that hold no bin are left out.
        inner: 1, but 0 at the first and the last bin, float32 [bins].
    """

    def __init__(self, length: int) -> None:
        self.length, self.bins = length, length // 2 + 1
        self.rows = max(number for number in range(1, math.isqrt(length) + 1) if length % number == 0)
        self.columns = length // self.rows
        used = self.bins // self.rows + 1
        first = _waves(self.rows, self.rows, self.rows)
        second = _waves(self.columns, used, self.columns)
        twiddles = _waves(self.columns, self.rows, length)
        self.first = np.hstack([first.real, first.imag]).astype(np.float32)
        self.second = np.block([[second.real, second.imag], [-second.imag, second.real]]).astype(np.float32)
        self.cosines, self.sines = twiddles.real.astype(np.float32), twiddles.imag.astype(np.float32)
        self.inner = np.ones(self.bins, np.float32)
        self.inner[[0, -1]] = 0


def _waves(count: int, frequencies: int, length: int) -> np.ndarray:
    """Return exp(-2 pi i j k / length) for j below `count` and k below `frequencies`."""
    turns = np.outer(np.arange(count), np.arange(frequencies)) % length
    return np.exp(-2j * np.pi * turns / length)
