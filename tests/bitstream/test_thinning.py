"""Thinning keeps the first codes of each row, in the chunks that a writer would make."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.streams import FILE, HEADER, MODEL, Pipe, joined, random_codes, write, write_varying

from codec.bitstream import Header, Reader, thin


@given(st.integers(1, 3), st.integers(1, 230), st.integers(1, 24), st.sampled_from((1, 7, 50, 100)))
def test_a_thinned_stream_has_the_first_codes_of_each_row(channels, frames, keep, frames_per_chunk):
    codes = np.random.default_rng(frames).integers(0, 1024, (channels, frames, 24))
    facts = {"hop_length": 960, "model_sample_rate": 48_000, "bits_per_code": 10, "num_codebooks": 24}
    header = Header(48_000, channels, frames * 960, MODEL, frames_per_chunk=frames_per_chunk, **facts)
    target = io.BytesIO()
    thin(Reader(io.BytesIO(write(header, codes))), target, keep)
    reader = Reader(io.BytesIO(target.getvalue()))
    np.testing.assert_array_equal(joined(list(reader), reader.header), codes[..., :keep])
    assert reader.num_samples == frames * 960
    assert reader.header.frames_per_chunk % frames_per_chunk == 0
    if frames_per_chunk in (1, 7):
        assert reader.header.frames_per_chunk == frames_per_chunk


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_chunks_with_fewer_codebooks_are_thinned_too(keep):
    header = replace(HEADER, varies=True, frames_per_chunk=50, num_samples=None)  # not joined
    codes, counts = random_codes(header, 190), [2, 0, 3, 1]
    target = io.BytesIO()
    thin(Reader(Pipe(write_varying(header, codes, counts))), target, keep)
    expected = write_varying(
        replace(header, num_codebooks=keep), codes, [min(count, keep) for count in counts]
    )
    assert target.getvalue() == expected


@pytest.mark.parametrize("keep", [0, 4])
def test_other_numbers_of_codebooks_are_refused(keep):
    with pytest.raises(ValueError, match=f"num_codebooks {keep}, expected 1 to"):
        thin(Reader(io.BytesIO(FILE)), io.BytesIO(), keep)
