"""The codec for programs that have neither Python nor this library."""

from __future__ import annotations

from codec.export.formats import export_litert, export_saved_model

__all__ = ["export_litert", "export_saved_model"]
