"""The Fourier transform by matrix products equals numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from support.contract import white

from codec.config import CodecConfig
from codec.export.fourier import Fourier, ProductAnalysis, ProductSynthesis
from codec.network.spectral import Analysis, Synthesis


@pytest.mark.parametrize("length", [320, 960, 1920])
def test_it_equals_numpys_transform_and_its_inverse(length: int) -> None:
    x, fourier = white(2, 3, length), Fourier(length)
    real, imaginary = map(np.asarray, fourier.rfft(x))
    np.testing.assert_allclose(real + 1j * imaginary, np.fft.rfft(x), atol=1e-5 * length**0.5)
    spectrum = white(2, 3, length // 2 + 1) + 1j * white(2, 3, length // 2 + 1, seed=4)
    samples = fourier.irfft(spectrum.real, spectrum.imag)
    np.testing.assert_allclose(samples, np.fft.irfft(spectrum, length), atol=1e-6)


def test_analysis_and_synthesis_by_products_equal_those_by_fft(tiny_config: CodecConfig) -> None:
    audio, spectrum = white(2, 8 * tiny_config.hop_length, 1), white(2, 16, 2 * tiny_config.synthesis_bins)
    np.testing.assert_allclose(ProductAnalysis(tiny_config)(audio), Analysis(tiny_config)(audio), atol=1e-3)
    np.testing.assert_allclose(
        ProductSynthesis(tiny_config)(spectrum), Synthesis(tiny_config)(spectrum), atol=1e-5
    )
