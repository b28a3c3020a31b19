"""Folders of noise to build a corpus from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from codec.training.corpus import Corpus, build_cache

RATE = 8000  # Hz


def write(path: Path, seconds: float = 1.0, level: float = 0.3, rate: int = RATE, channels: int = 1) -> Path:
    """Write noise to a new file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name))
    noise = level * rng.uniform(-1, 1, (round(seconds * rate), channels))
    opus = {"format": "OGG", "subtype": "OPUS"} if path.suffix == ".opus" else {}
    soundfile.write(path, noise, rate, **opus)
    return path


def build(folder: Path, said: list[str] | None = None) -> Corpus:
    """Build the audio cache of a folder beside it."""
    return build_cache(folder, folder.parent / "cache", RATE, (said if said is not None else []).append)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of six files: two groups, and one file of the folder itself."""
    for i in range(3):
        write(tmp_path / "in" / "speech" / f"{i}.wav", 1 + i / 4)
    for i in range(2):
        write(tmp_path / "in" / "music" / "deep" / f"{i}.flac", 0.75, channels=2)
    write(tmp_path / "in" / "loose.wav", 0.6)
    return tmp_path / "in"


@pytest.fixture
def corpus(folder: Path) -> Corpus:
    """Return the corpus of `folder`."""
    return build(folder)
