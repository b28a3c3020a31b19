"""The Fourier transform by matrix products in Keras, for runtimes without an FFT (`codec.export.fourier_factors`)."""

from __future__ import annotations

import functools

from keras import ops

from codec.export.fourier_factors import FourierFactors
from codec.network.spectral import Analysis, Synthesis
from codec.network.streaming import Tensor


class Fourier(FourierFactors):
    """The Fourier transform of real signals of one length."""

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
        imaginary = imaginary * self.inner  # of the first and the last bin it means nothing
        mirrored = ops.flip((real - imaginary)[..., inner], axis=-1)
        real, imaginary = self.rfft(ops.concatenate([real + imaginary, mirrored], axis=-1))
        mirrored = ops.flip((real - imaginary)[..., inner], axis=-1)
        return ops.concatenate([real + imaginary, mirrored], axis=-1) / self.length


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
