"""The prior computes exactly what its description says, is reversible, and refuses invalid bytes and arrays."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.priors import GROUPS, SIZE, random_prior, reference_intervals

from codec.bitstream.intervals import intervals
from codec.bitstream.prior import WORK_BYTES, Prior
from codec.runtime import NumpyCodec

PRIOR = Prior(random_prior())

shapes = st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 3))  # channels, frames, codebooks
seeds = st.integers(0, 2**32 - 1)


def random_codes(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, SIZE, shape, dtype=np.int32)


def bounds(prior: Prior, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of the intervals of all codes.

    Those of the groups are [channel, frame, codebook, groups + 1]; those of the places in each group are
    [channel, frame, codebook, groups, members + 1].
    """
    groups, places = [], []
    for number, hidden in enumerate(prior.hidden(codes)):
        groups.append(intervals(prior.group_scores(number, hidden)))
        chosen = (np.full(hidden.shape[:-1], group) for group in range(GROUPS))
        places.append(
            np.stack([intervals(prior.place_scores(number, hidden, group)) for group in chosen], axis=2)
        )
    return np.stack(groups, axis=2), np.stack(places, axis=2)


def unpacked(prior: Prior, data: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    codes, (fault,) = prior.unpack([data], *shape)
    if fault:
        raise ValueError(fault)
    return codes[0]


@given(shapes, seeds, st.sampled_from((0.3, 1.0, 1000.0)))
def test_unpacking_gives_the_packed_codes(shape: tuple[int, int, int], seed: int, extent: float) -> None:
    prior, codes = Prior(random_prior(seed, extent=extent)), random_codes(shape, seed)
    np.testing.assert_array_equal(unpacked(prior, *prior.pack(codes[None]), shape), codes)


@given(st.binary(max_size=40), shapes)
def test_any_bytes_are_a_fault_or_pack_to_the_same_bytes(data: bytes, shape: tuple[int, int, int]) -> None:
    try:
        codes = unpacked(PRIOR, data, shape)
    except ValueError:
        return
    assert PRIOR.pack(codes[None]) == [data]


@settings(max_examples=20)
@given(seeds, st.lists(st.binary(max_size=20), max_size=4))
def test_chunks_are_packed_and_unpacked_independently(seed: int, damaged: list[bytes]) -> None:
    chunks = random_codes((3, 2, 4, 3), seed)
    rows = [*PRIOR.pack(chunks), *damaged]
    assert rows[1:2] == PRIOR.pack(chunks[1:2])
    codes, faults = PRIOR.unpack(rows, 2, 4, 3)
    np.testing.assert_array_equal(codes[:3], chunks)
    assert faults[:3] == [""] * 3
    for row, row_codes, fault in zip(rows[3:], codes[3:], faults[3:], strict=True):
        alone, (fault_alone,) = PRIOR.unpack([row], 2, 4, 3)
        assert fault == fault_alone
        assert fault or np.array_equal(row_codes, alone[0])


@settings(max_examples=20)
@given(seeds, st.sampled_from((0.3, 1.0, 30.0, 1e9)))
def test_every_interval_is_as_described(seed: int, extent: float) -> None:
    arrays, codes = random_prior(seed, extent=extent), random_codes((1, 8, 3), seed)
    of_groups, of_places = bounds(Prior(arrays), codes)
    for frame in range(8):
        for codebook in range(3):
            so_far = [*codes[0, :frame].tolist(), codes[0, frame, :codebook].tolist()]
            computed = of_groups[0, frame, codebook].tolist(), of_places[0, frame, codebook].tolist()
            assert computed == reference_intervals(arrays, so_far, codebook, 3)


@settings(max_examples=20)
@given(shapes, seeds, st.sampled_from((0.3, 1e9)))
def test_contexts_stay_within_their_limits(shape: tuple[int, int, int], seed: int, extent: float) -> None:
    context = Prior(random_prior(seed, extent=extent)).context
    codes = random_codes(shape, seed)
    known = context.of_codes(codes)
    base, rest = known.predicted_base, np.zeros_like(known.previous_rest)
    for codebook in range(shape[2]):
        base, rest = context.add(codebook, codes[..., codebook], base, rest)
    whole = np.concatenate([known.constant, base, rest], axis=-1)
    assert (np.abs(whole) <= context.limits()).all()


def test_float32_is_used_only_for_sums_that_it_holds() -> None:
    """`test_every_interval_is_as_described` shows that both types give the same intervals."""
    assert Prior(random_prior()).exact_type == np.float32
    for bias in (
        2**24 - 1,
        -(2**31),
    ):  # a sum exceeds the first; the absolute value of the second is not an int32
        arrays = random_prior()
        arrays["hidden2.bias"][1, 1] = bias
        assert Prior(arrays).exact_type == np.float64


def test_intervals_do_not_depend_on_later_codes_or_other_channels() -> None:
    codes = random_codes((2, 9, 3))
    fewer = codes.copy()
    fewer[:, 7:] = 0
    fewer[:, 6, 2] = 0
    for whole, part, alone in zip(*(bounds(PRIOR, x) for x in (codes, fewer, codes[1:])), strict=True):
        np.testing.assert_array_equal(part[:, :7], whole[:, :7])
        np.testing.assert_array_equal(alone, whole[1:])


def test_the_packed_bytes_never_change() -> None:
    (data,) = PRIOR.pack(random_codes((1, 2, 12, 3)))
    assert (len(data), hashlib.sha256(data).hexdigest()[:16]) == (65, "edff6fc5d95c7e13")


def peak_of(action: Callable[[], object]) -> int:
    """Return the largest memory that an action takes, in bytes."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_depend_on_the_number_and_the_length_of_chunks(default_codec: NumpyCodec) -> None:
    prior = default_codec.prior
    assert prior is not None
    random = np.random.default_rng(0)
    many, long = (
        random.integers(0, 1024, shape, dtype=np.int32) for shape in ((3000, 1, 1, 1), (1, 8, 400, 1))
    )
    assert peak_of(lambda: prior.pack(long)) < WORK_BYTES
    assert peak_of(lambda: prior.pack(many)) < WORK_BYTES
    payloads = prior.pack(many)
    assert peak_of(lambda: prior.unpack(payloads, 1, 1, 1)) < WORK_BYTES


@settings(max_examples=10)
@given(seeds, st.integers(1, 5000))
def test_chunks_in_parts_give_the_same_bytes_and_codes(seed: int, work: int) -> None:
    codes = random_codes((3, 2, 12, 3), seed)
    expected = PRIOR.pack(codes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("codec.bitstream.prior.WORK_BYTES", work)
        assert PRIOR.pack(codes) == expected
        np.testing.assert_array_equal(PRIOR.unpack(expected, 2, 12, 3).codes, codes)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("codewords", lambda a: a.astype(np.int16), "codewords is int16"),
        ("codewords", lambda a: a[:2], "does not fit: codebooks"),
        ("prediction", lambda a: a[:, :1], "does not fit: base"),
        ("base_codebooks", lambda a: a * 0, "base_codebooks is 0"),
        ("restart_frames", lambda a: a * 0, "restart_frames is 0"),
        ("hidden1.kernel", lambda a: a[:, 1:], "a context of 15, expected 16"),
        ("hidden1.shift", lambda a: a - 9, "hidden1.shift is -1"),
        ("hidden2.shift", lambda a: a + 40, "hidden2.shift is 48"),
        ("group.bias", lambda a: a + 2**23, "group.bias is"),
        ("group.kernel", lambda a: a[:, :0], "does not fit: narrow"),
        ("place.shift", lambda a: a - 9, "place.shift is -6"),
        (
            "place.kernel",
            lambda a: a[:, :, :, :, None],
            "place.kernel is int8 of 5 dimensions, expected int8 of 4",
        ),
        ("codewords", lambda a: np.zeros((3, 0, 4), np.int8), "does not fit: size 0"),
        ("order", lambda a: a * 0, "not contain each code exactly once"),
        ("order", lambda a: a + 1, "not contain each code exactly once"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name, change, words: str) -> None:
    arrays = random_prior()
    with pytest.raises(ValueError, match=words):
        Prior({**arrays, name: change(arrays[name])})
    with pytest.raises(ValueError, match=f"arrays are missing: {name}"):
        Prior({key: array for key, array in arrays.items() if key != name})
