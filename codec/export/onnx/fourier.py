"""The Fourier transform by matrix products in a graph: few runtimes have an FFT of these lengths."""

from __future__ import annotations

from codec.export.fourier_factors import FourierFactors
from codec.export.onnx.graph import Value


class Fourier:
    """The Fourier transform of real signals of one length, even.

    A signal stands as a matrix, row after row. A product from the left transforms its columns, one from the right its
    rows; between them come the twiddle factors (see `codec.export.fourier_factors`).
    """

    def __init__(self, length: int) -> None:
        self.factors = FourierFactors(length)

    def rfft(self, x: Value) -> tuple[Value, Value]:
        """Return real and imaginary parts of the bins: [batch, frame, length] -> [batch, frame, bins] each."""
        factors = self.factors
        columns = factors.first.T @ x.reshape(0, 0, factors.rows, factors.columns)
        real, imaginary = columns.part(2, 0, factors.rows), columns.part(2, factors.rows)
        cosines, sines = factors.cosines.T, factors.sines.T
        turned = [real * cosines - imaginary * sines, real * sines + imaginary * cosines]
        parts = (x.graph.concatenate(turned) @ factors.second).swap(0, 1, 3, 2)
        used = factors.second.shape[1] // 2
        real, imaginary = (
            parts.part(2, start, start + used).reshape(0, 0, used * factors.rows).part(2, 0, factors.bins)
            for start in (0, used)
        )
        return real, imaginary

    def irfft(self, real: Value, imaginary: Value) -> Value:
        """Return the signal of a spectrum times `length`: [batch, frame, bins] each -> [batch, frame, length].

        A forward transform of real + imaginary parts gives it, by way of the Hartley transform (Hartley 1942).
        """
        last = self.factors.bins - 1
        imaginary = imaginary * self.factors.inner  # of the first and the last bin it means nothing
        parts = [real + imaginary, (real - imaginary).part(2, last - 1, 0, -1)]
        real, imaginary = self.rfft(real.graph.concatenate(parts))
        parts = [real + imaginary, (real - imaginary).part(2, last - 1, 0, -1)]
        return real.graph.concatenate(parts)
