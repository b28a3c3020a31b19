"""The model in numpy, for coding. It never loads a training framework."""

from __future__ import annotations

from codec.runtime.codec import NumpyCodec

__all__ = ["NumpyCodec"]
