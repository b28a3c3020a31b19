"""Models on disk: names and folders, reading, writing, and finding the model that a file needs.

A preset is a folder, found by name among the shipped ones or by path:

config.json            the sizes, see `codec.config`
encoder.safetensors    float16, or float32 where a number is too large; read without executing anything
quantizer.safetensors  as above
decoder.safetensors    as above
prior.safetensors      integers: how likely each code is (`codec.bitstream.prior`); not every model has it
card.md                data, licence, figures and limits, for people
"""

from __future__ import annotations

from codec.presets.catalog import (
    DEFAULT_PRESET,
    Preset,
    find_preset,
    list_models,
    list_presets,
    samples,
    web_page,
)
from codec.presets.identity import accepts, find_by_identity, identity_of, load_by_identity, model_id
from codec.presets.reading import load, load_keras, read_config
from codec.presets.writing import save_preset, save_prior

__all__ = [
    "DEFAULT_PRESET",
    "Preset",
    "accepts",
    "find_by_identity",
    "find_preset",
    "identity_of",
    "list_models",
    "list_presets",
    "load",
    "load_by_identity",
    "load_keras",
    "model_id",
    "read_config",
    "samples",
    "save_preset",
    "save_prior",
    "web_page",
]
