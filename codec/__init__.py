"""Lamella, a neural audio codec. `import codec` is fast: each public name loads what it needs on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codec.coding.compression import compress
    from codec.coding.decoder_stream import DecoderStream
    from codec.coding.decompression import decompress
    from codec.coding.encoder_stream import EncoderStream
    from codec.coding.packets import PacketDecoder, PacketEncoder
    from codec.config import CodecConfig
    from codec.errors import CodecError
    from codec.network.codec import Codec
    from codec.network.quantizer import ResidualVectorQuantizer, VectorQuantizer, straight_through
    from codec.presets import list_presets, load, load_keras, save_preset
    from codec.protocol import StreamingCodec
    from codec.runtime.codec import NumpyCodec

__version__ = "0.2.0"

_MODULES = {  # of each public name
    "Codec": "codec.network.codec",
    "CodecConfig": "codec.config",
    "CodecError": "codec.errors",
    "DecoderStream": "codec.coding.decoder_stream",
    "EncoderStream": "codec.coding.encoder_stream",
    "NumpyCodec": "codec.runtime.codec",
    "PacketDecoder": "codec.coding.packets",
    "PacketEncoder": "codec.coding.packets",
    "ResidualVectorQuantizer": "codec.network.quantizer",
    "StreamingCodec": "codec.protocol",
    "VectorQuantizer": "codec.network.quantizer",
    "compress": "codec.coding.compression",
    "decompress": "codec.coding.decompression",
    "list_presets": "codec.presets",
    "load": "codec.presets",
    "load_keras": "codec.presets",
    "save_preset": "codec.presets",
    "straight_through": "codec.network.quantizer",
}

__all__ = [
    "Codec",
    "CodecConfig",
    "CodecError",
    "DecoderStream",
    "EncoderStream",
    "NumpyCodec",
    "PacketDecoder",
    "PacketEncoder",
    "ResidualVectorQuantizer",
    "StreamingCodec",
    "VectorQuantizer",
    "__version__",
    "compress",
    "decompress",
    "list_presets",
    "load",
    "load_keras",
    "save_preset",
    "straight_through",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
