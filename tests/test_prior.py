"""The prior: exact as its page says it, codes come back, and no bytes or arrays lead anywhere but to an error."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from priors import SIZE, bounds_by_the_page, drawn

from codec.bitstream.prior import Prior
from codec.bitstream.rangecoder import TOTAL

PRIOR = Prior(drawn())

shapes = st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 3))  # channels, frames, codebooks
seeds = st.integers(0, 2**32 - 1)


def random_codes(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, SIZE, shape, dtype=np.int32)


def bounds(prior: Prior, codes: np.ndarray) -> np.ndarray:
    """The intervals of all codes, [channel, frame, codebook, size + 1]."""
    contexts = prior.context.of_codes(codes)
    return np.stack([prior.bounds(number, known) for number, known in enumerate(contexts)], axis=2)


@settings(deadline=None)
@given(shapes, seeds, st.sampled_from((0.3, 1.0, 1000.0)))
def test_codes_come_back(shape: tuple[int, int, int], seed: int, extent: float) -> None:
    prior, codes = Prior(drawn(seed, extent=extent)), random_codes(shape, seed)
    np.testing.assert_array_equal(prior.unpack(prior.pack(codes), *shape), codes)


@settings(deadline=None)
@given(st.binary(max_size=40), shapes)
def test_any_bytes_are_an_error_or_what_it_writes(data: bytes, shape: tuple[int, int, int]) -> None:
    try:
        codes = PRIOR.unpack(data, *shape)
    except ValueError:
        return
    assert PRIOR.pack(codes) == data


@settings(deadline=None, max_examples=20)
@given(seeds, st.sampled_from((0.3, 1.0, 30.0, 1e9)))
def test_every_interval_is_what_the_page_says(seed: int, extent: float) -> None:
    arrays, codes = drawn(seed, extent=extent), random_codes((1, 8, 3), seed)
    found = bounds(Prior(arrays), codes)
    for frame in range(8):
        for codebook in range(3):
            so_far = [*codes[0, :frame].tolist(), codes[0, frame, :codebook].tolist()]
            assert found[0, frame, codebook].tolist() == bounds_by_the_page(arrays, so_far, codebook)


@settings(deadline=None)
@given(shapes, seeds, st.sampled_from((0.3, 1.0, 1e9)))
def test_the_intervals_fill_the_range_and_none_is_empty(
    shape: tuple[int, int, int], seed: int, extent: float
) -> None:
    found = bounds(Prior(drawn(seed, extent=extent)), random_codes(shape, seed))
    assert (found[..., 0] == 0).all()
    assert (found[..., -1] == TOTAL).all()
    assert (np.diff(found) >= 1).all()


def test_a_code_hangs_on_nothing_behind_it() -> None:
    codes = random_codes((2, 9, 3))
    whole = bounds(PRIOR, codes)
    np.testing.assert_array_equal(bounds(PRIOR, codes[:, :7]), whole[:, :7])
    np.testing.assert_array_equal(bounds(PRIOR, codes[..., :2]), whole[:, :, :2])
    np.testing.assert_array_equal(bounds(PRIOR, codes[1:]), whole[1:])


def test_the_bytes_are_pinned() -> None:
    data = PRIOR.pack(random_codes((2, 12, 3)))
    assert (len(data), hashlib.sha256(data).hexdigest()[:16]) == (59, "c6c3088c74b4bed9")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("codewords", lambda a: a.astype(np.int16), "codewords is int16"),
        ("codewords", lambda a: a[:2], "does not fit: codebooks"),
        ("prediction", lambda a: a[:, :1], "does not fit: base"),
        ("base_codebooks", lambda a: a * 0, "base_codebooks is 0"),
        ("restart_frames", lambda a: a * 0, "restart_frames is 0"),
        ("hidden1.kernel", lambda a: a[:, 1:], "a context of 22, expected 23"),
        ("hidden1.shift", lambda a: a - 9, "hidden1.shift is -1"),
        ("hidden2.shift", lambda a: a + 40, "hidden2.shift is 48"),
        ("output.bias", lambda a: a + 2**23, "output.bias is"),
        ("output.kernel", lambda a: a[:, :0], "does not fit: narrow"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name, change, words: str) -> None:
    arrays = drawn()
    with pytest.raises(ValueError, match=words):
        Prior({**arrays, name: change(arrays[name])})
    with pytest.raises(ValueError, match="missing or unknown"):
        Prior({key: array for key, array in arrays.items() if key != name})
