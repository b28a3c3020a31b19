"""The config of a model: its bitrates, its JSON, and the errors for values that do not fit together."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from codec.config import LARGEST, MAX_FRAME_RATE, MAX_PHASOR_BINS, CodecConfig
from codec.errors import PresetError

NAMES = [field.name for field in dataclasses.fields(CodecConfig)]
WIDTHS = [name for name in NAMES if name.endswith(("width", "blocks", "dim", "bands", "channels"))]


@st.composite
def configs(draw: st.DrawFn) -> CodecConfig:
    """Draw a config whose sizes fit together."""
    hop = 2 * draw(st.integers(8, 480))
    rate = hop // 2 * draw(st.integers(-(-1000 // (hop // 2)), 900))
    assume(rate <= min(192_000, MAX_FRAME_RATE * hop))
    values = {name: draw(st.integers(1, LARGEST[name])) for name in WIDTHS}
    bin_width = -(-rate // hop)  # Hz, rounded up
    limits = {
        "spectrum_limit": draw(st.integers(1, rate // 2)),
        "phase_limit": draw(st.integers(bin_width, min(4000, rate // 4))),
    }
    highest = min(8000, rate // 2, MAX_PHASOR_BINS * rate // hop)
    least = limits["phase_limit"] + bin_width
    assume(least <= highest)
    limits["phasor_limit"] = draw(st.integers(least, highest))
    codebooks = draw(st.integers(1, 40))
    sizes = {
        "num_codebooks": codebooks,
        "base_codebooks": (base := draw(st.integers(1, codebooks))),
        "core_codebooks": draw(st.integers(base, 40)),
        "codebook_size": 2 ** draw(st.integers(1, 16)),
    }
    return CodecConfig(sample_rate=rate, hop_length=hop, **values, **limits, **sizes)


@given(configs())
def test_a_config_survives_json(config: CodecConfig) -> None:
    assert CodecConfig.from_json(config.to_json()) == config


@given(configs())
def test_bitrates_rise_and_lead_back_to_their_codebooks(config: CodecConfig) -> None:
    rates = config.bitrates
    assert list(rates) == sorted(rates) and rates
    for count, rate in zip(config.shipped_codebooks, rates, strict=True):
        assert config.bitrate_of(count) == rate == round(count * config.bits_per_code * config.frame_rate)
        assert 2**config.bits_per_code == config.codebook_size
        assert count <= config.num_codebooks
    if len(set(rates)) == len(rates):
        assert [config.num_codebooks_for(rate) for rate in rates] == list(config.shipped_codebooks)


def test_the_default_config_has_the_documented_sizes() -> None:
    config = CodecConfig()
    assert (config.frame_rate, config.latent_dim, config.bits_per_code) == (50.0, 96, 10)
    assert config.bitrates == (1500, 3000, 6000, 12000, 15000)
    assert [config.num_codebooks_for(rate) for rate in config.bitrates] == [3, 6, 12, 24, 30]
    assert (config.spectral_hop, config.long_window, config.short_window) == (480, 1920, 960)
    assert (config.spectrum_bins, config.phase_bins, config.synthesis_bins) == (321, 20, 481)


def test_a_model_with_few_codebooks_has_fewer_bitrates() -> None:
    assert CodecConfig(num_codebooks=2, base_codebooks=1).shipped_codebooks == (2,)
    assert CodecConfig(num_codebooks=7).shipped_codebooks == (3, 6)


def test_the_error_for_an_unknown_bitrate_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"bitrate 4000 .* 1500, 3000, 6000, 12000, 15000"):
        CodecConfig().num_codebooks_for(4000)


def test_a_caller_chooses_codebooks_by_rate_or_by_number() -> None:
    config = CodecConfig()
    assert config.choose_codebooks() == 12
    assert config.choose_codebooks(bitrate=3000) == 6
    assert config.choose_codebooks(num_codebooks=7) == 7
    assert (
        CodecConfig(num_codebooks=6, core_codebooks=6).choose_codebooks() == 6
    )  # 3,000 bit/s is nearest to 6,000


@pytest.mark.parametrize(
    ("bitrate", "num_codebooks", "message"),
    [
        (6000, 12, "not both"),
        (6001, None, "bitrate 6001"),
        (None, 0, "must be 1 to 30, found 0"),
        (None, 31, "must be 1 to 30, found 31"),
    ],
)
def test_a_choice_that_the_model_does_not_have_is_refused(
    bitrate: int | None, num_codebooks: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        CodecConfig().choose_codebooks(bitrate, num_codebooks)


@given(st.sampled_from(NAMES), st.sampled_from([0, -1, 1.5, "8", None, True, [1], 10**9, 10**4000]))
def test_every_size_must_be_an_integer_within_its_limits(name: str, value: object) -> None:
    expected = rf"^`{name}` must be an integer from \d+ to {LARGEST[name]}, found .{{1,60}}$"
    with pytest.raises(ValueError, match=expected):
        CodecConfig(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_every_size_has_a_limit_well_above_that_of_the_default(name: str) -> None:
    assert LARGEST[name] >= 4 * getattr(CodecConfig(), name)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hop_length": 961}, "must be even"),
        ({"hop_length": 962}, "divide the sample rate"),
        ({"codebook_size": 1000}, "power of two, found 1000"),
        ({"base_codebooks": 31, "core_codebooks": 31}, "31 are more than 31 .* and 30 `num_codebooks`"),
        ({"core_codebooks": 2}, "3 are more than 2 `core_codebooks`"),
        ({"spectrum_limit": 24001}, "above half the sample rate"),
        ({"sample_rate": 8000, "hop_length": 160, "phase_limit": 4001}, "above half the sample rate"),
        ({"hop_length": 80}, "600 frames per second, expected at most 500"),
        ({"hop_length": 3840, "phasor_limit": 8000}, "640 bins of the short window, expected at most 256"),
        ({"codebook_size": 1}, "from 2 to 65536, found 1"),
        ({"codebook_size": 2**17}, "from 2 to 65536, found 131072"),
        ({"hop_length": 65536}, "from 2 to 4096, found 65536"),
        ({"phase_limit": 49}, "below the first bin"),
        ({"decoder_expansion": 2}, "from 100 to 1000, found 2"),
    ],
)
def test_values_that_do_not_fit_together_are_refused(values: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CodecConfig(**values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "must be a JSON object, found list"),
        ('{"hop": 1, "answer": 42}', "unknown keys: answer, hop"),
        ('{"hop_length": 0}', "not usable: `hop_length` must be an integer from 2 to 4096, found 0"),
        ('{"sample_rate": "48000"}', "not usable"),
        ("[" * 60_000, "not JSON"),
        ('{"hop_length": 960, ' + " " * 2**16, "has 65556 characters, expected at most 65536"),
        ('{"hop_length": ' + "9" * 5000 + "}", "not JSON"),
        ('{"a\\nb": 1, "b": 2, "c": 3, "d": 4, "e": 5}', r"unknown keys: 'a\\nb', b, c and 2 more"),
    ],
)
def test_an_unusable_file_is_a_preset_error(text: str, message: str) -> None:
    with pytest.raises(PresetError, match=message) as caught:
        CodecConfig.from_json(text)
    assert "\n" not in str(caught.value)


def test_missing_keys_have_the_default() -> None:
    assert CodecConfig.from_json('{"num_codebooks": 24}') == CodecConfig(num_codebooks=24)


def test_every_size_is_stored() -> None:
    assert set(json.loads(CodecConfig().to_json())) == set(NAMES)


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CodecConfig().hop_length = 1  # type: ignore[misc]
