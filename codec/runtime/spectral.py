"""Complex spectra in numpy: what the encoder and the decoder share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from codec.config import CodecConfig
from codec.dsp import PHASOR_FLOOR


def seconds(config: CodecConfig, *parts: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield [batch, spectral frame, ...] one second at a time, so that spectra fit the processor's cache."""
    size = 2 * config.reset_interval
    for start in range(0, parts[0].shape[1], size):
        yield tuple(part[:, start : start + size] for part in parts)


def power(x: np.ndarray) -> np.ndarray:
    """Return |x|^2."""
    return x.real * x.real + x.imag * x.imag


def unit(x: np.ndarray) -> np.ndarray:
    """Bring complex numbers to length one."""
    return x / np.sqrt(power(x) + np.float32(PHASOR_FLOOR))


def exp_within(x: np.ndarray, least: float, most: float) -> np.ndarray:
    """Return exp of x limited to a range; `np.clip` takes several times as long on a few numbers."""
    return np.exp(np.minimum(np.maximum(x, np.float32(least)), np.float32(most)))
