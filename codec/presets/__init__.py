"""Models on disk."""

from __future__ import annotations

from codec.presets.store import *  # noqa: F403
