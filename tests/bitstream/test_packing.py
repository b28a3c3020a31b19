"""Packing codes of fixed width is exact and reversible, and refuses what does not fit."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codec.bitstream.packing import pack, packed_size, unpack

WIDTHS = st.integers(1, 16)


@given(st.data(), WIDTHS)
def test_unpack_gives_back_what_was_packed(data, width):
    codes = data.draw(hnp.arrays(np.int32, st.integers(0, 50), elements=st.integers(0, 2**width - 1)))
    packed = pack(codes, width)
    assert len(packed) == packed_size(codes.size, width)
    unpacked = unpack(packed, codes.size, width)
    assert unpacked.dtype == np.int32
    np.testing.assert_array_equal(unpacked, codes)


@given(st.data(), WIDTHS)
def test_bits_are_the_binary_digits_of_the_codes_in_order(data, width):
    codes = data.draw(st.lists(st.integers(0, 2**width - 1), min_size=1, max_size=20))
    text = "".join(f"{code:0{width}b}" for code in codes)
    text += "0" * (-len(text) % 8)
    assert pack(codes, width) == int(text, 2).to_bytes(len(text) // 8, "big")


def test_the_example_in_the_description():
    assert pack([0b1111111111, 0, 0b1010101010], 10) == bytes(
        [0b11111111, 0b11000000, 0b00001010, 0b10101000]
    )


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int64, np.uint64])
def test_integer_type_and_memory_order_do_not_matter(dtype):
    codes = np.arange(24, dtype=dtype).reshape(2, 3, 4)
    assert pack(np.asfortranarray(codes), 10) == pack(codes, 10)
    assert pack(codes[:, ::-1], 5) == pack(codes[:, ::-1].copy(), 5)
    np.testing.assert_array_equal(unpack(pack(codes, 16), 24, 16), codes.ravel())


@pytest.mark.parametrize("code", [-1, 1024, 2**31 - 1, -(2**31)])
def test_codes_that_do_not_fit_are_refused(code):
    with pytest.raises(ValueError, match=f"code {code} does not fit 10 bits"):
        pack(np.array([3, code]), 10)


@pytest.mark.parametrize("codes", [[0.5], [True], ["a"], []])
def test_only_integers_are_packed(codes):
    with pytest.raises(ValueError, match="codes must be integers, not"):
        pack(codes, 10)


@pytest.mark.parametrize("width", [0, 17, -3])
def test_widths_outside_the_limits_are_refused(width):
    with pytest.raises(ValueError, match=f"bits_per_code {width} must be from 1 to 16"):
        pack(np.zeros(1, int), width)
    with pytest.raises(ValueError, match=f"bits_per_code {width} must be from 1 to 16"):
        unpack(b"\0", 1, width)


@pytest.mark.parametrize("bit", range(6))
def test_padding_must_be_zero(bit):
    with pytest.raises(ValueError, match=r"padding bits [01]{6}, expected zeros"):
        unpack(bytes([0, 1 << bit]), 1, 10)


@pytest.mark.parametrize("size", [0, 3, 5])
def test_the_size_must_be_exact(size):
    with pytest.raises(ValueError, match=re.escape(f"{size} bytes, expected 4 for 3 codes of 10 bits")):
        unpack(bytes(size), 3, 10)
