"""What compressing and decompressing refuse, and that it costs neither memory nor a file."""

from __future__ import annotations

import dataclasses
import io
import math
import os
import tracemalloc
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.coding import compressed, fake, through, wav_of
from support.streams import Pipe

from codec import bitstream
from codec.coding import compression
from codec.coding.compression import EncoderStream, compress, decompress
from codec.config import CodecConfig
from codec.errors import AudioError, BitstreamError, CodecError, Truncated, WrongModel
from codec.network.codec import Codec

__all__ = ["through"]  # a fixture


def test_another_model_is_refused_by_both_names(
    keras_codec: Codec, through: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lam = tmp_path / "a.lam"
    lam.write_bytes(compressed(wav_of(np.zeros((10, 1)), 16000), through, 32))
    monkeypatch.setattr(compression, "model_id", lambda codec: bytes.fromhex("00112233aabbccdd"))
    with pytest.raises(WrongModel) as error:
        decompress(lam, tmp_path / "a.wav", keras_codec)
    message = str(error.value)
    assert message.startswith(str(lam)) and "\n" not in message
    assert b"through!".hex() in message and "00112233aabbccdd" in message
    assert list(tmp_path.iterdir()) == [lam]


def test_a_header_that_contradicts_the_model_is_refused(through: Codec) -> None:
    header = EncoderStream(through, 16000, 1, 32).header(0)
    for changes in (
        {"hop_length": 16},
        {"num_codebooks": 33},
        {"bits_per_code": 8},
        {"model_sample_rate": 8000},
    ):
        with pytest.raises(BitstreamError, match="the stream: header: "):
            decompress(io.BytesIO(empty(dataclasses.replace(header, **changes))), io.BytesIO(), through)  # type: ignore[arg-type]
    with pytest.raises(AudioError, match="1000 Hz is not supported"):
        decompress(io.BytesIO(empty(dataclasses.replace(header, sample_rate=1000))), io.BytesIO(), through)


def empty(header: bitstream.Header) -> bytes:
    file = io.BytesIO()
    bitstream.Writer(file, header).close()
    return file.getvalue()


@pytest.mark.parametrize("opened", (io.BytesIO, Pipe))
@pytest.mark.parametrize("num_samples", (2**48, 10**15, 10**6))
def test_absurd_numbers_of_samples_allocate_nothing(through: Codec, opened: Any, num_samples: int) -> None:
    lam = bytearray(compressed(wav_of(np.zeros((16_000, 1)), 16000), through, 32))
    lam[31:39] = num_samples.to_bytes(8, "little")
    lam[39:43] = zlib.crc32(lam[:39]).to_bytes(4, "little")
    tracemalloc.start()
    with pytest.raises(BitstreamError, match="samples"):
        decompress(opened(bytes(lam)), io.BytesIO(), through)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000  # bytes


def test_more_or_fewer_frames_than_the_source_had(through: Codec) -> None:
    header = dataclasses.replace(EncoderStream(through, 16000, 1, 32).header(None), frames_per_chunk=100)
    for num_samples in (320, 3190):
        file = io.BytesIO()
        writer = bitstream.Writer(file, header)
        writer.write_chunk(np.zeros((1, 100, 32), int))
        writer.close(num_samples)
        with pytest.raises(BitstreamError, match=f"codes of about .* samples, expected {num_samples}"):
            decompress(cast(BinaryIO, Pipe(file.getvalue())), io.BytesIO(), through)


def test_nothing_is_overwritten_by_a_failure(through: Codec, tmp_path: Path) -> None:
    samples = np.zeros((50_000, 1), np.float32)
    good, bad, old = tmp_path / "good.lam", tmp_path / "bad", tmp_path / "old"
    good.write_bytes(compressed(wav_of(samples, 16000), through, 32))
    old.with_suffix(".wav").write_bytes(b"old")
    old.with_suffix(".lam").write_bytes(b"old")
    before = sorted(tmp_path.iterdir())

    def check(damaged: bytes, error: type[CodecError]) -> None:
        bad.write_bytes(damaged)
        target = old.with_suffix(".lam" if damaged[:4] == b"RIFF" else ".wav")
        with pytest.raises(error) as raised:
            if target.suffix == ".lam":
                compress(bad, target, through, 32)
            else:
                decompress(bad, target, through)
        assert str(raised.value).startswith(str(bad)) and "\n" not in str(raised.value)
        assert sorted(tmp_path.iterdir()) == sorted([*before, bad])
        assert target.read_bytes() == b"old"

    lam, flipped = good.read_bytes(), bytearray(good.read_bytes())
    flipped[len(lam) // 2] ^= 1
    check(lam[: len(lam) // 2], Truncated)
    check(bytes(flipped), BitstreamError)
    check(b"", Truncated)
    check(b"not a file of ours, by any means, but a long text", BitstreamError)
    check(lam[:6] + b"\x02" + lam[7:], BitstreamError)
    samples[45_000] = math.nan
    check(wav_of(samples, 16000), AudioError)
    check(wav_of(samples, 16000)[:-1000], AudioError)


def test_a_failing_disk_or_folder(through: Codec, tmp_path: Path) -> None:
    source = io.BytesIO(wav_of(np.zeros((10, 1)), 16000))
    with pytest.raises(CodecError, match=r"no/a.lam: cannot be written: No such file"):
        compress(source, tmp_path / "no" / "a.lam", through, 32)
    with pytest.raises(CodecError, match=r"missing.lam: cannot be read: No such file"):
        decompress(tmp_path / "missing.lam", tmp_path / "a.wav", through)
    if os.path.exists("/dev/full"):
        source.seek(0)
        with pytest.raises(CodecError, match=r"/dev/full: cannot be written: No space left"):
            compress(source, "/dev/full", through, 32)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 7), st.booleans())
def test_any_flipped_bit_is_found(byte: int, bit: int, piped: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        codec = fake(patch)
        lam = bytearray(compressed(wav_of(np.zeros((20_000, 1)), 16000), codec, 32))
        lam[byte % len(lam)] ^= 1 << bit
        with pytest.raises(BitstreamError):
            decompress(cast(BinaryIO, (Pipe if piped else io.BytesIO)(bytes(lam))), io.BytesIO(), codec)


def test_arguments_are_checked(keras_codec: Codec, tiny_config: CodecConfig) -> None:
    for count in (0, tiny_config.num_codebooks + 1):
        with pytest.raises(ValueError, match="`num_codebooks` must be 1 to 24"):
            EncoderStream(keras_codec, 16000, 1, count)
    with pytest.raises(ValueError, match=r"must be \[time, 2\]"):
        EncoderStream(keras_codec, 16000, 2, 3).push(np.zeros((10, 1), np.float32))
