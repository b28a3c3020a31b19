"""Upper bounds on the work and the memory of coding, counted and not timed: a busy machine changes nothing."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytest

from codec.architecture import weight_shapes
from codec.config import CodecConfig
from codec.presets import load
from codec.runtime import NumpyCodec

# Multiply-accumulates of a second of audio at 6 kbit/s, one channel: measured 279.0 and 213.7 million.
MAX_PRODUCTS = {"encode": 280e6, "decode": 214e6}
MAX_MEMORY = (
    120 * 2**20
)  # bytes to load the default model, encode eight seconds and decode them: measured 118 MiB


class CountedArray(np.ndarray):
    """An array that counts the matrix products of itself and of everything computed from it."""

    products = 0  # multiply-accumulates of all arrays so far

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [np.asarray(x) if isinstance(x, CountedArray) else x for x in inputs]
        if "out" in options:
            options["out"] = tuple(np.asarray(x) for x in options["out"])
        if ufunc is np.matmul:
            CountedArray.products += plain[0].size * plain[1].shape[-1]
        return counted(getattr(ufunc, method)(*plain, **options))

    def __array_function__(
        self, function: Callable, types: Iterable[type], arguments: Iterable, options: Mapping
    ) -> Any:
        return counted(super().__array_function__(function, types, arguments, options))


def counted(result: Any) -> Any:
    return result.view(CountedArray) if isinstance(result, np.ndarray) else result


@pytest.fixture(scope="module")
def counting_codec() -> NumpyCodec:
    """The network of the default size, all weights equal."""
    parts = {
        part: {name: counted(np.full(shape, 1e-3, np.float32)) for name, shape in shapes.items()}
        for part, shapes in weight_shapes(CodecConfig()).items()
    }
    return NumpyCodec(CodecConfig(), parts)


def products_of(step: Callable[[], object]) -> int:
    """Return the products of one step; an earlier one has computed what later steps share."""
    step()
    CountedArray.products = 0
    step()
    return CountedArray.products


def test_encoding_a_second_needs_few_products(counting_codec: NumpyCodec) -> None:
    audio = counted(np.zeros((1, counting_codec.config.sample_rate, 1), np.float32))
    state = counting_codec.encoder_state(1)
    products = products_of(lambda: counting_codec.encode_step(audio, state, 12))
    assert 0 < products <= MAX_PRODUCTS["encode"]


def test_decoding_a_second_needs_few_products(counting_codec: NumpyCodec) -> None:
    codes = counted(np.zeros((1, 50, 12), np.int32))
    state = counting_codec.decoder_state(1)
    products = products_of(lambda: counting_codec.decode_step(codes, state))
    assert 0 < products <= MAX_PRODUCTS["decode"]


def test_coding_needs_little_memory() -> None:
    audio = 0.1 * np.random.default_rng(0).standard_normal((1, 8 * 48000, 1)).astype(np.float32)
    tracemalloc.start()
    try:
        codec = load()
        codes, _ = codec.encode_step(audio, codec.encoder_state(1), 12)
        codec.decode_step(codes, codec.decoder_state(1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert codec.prior is not None
    assert peak <= MAX_MEMORY
