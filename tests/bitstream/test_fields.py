"""Varints: they decode to the integers that were encoded, and other bytes are an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.bitstream.fields import varint, varints


@given(st.lists(st.integers(0, 2**28 - 1)))
def test_varints_decode_to_the_same_integers(values):
    data = b"".join(map(varint, values))
    assert varints(data).tolist() == values


@pytest.mark.parametrize("data", [b"\x80", b"\x01\x80", b"\x80\x80\x80\x80\x01"])
def test_bytes_that_are_not_varints_are_refused(data):
    with pytest.raises(ValueError, match="not a row of varints"):
        varints(data)
