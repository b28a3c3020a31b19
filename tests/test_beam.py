"""The beam search: the exhaustive one's equal where it is wide enough, the plain one's where it is one wide."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from contract import white
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.beam import beam_search


def summed(codes: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    return sum(book[codes[:, stage]] for stage, book in enumerate(codebooks))


@given(st.integers(0, 100), st.integers(1, 6), st.integers(1, 4), st.integers(1, 20))
@settings(deadline=None, max_examples=40)
def test_codes_and_what_they_leave_belong_together(seed: int, count: int, stages: int, width: int) -> None:
    rows, books = white(count, 3, seed=seed), white(stages, 4, 3, seed=seed + 1)
    found = beam_search(rows, books, width)
    assert found.codes.shape == (count, stages)
    assert found.codes.dtype == np.int32
    np.testing.assert_allclose(found.left, rows - summed(found.codes, books), atol=1e-5)


def test_one_candidate_is_the_nearest_codeword_of_each_stage() -> None:
    rows, books = white(50, 4), white(3, 8, 4, seed=1)
    found = beam_search(rows, books, 1)
    for stage, book in enumerate(books):
        nearest = np.argmin(((rows[:, None] - book) ** 2).sum(axis=-1), axis=1)
        assert np.array_equal(found.codes[:, stage], nearest)
        rows = rows - book[nearest]


def test_all_candidates_are_the_exhaustive_search() -> None:
    rows, books = white(20, 3), white(3, 4, 3, seed=1)
    every = np.array(list(itertools.product(range(4), repeat=3)))
    errors = ((rows[:, None] - summed(every, books)) ** 2).sum(axis=-1)
    found = beam_search(rows, books, 64)
    assert np.array_equal(found.codes, every[errors.argmin(axis=1)])


@pytest.mark.parametrize("width", [2, 4, 8])
def test_more_candidates_leave_less(width: int) -> None:
    rows, books = white(500, 8), white(6, 16, 8, seed=1) * (0.7 ** np.arange(6))[:, None, None]
    narrow, wide = (beam_search(rows, books, count).left for count in (width // 2, width))
    assert np.mean(wide**2) < np.mean(narrow**2)


def test_no_rows_and_no_stages() -> None:
    assert beam_search(white(0, 3), white(2, 4, 3), 2).codes.shape == (0, 2)
    found = beam_search(white(5, 3), white(0, 4, 3), 2)
    assert found.codes.shape == (5, 0)
    assert np.array_equal(found.left, white(5, 3))
