"""The figures on held-out audio, and the lines that report them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from support import tiny_training as tiny

from codec.network import Codec
from codec.presets import save_preset
from codec.training import validation
from codec.training.initialization import initialize_codebooks, initialize_linear_paths
from codec.training.validation import (
    Validation,
    Validator,
    effective_dimensions,
    measure_default_preset,
    validate,
)

RESULTS = Validation((1500, 6000), (1.7, 1.25), (0.3, 0.08), 5.62, (1.0, 0.4, 0.95), (900.0, 300.0, 880.0))


@pytest.fixture(scope="module")
def codec() -> Codec:
    """Return a codec with six codebooks, so two bitrates, initialized on sines."""
    codec = Codec(dataclasses.replace(tiny.CONFIG, num_codebooks=6))
    initialize_linear_paths(codec, [HELD_OUT])
    initialize_codebooks(codec, [HELD_OUT], 2, 0)
    return codec


HELD_OUT = np.stack([tiny.sines(1.0, seed) for seed in range(3)])[..., None]


@pytest.mark.parametrize("equal", [1, 3, 8])
def test_effective_dimensions(equal: int) -> None:
    latents = np.zeros((5000, 8))
    latents[:, :equal] = np.random.default_rng(0).standard_normal((5000, equal))
    assert effective_dimensions(latents + 100.0) == pytest.approx(equal, rel=0.02)


def test_more_codebooks_leave_a_smaller_error(codec: Codec) -> None:
    results = validate(codec, HELD_OUT)
    assert results.bitrates == (600, 1200)
    assert results.latent_error[0] > results.latent_error[1] > 0
    assert 0 < results.mel[1] < results.mel[0] < 10
    assert 1 < results.effective_dimensions <= tiny.CONFIG.latent_dim
    assert len(results.usage) == len(results.perplexity) == 6
    assert max(results.usage) <= 1
    assert max(results.perplexity) <= tiny.CONFIG.codebook_size + 1e-3


def test_the_batch_size_does_not_change_the_figures(codec: Codec) -> None:
    whole, single = validate(codec, HELD_OUT), validate(codec, HELD_OUT, batch_size=1)
    assert single.mel == pytest.approx(whole.mel, rel=1e-2)
    assert single.effective_dimensions == pytest.approx(whole.effective_dimensions, rel=1e-3)


def test_unused_codewords_are_reported_with_a_remedy() -> None:
    lines = RESULTS.lines()
    assert lines[0].endswith("(0 is identical): 1.700 at 1.5k, 1.250 at 6k bit/s")
    assert lines[1] == "latents: 5.6 effective dimensions, error 0.300/0.080"
    assert len(lines) == 3
    assert lines[2].startswith("warning: ") and "2 (40%)" in lines[2]
    assert "Train longer, on more varied audio" in lines[2]
    assert len(RESULTS._replace(usage=(1.0, 1.0, 1.0)).lines()) == 2


def test_the_table_has_a_line_for_each_bitrate() -> None:
    assert RESULTS.table().splitlines()[2:] == ["| 1500 | 1.700 | 0.300 |", "| 6000 | 1.250 | 0.080 |"]


@pytest.fixture
def default_preset(codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the tiny codec the default preset."""
    save_preset(codec, tmp_path, "# tiny\n")
    monkeypatch.setattr(validation, "DEFAULT_PRESET", tmp_path)


def test_the_default_preset_is_measured_if_its_sample_rate_fits(codec: Codec, default_preset: None) -> None:
    found = measure_default_preset(tiny.RATE, HELD_OUT[:1])
    assert found is not None
    assert found.mel == pytest.approx(validate(codec, HELD_OUT[:1]).mel, rel=0.05)
    assert measure_default_preset(48000, HELD_OUT) is None


def test_a_missing_default_preset_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "DEFAULT_PRESET", "no such model")
    assert measure_default_preset(tiny.RATE, HELD_OUT) is None


def test_a_validator_says_the_figures_of_the_default_preset_too(
    codec: Codec, default_preset: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, measured = list[str](), list[Codec]()
    monkeypatch.setattr(validation, "validate", lambda codec, audio: measured.append(codec) or RESULTS)
    validator = Validator(HELD_OUT, said.append)
    for _ in range(2):
        assert validator.measure(codec) is RESULTS
    assert len(measured) == 3  # the default preset only once
    assert [line.split(":")[0] for line in said[:4]] == [
        "log-mel distance of decoded from held-out audio (0 is identical)",
        f"the same for {validation.DEFAULT_PRESET}",
        "latents",
        "warning",
    ]
