"""The beam search: exhaustive where it is wide enough, greedy with one candidate."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.contract import white

from cli.verbs import lamella
from codec.audio import AudioReader
from codec.presets import load, samples
from codec.runtime.beam_search import CANDIDATES, ROWS_PER_SEARCH, BeamSearch
from codec.runtime.codec import NumpyCodec
from codec.runtime.layers import Step


def codes_of(rows: np.ndarray, books: np.ndarray, candidates: int) -> np.ndarray:
    return BeamSearch(books, candidates).search(rows, range(len(books)))


def summed(codes: np.ndarray, books: np.ndarray) -> np.ndarray:
    return sum(book[codes[:, stage]] for stage, book in enumerate(books))


def one_after_another(rows: np.ndarray, books: np.ndarray) -> np.ndarray:
    """The nearest codeword of each stage."""
    codes = []
    for book in books:
        codes.append(np.argmin(((rows[:, None] - book) ** 2).sum(axis=-1), axis=1))
        rows = rows - book[codes[-1]]
    return np.stack(codes, axis=1)


@given(st.integers(0, 300), st.integers(1, 6), st.integers(1, 4), st.integers(1, 20))
def test_the_last_code_is_the_nearest_after_those_before_it(
    seed: int, count: int, stages: int, candidates: int
) -> None:
    rows, books = white(count, 3, seed=seed), white(stages, 4, 3, seed=seed + 1)
    codes = codes_of(rows, books, candidates)
    assert codes.shape == (count, stages)
    assert codes.dtype == np.int32
    left = rows - summed(codes[:, :-1], books[:-1])
    distances = ((left[:, None] - books[-1]) ** 2).sum(axis=-1)
    chosen = np.take_along_axis(distances, codes[:, -1:], axis=1)[:, 0]
    np.testing.assert_allclose(chosen, distances.min(axis=1), atol=1e-5)


def test_one_candidate_is_the_nearest_codeword_of_each_stage() -> None:
    rows, books = white(50, 4), white(3, 8, 4, seed=1)
    assert np.array_equal(codes_of(rows, books, 1), one_after_another(rows, books))


def test_all_candidates_are_the_exhaustive_search() -> None:
    rows, books = white(20, 3), white(3, 4, 3, seed=1)
    every = np.array(list(itertools.product(range(4), repeat=3)))
    errors = ((rows[:, None] - summed(every, books)) ** 2).sum(axis=-1)
    assert np.array_equal(codes_of(rows, books, 64), every[errors.argmin(axis=1)])


@pytest.mark.parametrize("candidates", [2, 4, 8])
def test_more_candidates_leave_less(candidates: int) -> None:
    """On average: the beam may lose the best sum of a single row."""
    rows, books = white(500, 8), white(6, 16, 8, seed=1) * (0.7 ** np.arange(6))[:, None, None]
    narrow, wide = (
        rows - summed(codes_of(rows, books, count), books) for count in (candidates // 2, candidates)
    )
    assert np.mean(wide**2) < np.mean(narrow**2)


def test_stages_in_the_middle_and_rows_that_lack_dimensions() -> None:
    rows, books = white(30, 3), white(5, 16, 6, seed=1)
    books[:, :, 3:] = 0
    found = BeamSearch(books, 4).search(rows, range(1, 4))
    assert np.array_equal(found, codes_of(rows, books[1:4, :, :3], 4))


def test_rows_are_independent() -> None:
    rows, books = white(2 * ROWS_PER_SEARCH + 1, 3), white(3, 8, 3, seed=1)
    found, search = codes_of(rows, books, 3), BeamSearch(books, 3)
    for at in (0, ROWS_PER_SEARCH - 1, ROWS_PER_SEARCH, 2 * ROWS_PER_SEARCH):
        assert np.array_equal(search.search(rows[at : at + 1], range(3)), found[at : at + 1])


def test_no_rows_and_no_stages() -> None:
    assert codes_of(white(0, 3), white(2, 4, 3), 2).shape == (0, 2)
    assert codes_of(white(5, 3), white(0, 4, 3), 2).shape == (5, 0)


def followed_one_by_one(
    frames: np.ndarray, base: np.ndarray, prediction: np.ndarray, books: np.ndarray
) -> np.ndarray:
    """Codes [frame, stage] of frames [frame, dim], the nearest codewords one after the other."""
    codes = []
    for frame in frames:
        expected = base @ prediction
        codes.append(one_after_another((frame - expected)[None], books)[0])
        base = expected + summed(codes[-1][None], books)[0]
    return np.array(codes)


@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 99))
def test_a_single_frame_is_searched_as_its_prediction_error(rows: int, candidates: int, seed: int) -> None:
    frames, base, prediction = white(rows, 1, 3, seed=seed), white(rows, 3, seed=1), 0.5 * white(3, 3, seed=2)
    books = white(4, 16, 3, seed=3)
    found = BeamSearch(books, candidates).follow(frames, base, prediction, range(4))
    expected = codes_of(frames[:, 0] - base @ prediction, books, candidates)
    assert np.array_equal(found.codes[:, 0], expected)
    np.testing.assert_allclose(found.bases[:, 0], base @ prediction + summed(expected, books), atol=1e-5)


def test_one_path_is_the_nearest_codewords_frame_by_frame() -> None:
    frames, base, prediction = white(5, 12, 3), white(5, 3, seed=1), 0.5 * white(3, 3, seed=2)
    books = white(2, 16, 3, seed=3)
    found = BeamSearch(books, 1).follow(frames, base, prediction, range(2))
    expected = [followed_one_by_one(*row, prediction, books) for row in zip(frames, base, strict=True)]
    assert np.array_equal(found.codes, expected)


def test_all_paths_are_the_exhaustive_search() -> None:
    frames, base, prediction = white(4, 3, 2), white(4, 2, seed=1), 0.9 * np.eye(2, dtype=np.float32)
    books = white(1, 4, 2, seed=2)
    found = BeamSearch(books, 64).follow(frames, base, prediction, range(1))
    every = np.array(list(itertools.product(range(4), repeat=3)))  # [path, frame]
    for row in range(4):
        state, errors = np.tile(base[row], (len(every), 1)), 0
        for frame in range(3):
            state = state @ prediction + books[0][every[:, frame]]
            errors = errors + ((frames[row, frame] - state) ** 2).sum(axis=-1)
        assert np.array_equal(found.codes[row, :, 0], every[errors.argmin()])


@given(st.integers(0, 300), st.integers(1, 4), st.integers(0, 9), st.integers(1, 3), st.integers(1, 9))
def test_the_bases_of_a_path_are_what_its_codes_decode_to(
    seed: int, rows: int, count: int, stages: int, candidates: int
) -> None:
    frames, base, prediction = (
        white(rows, count, 3, seed=seed),
        white(rows, 3, seed=1),
        0.5 * white(3, 3, seed=2),
    )
    books = white(stages, 4, 3, seed=seed + 1)
    found = BeamSearch(books, candidates).follow(frames, base, prediction, range(stages))
    for frame in range(count):
        base = base @ prediction + summed(found.codes[:, frame], books)
        np.testing.assert_allclose(found.bases[:, frame], base, atol=1e-4)


def test_more_paths_leave_less() -> None:
    frames, prediction = np.cumsum(white(40, 50, 6), axis=1), np.eye(6, dtype=np.float32)
    books = white(2, 16, 6, seed=1)
    errors = [
        np.mean(
            (frames - BeamSearch(books, paths).follow(frames, frames[:, 0], prediction, range(2)).bases) ** 2
        )
        for paths in (1, 2, 4, 8)
    ]
    assert errors == sorted(errors, reverse=True)


def latents_and_error(codec: NumpyCodec, num_codebooks: int) -> tuple[np.ndarray, float]:
    """Return the latents of two seconds of speech and the squared error of their codes."""
    with AudioReader(next(samples().glob("1-speech.*"))) as reader:
        audio = reader.read(100 * codec.config.hop_length)[None, :, :1]
    latents = codec._encoder.latents(Step({}), audio)
    codes, _ = codec.encode_step(audio, codec.encoder_state(1), num_codebooks)
    decoded = codec._quantizer.decode(codes, Step(codec.decoder_state(1)))
    return latents, float(np.mean((latents - decoded) ** 2))


def test_the_default_search_beats_the_greedy_one_on_speech(default_codec: NumpyCodec) -> None:
    """On the validation clips the error is .85 of that of the nearest codewords, at 12 codebooks."""
    latents, error = latents_and_error(default_codec, 12)
    same, greedy = latents_and_error(load(effort=0), 12)
    assert np.array_equal(latents, same)
    assert error < 0.9 * greedy


def test_the_default_of_the_command_is_that_of_the_library() -> None:
    (effort,) = [option for option in lamella.commands["compress"].params if option.name == "effort"]
    assert 2**effort.default == CANDIDATES
