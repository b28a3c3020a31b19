"""A small model and its exports, made once and shared by all tests."""

from __future__ import annotations

import dataclasses
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.exports import EACH_FORMAT, Export, open_export
from support.models import random_codec

from codec.config import CodecConfig
from codec.export import export_litert, export_saved_model
from codec.presets import load, save_preset
from codec.runtime import NumpyCodec

FORMATS = {"saved-model": export_saved_model, "litert": export_litert}


@pytest.fixture(scope="session")
def small_preset(tiny_config: CodecConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of few codebooks, because graphs grow with them, and with voiced frames."""
    codec = random_codec(dataclasses.replace(tiny_config, num_codebooks=6), seed=5)
    generator, decoder = np.random.default_rng(5), dict(codec.parts["decoder"])
    for name in ("head.pitch.kernel", "head.excitation.kernel"):
        decoder[name] = generator.standard_normal(decoder[name].shape).astype(np.float32)
    directory = tmp_path_factory.mktemp("models") / "small"
    parts = {**codec.parts, "decoder": decoder}
    save_preset(NumpyCodec(codec.config, parts), directory, "# Small: for tests, untrained\n")
    return directory


@pytest.fixture(scope="session")
def small_codec(small_preset: Path) -> NumpyCodec:
    """The small model in numpy, with the search of exports."""
    return load(small_preset, effort=0)


@pytest.fixture(scope="session")
def exported(small_preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the export of the small model in a format. The processes of pytest-xdist share it. Do not write to it."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def export(format_name: str) -> Path:
        directory = root / format_name
        with open(root / f"{format_name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not directory.exists():
                FORMATS[format_name](small_preset, directory)
        return directory

    return export


@pytest.fixture(scope="session", params=EACH_FORMAT)
def export(request: pytest.FixtureRequest, exported: Callable[[str], Path]) -> Export:
    """The export of the small model, opened, in each format."""
    return open_export(exported(request.param))
