"""Options as people write them, and the values that verbs get."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.options import (
    Chunking,
    Excerpt,
    FileArguments,
    FiniteRange,
    RateOptions,
    format_bitrate,
    parse_bitrate,
    parse_time,
)
from codec.config import CodecConfig


@pytest.mark.parametrize(
    ("text", "bitrate"), [("6k", 6000), ("1.5K", 1500), ("12000", 12000), (" 3k ", 3000)]
)
def test_a_bitrate_is_read_with_or_without_k(text: str, bitrate: int) -> None:
    assert parse_bitrate(text) == bitrate
    assert parse_bitrate(format_bitrate(bitrate)) == bitrate


@pytest.mark.parametrize("text", ["", "k", "-6k", "6m", "1e3", "6k6", "9" * 30])
def test_other_text_is_not_a_bitrate(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a bitrate"):
        parse_bitrate(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("62.5", 62.5), ("1:02.5", 62.5), ("1:00:02.5", 3602.5), ("0", 0), ("90:00", 5400)]
)
def test_a_time_is_read_with_or_without_colons(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "1:", ":5", "-1", "1:2:3:4", "1.5:00", "nan", "1e3", "1 2"])
def test_other_text_is_not_a_time(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a time"):
        parse_time(text)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999"])
def test_a_number_must_be_finite(text: str) -> None:
    with pytest.raises(click.BadParameter):
        FiniteRange(min=0).convert(text, None, None)


@pytest.mark.parametrize(
    ("excerpt", "seconds", "length"),
    [
        (Excerpt(0, None), None, None),
        (Excerpt(1, None), 3.0, 2),
        (Excerpt(1, 2), None, 1),
        (Excerpt(5, 9), 3.0, 0),
    ],
)
def test_the_length_of_an_excerpt_is_known_as_soon_as_its_end_is(
    excerpt: Excerpt, seconds: float | None, length: float | None
) -> None:
    assert excerpt.length_in(seconds) == length


@pytest.mark.parametrize(
    ("chunking", "frames"),
    [
        (Chunking(live=False, chunk_ms=None, packet=False), None),
        (Chunking(live=True, chunk_ms=100, packet=False), 5),
        (Chunking(live=True, chunk_ms=None, packet=True), 1),
    ],
)
def test_the_length_of_a_chunk_is_in_frames(
    tiny_config: CodecConfig, chunking: Chunking, frames: int | None
) -> None:
    assert chunking.frames_per_chunk(tiny_config) == frames


def test_a_rate_that_the_model_does_not_have_is_refused(tiny_config: CodecConfig) -> None:
    config = dataclasses.replace(tiny_config, num_codebooks=6)
    for rate in (
        RateOptions(),
        RateOptions(bitrate=3000),
        RateOptions(num_codebooks=6),
        RateOptions(quality=10),
    ):
        rate.check(config)
    for rate in (
        RateOptions(bitrate=6000),
        RateOptions(num_codebooks=7),
        RateOptions(bitrate=3000, num_codebooks=6),
    ):
        with pytest.raises(click.UsageError):
            rate.check(config)


@given(
    st.lists(
        st.text(st.characters(codec="ascii", exclude_characters="/\0"), min_size=1, max_size=3), min_size=1
    )
)
def test_no_two_files_get_the_same_output(stems: list[str]) -> None:
    names = tuple(f"in/{stem}.wav" for stem in stems)
    try:
        pairs = FileArguments(names, Path("out")).inputs_and_outputs(Path("out"), ".lam")
    except click.ClickException:
        stems_of_names = [Path(name).stem for name in names]
        assert len(set(stems_of_names)) < len(names)
    else:
        assert [source for source, _ in pairs] == list(names)
        assert len({target for _, target in pairs}) == len(names)
