"""A wrong argument of a stream, a model or a function is a ValueError with a sentence."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codec import DecoderStream, EncoderStream, PacketDecoder, PacketEncoder, compress
from codec.coding.time_range import TimeRange
from codec.runtime import NumpyCodec

RATE = 16_000
SILENCE = np.zeros((320, 1), np.float32)
NO_SOUND: dict[str, object] = {
    "integers": SILENCE.astype(np.int16),
    "nine channels": np.zeros((320, 9), np.float32),
    "no channel": np.zeros((320, 0), np.float32),
    "NaN": SILENCE * np.nan,
    "infinity": SILENCE + np.inf,
    "a number that no sound has": SILENCE + 1e12,
    "complex numbers": SILENCE.astype(complex),
    "text": "sound",
    "nothing": None,
    "rows of different lengths": [[0.0], [0.1, 0.2]],
}
CODES = np.zeros((1, 3, 12), np.int64)
NO_CODES: dict[str, object] = {
    "a negative code": CODES - 1,
    "a code beyond the codebook": CODES + 1024,
    "a code beyond 32 bits": CODES + 2**40,
    "a code beyond 63 bits": CODES.astype(np.uint64) + np.uint64(2**63),
    "floats": CODES.astype(np.float32),
    "truth values": CODES.astype(bool),
    "too many codebooks": np.zeros((1, 3, 25), np.int32),
    "nine channels": np.zeros((9, 3, 12), np.int32),
    "no channel": np.zeros((0, 3, 12), np.int32),
    "one channel without an axis": CODES[0],
    "text": "codes",
    "nothing": None,
}
NO_RATES = [0, -1, 7999, 192_001, 10**9, 2**70, 48_000.0, "48000", None, True, float("nan")]
NO_CHANNELS = [0, 9, -1, 2**70, 1.0, "1", None, True]
STREAMS = [EncoderStream, DecoderStream, PacketEncoder, PacketDecoder]


def check(action: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        action()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("case", NO_SOUND)
def test_what_is_no_sound_is_refused(case: str, numpy_codec: NumpyCodec) -> None:
    samples: Any = NO_SOUND[case]
    words = "inhomogeneous" if case.startswith("rows") else "`samples` must be"
    check(lambda: numpy_codec.encode(samples, RATE), words)
    check(lambda: EncoderStream(numpy_codec, RATE, 1).push(samples), words)
    check(lambda: PacketEncoder(numpy_codec, RATE, 1).push(samples), words)


@pytest.mark.parametrize("case", NO_CODES)
def test_what_are_no_codes_is_refused(case: str, numpy_codec: NumpyCodec) -> None:
    codes: Any = NO_CODES[case]
    check(lambda: numpy_codec.decode(codes, RATE), "`codes`")
    check(lambda: DecoderStream(numpy_codec, RATE, 1).push(codes), "`codes`")
    if codes is not None:
        check(lambda: DecoderStream(numpy_codec, RATE, 1).conceal(3, codes), "`codes`")


@pytest.mark.parametrize("rate", NO_RATES)
def test_a_sample_rate_that_is_not_supported_is_refused(rate: Any, numpy_codec: NumpyCodec) -> None:
    words = "`sample_rate` must be a whole number from 8000 to 192000, found"
    check(lambda: numpy_codec.encode(SILENCE, rate), words)
    check(lambda: numpy_codec.decode(CODES, rate), words)
    for stream in STREAMS:
        check(lambda stream=stream: stream(numpy_codec, rate, 1), words)


@pytest.mark.parametrize("channels", NO_CHANNELS)
@pytest.mark.parametrize("stream", STREAMS)
def test_a_number_of_channels_that_is_not_supported_is_refused(
    stream: Callable[..., object], channels: Any, numpy_codec: NumpyCodec
) -> None:
    check(lambda: stream(numpy_codec, RATE, channels), "`channels` must be a whole number from 1 to 8, found")


@pytest.mark.parametrize("count", [0, 25, 2.5, "3", True])
def test_a_number_of_codebooks_that_the_model_lacks_is_refused(count: Any, numpy_codec: NumpyCodec) -> None:
    words = "`num_codebooks` must be 1 to 24, found"
    check(lambda: numpy_codec.encode(SILENCE, RATE, num_codebooks=count), words)
    for stream in (EncoderStream, PacketEncoder, PacketDecoder):
        check(lambda stream=stream: stream(numpy_codec, RATE, 1, num_codebooks=count), words)


@pytest.mark.parametrize("quality", [-1, 11, float("nan"), "5"])
def test_a_quality_that_does_not_exist_is_refused(quality: Any, numpy_codec: NumpyCodec) -> None:
    check(
        lambda: EncoderStream(numpy_codec, RATE, 1, quality=quality), "`quality` must be from 0 to 10, found"
    )


@pytest.mark.parametrize("frames", [0, -1, 1.5, "1", None, True, 10**12])
def test_a_number_of_lost_frames_that_fills_memory_is_refused(frames: Any, numpy_codec: NumpyCodec) -> None:
    stream = DecoderStream(numpy_codec, RATE, 1)
    check(lambda: stream.conceal(frames), "`frames` must be a whole number from 1 to 3000, found")


@pytest.mark.parametrize("packet", [5, "packet", [1]])
def test_what_is_no_packet_is_refused(packet: Any, numpy_codec: NumpyCodec) -> None:
    check(lambda: PacketDecoder(numpy_codec, RATE, 1).push(packet), "`packet` must be bytes, or None")


@pytest.mark.parametrize("start", [-1, float("nan"), float("inf"), "1", 10**400])
def test_a_time_that_no_file_has_is_refused(start: Any) -> None:
    check(lambda: TimeRange.of_seconds(start, None, RATE), "must be 0 <= start < end, in seconds")


@pytest.mark.parametrize("value", [5, None, np.zeros(3)])
def test_what_is_no_file_and_no_model_is_refused(value: Any, wav: Path) -> None:
    check(
        lambda: compress(value, io.BytesIO()), "`source` must be a path, a binary stream or a reader, found"
    )
    check(
        lambda: compress(wav, io.BytesIO(), model=value), "`model` must be a name, a folder or a loaded model"
    )
