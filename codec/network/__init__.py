"""The model in Keras, for training and export. It knows no files and no bytes."""

from __future__ import annotations

from codec.network.codec import Codec, CodecState

__all__ = ["Codec", "CodecState"]
