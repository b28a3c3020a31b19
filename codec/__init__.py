"""Lamella, a neural audio codec. `import codec` is cheap: each public name loads what it needs on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codec.coding.compression import EncoderStream, compress, decompress
    from codec.coding.decoder_stream import DecoderStream
    from codec.coding.packets import PacketDecoder, PacketEncoder
    from codec.coding.rate_control import Quality
    from codec.config import CodecConfig
    from codec.errors import CodecError
    from codec.network.codec import Codec
    from codec.network.quantizer import ResidualVectorQuantizer, VectorQuantizer, straight_through
    from codec.presets import list_presets, load, load_keras, save_preset
    from codec.runtime.codec import NumpyCodec

__version__ = "0.2.0"

__all__ = [
    "Codec",
    "CodecConfig",
    "CodecError",
    "DecoderStream",
    "EncoderStream",
    "NumpyCodec",
    "PacketDecoder",
    "PacketEncoder",
    "Quality",
    "ResidualVectorQuantizer",
    "VectorQuantizer",
    "__version__",
    "compress",
    "decompress",
    "list_presets",
    "load_keras",
    "load",
    "save_preset",
    "straight_through",
]

_HOMES = {
    "Codec": "codec.network.codec",
    "CodecConfig": "codec.config",
    "CodecError": "codec.errors",
    "DecoderStream": "codec.coding.decoder_stream",
    "EncoderStream": "codec.coding.compression",
    "NumpyCodec": "codec.runtime.codec",
    "PacketDecoder": "codec.coding.packets",
    "PacketEncoder": "codec.coding.packets",
    "Quality": "codec.coding.rate_control",
    "ResidualVectorQuantizer": "codec.network.quantizer",
    "VectorQuantizer": "codec.network.quantizer",
    "compress": "codec.coding.compression",
    "decompress": "codec.coding.compression",
    "list_presets": "codec.presets",
    "load_keras": "codec.presets",
    "load": "codec.presets",
    "save_preset": "codec.presets",
    "straight_through": "codec.network.quantizer",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
