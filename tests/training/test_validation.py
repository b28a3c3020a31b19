"""The figures on held-out audio, and how they are told."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from support import tiny_training as tiny

from codec.errors import PresetError
from codec.network.codec import Codec
from codec.presets import save_preset
from codec.training import validation
from codec.training.initialization import kmeans_start, pca_start
from codec.training.validation import (
    Validation,
    effective_dimensions,
    in_words,
    shipped_results,
    table,
    validate,
)

RESULTS = Validation((1500, 6000), (1.7, 1.25), (0.3, 0.08), 5.62, (1.0, 0.4, 0.95), (900.0, 300.0, 880.0))


@pytest.fixture(scope="module")
def codec() -> Codec:
    """Six codebooks, so two rates, that have seen the sines."""
    codec = Codec(dataclasses.replace(tiny.CONFIG, num_codebooks=6))
    pca_start(codec, [HELD_OUT])
    kmeans_start(codec, [HELD_OUT], 2, 0)
    return codec


HELD_OUT = np.stack([tiny.sines(2.0, seed) for seed in range(3)])[..., None]


@pytest.mark.parametrize("equal", [1, 3, 8])
def test_effective_dimensions(equal: int) -> None:
    latents = np.zeros((5000, 8))
    latents[:, :equal] = np.random.default_rng(0).standard_normal((5000, equal))
    assert effective_dimensions(latents + 100.0) == pytest.approx(equal, rel=0.02)


def test_more_codebooks_leave_less(codec: Codec) -> None:
    results = validate(codec, HELD_OUT)
    assert results.bitrates == (600, 1200)
    assert results.latent_error[0] > results.latent_error[1] > 0
    assert 0 < results.mel[1] < results.mel[0] < 10
    assert 1 < results.effective_dimensions <= tiny.CONFIG.latent_dim
    assert len(results.usage) == len(results.perplexity) == 6
    assert max(results.usage) <= 1
    assert max(results.perplexity) <= tiny.CONFIG.codebook_size + 1e-3


def test_the_size_of_blocks_does_not_count(codec: Codec) -> None:
    whole, single = validate(codec, HELD_OUT), validate(codec, HELD_OUT, batch_size=1)
    assert single.mel == pytest.approx(whole.mel, rel=1e-2)
    assert single.effective_dimensions == pytest.approx(whole.effective_dimensions, rel=1e-3)


def test_in_words() -> None:
    lines = in_words(RESULTS, None, "shipped")
    assert lines[0].endswith("(log-mel, 0 is the same): 1.700 at 1.5k, 1.250 at 6k bit/s")
    assert "5.6 effective dimensions" in lines[1]
    assert len(lines) == 3
    assert lines[2].startswith("warning: codebooks with many unused codewords: 2 (40%); ")
    assert "Train longer, on more varied audio" in lines[2]
    shipped = RESULTS._replace(mel=(1.5, 1.1), usage=(1.0, 1.0, 1.0))
    assert in_words(shipped, RESULTS, "lamella-48k")[1:] == [
        "the same of lamella-48k: 1.700 at 1.5k, 1.250 at 6k bit/s",
        "latents: 5.6 effective dimensions, error 0.300/0.080",
    ]
    assert "1.250 at 6k" in str(RESULTS)


def test_the_table_of_the_card() -> None:
    assert table(RESULTS).splitlines()[2:] == ["| 1500 | 1.700 | 0.300 |", "| 6000 | 1.250 | 0.080 |"]


def test_the_shipped_model_is_measured_where_it_fits(
    codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_preset(codec, tmp_path, "# tiny\n")
    monkeypatch.setattr(validation, "find_preset", lambda _: tmp_path)
    found = shipped_results(tiny.RATE, HELD_OUT)
    assert found is not None
    assert found.mel == pytest.approx(validate(codec, HELD_OUT).mel, rel=0.05)
    assert shipped_results(48000, HELD_OUT) is None

    def missing(name: str) -> Path:
        raise PresetError(f"no model '{name}'")

    monkeypatch.setattr(validation, "find_preset", missing)
    assert shipped_results(tiny.RATE, HELD_OUT) is None
