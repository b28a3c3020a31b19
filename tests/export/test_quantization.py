"""The quantizer of exports gives the codes and the latents of the quantizer of the network."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from support.contract import white

from codec.export.quantization import decode_frames, encode_frames, scan_frames
from codec.network.predictive_quantizer import PredictiveQuantizer

FRAMES, DIM, BASE_DIM = 9, 8, 3


@pytest.fixture(params=[2, 5])
def quantizer(request: pytest.FixtureRequest) -> PredictiveQuantizer:
    """Two base codebooks, alone or with three others."""
    quantizer = PredictiveQuantizer(request.param, 16, 2, BASE_DIM, 2, 6)
    quantizer.build((None, None, DIM))
    sizes = 0.7 ** np.arange(request.param, dtype=np.float32)[:, None, None]
    quantizer.start(sizes * white(request.param, 16, DIM))
    quantizer.prediction.assign(0.6 * np.eye(BASE_DIM))
    return quantizer


def test_codes_and_bases_equal_those_of_the_network(quantizer: PredictiveQuantizer) -> None:
    latents, base = white(4, FRAMES, DIM), white(4, BASE_DIM, seed=1)
    codes, after = encode_frames(quantizer, latents, base)
    expected, expected_after = quantizer.encode_step(latents, base, quantizer.num_codebooks)
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_allclose(after, expected_after, atol=1e-5)


def test_one_frame_at_a_time_gives_the_same_codes(quantizer: PredictiveQuantizer) -> None:
    latents, base = white(4, FRAMES, DIM), white(4, BASE_DIM, seed=1)
    whole, _ = encode_frames(quantizer, latents, base)
    for number in range(FRAMES):
        codes, base = encode_frames(quantizer, latents[:, number : number + 1], base)
        np.testing.assert_array_equal(codes[:, 0], whole[:, number])


@pytest.mark.parametrize("missing", [0, 1, 3])
def test_missing_codes_decode_as_a_lower_bitrate(quantizer: PredictiveQuantizer, missing: int) -> None:
    kept = quantizer.num_codebooks - min(missing, quantizer.num_codebooks - 2)
    codes = np.random.default_rng(0).integers(0, 16, (4, FRAMES, quantizer.num_codebooks)).astype(np.int32)
    base = white(4, BASE_DIM, seed=1)
    expected, expected_after = quantizer.decode_step(codes[..., :kept], base)
    codes[..., kept:] = -1
    quantized, after = decode_frames(quantizer, codes, base)
    np.testing.assert_allclose(quantized, expected, atol=1e-5)
    np.testing.assert_allclose(after, expected_after, atol=1e-5)


def test_scanning_returns_the_state_after_every_frame() -> None:
    frames, state = white(3, 7, 2), white(3, 2, seed=1)
    states = scan_frames(lambda state, frame: keras.ops.add(0.5 * state, frame), state, frames)
    for number in range(7):
        state = 0.5 * state + frames[:, number]
        np.testing.assert_allclose(states[:, number], state, atol=1e-6)
