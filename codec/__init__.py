"""Lamella, a neural audio codec. `import codec` is cheap: each public name loads what it needs on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codec.compression import EncoderStream, compress, decompress
    from codec.config import CodecConfig
    from codec.decoding import DecoderStream
    from codec.errors import CodecError
    from codec.light import LightCodec
    from codec.model import Codec
    from codec.packets import PacketDecoder, PacketEncoder
    from codec.presets import list_presets, load_codec, load_light, save_codec
    from codec.quality import Quality
    from codec.quantizer import ResidualVectorQuantizer, VectorQuantizer, straight_through

__version__ = "0.1.0"

__all__ = [
    "Codec",
    "CodecConfig",
    "CodecError",
    "DecoderStream",
    "EncoderStream",
    "LightCodec",
    "PacketDecoder",
    "PacketEncoder",
    "Quality",
    "ResidualVectorQuantizer",
    "VectorQuantizer",
    "__version__",
    "compress",
    "decompress",
    "list_presets",
    "load_codec",
    "load_light",
    "save_codec",
    "straight_through",
]

_HOMES = {
    "Codec": "codec.model",
    "CodecConfig": "codec.config",
    "CodecError": "codec.errors",
    "DecoderStream": "codec.decoding",
    "EncoderStream": "codec.compression",
    "LightCodec": "codec.light",
    "PacketDecoder": "codec.packets",
    "PacketEncoder": "codec.packets",
    "Quality": "codec.quality",
    "ResidualVectorQuantizer": "codec.quantizer",
    "VectorQuantizer": "codec.quantizer",
    "compress": "codec.compression",
    "decompress": "codec.compression",
    "list_presets": "codec.presets",
    "load_codec": "codec.presets",
    "load_light": "codec.presets",
    "save_codec": "codec.presets",
    "straight_through": "codec.quantizer",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
