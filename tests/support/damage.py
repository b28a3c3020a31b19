"""Files coded in memory, their parts, and damage to them."""

from __future__ import annotations

import functools
import io
from typing import BinaryIO, cast

import numpy as np

from codec import bitstream
from codec.audio import AudioReader, AudioWriter
from codec.coding.compression import EncoderStream, decompress
from codec.coding.concealment import Loss
from codec.network.codec import Codec
from codec.runtime.codec import NumpyCodec


def coded(codec: Codec | NumpyCodec, sound: np.ndarray, rate: int, frames: int | None = None) -> bytes:
    """A file of chunks of so many frames, at 6 codebooks."""
    stream, file = EncoderStream(codec, rate, sound.shape[1], 6, frames), io.BytesIO()
    writer = bitstream.Writer(file, stream.header(len(sound)))
    for codes in stream.push(sound) + stream.flush():
        writer.write_chunk(codes)
    writer.close()
    return file.getvalue()


def part_of(file: BinaryIO, codec: Codec | NumpyCodec, start: float, end: float | None) -> np.ndarray:
    """The samples of a part as floats, [time, channels]."""
    target = io.BytesIO()
    open_writer = functools.partial(AudioWriter, subtype="FLOAT")
    report = decompress(file, target, codec, open_writer=open_writer, start=start, end=end)
    with AudioReader(io.BytesIO(target.getvalue())) as reader:
        found = np.concatenate([np.zeros((0, reader.channels), np.float32), *reader.blocks(10_000)])
    assert report.num_samples == len(found)
    return found


def recover(
    lam: bytes,
    codec: Codec | NumpyCodec,
    start: float = 0.0,
    end: float | None = None,
    opened: type = io.BytesIO,
) -> tuple[np.ndarray, list[Loss]]:
    target, losses = io.BytesIO(), list[Loss]()
    open_writer = functools.partial(AudioWriter, subtype="FLOAT")
    file = cast(BinaryIO, opened(lam))
    decompress(file, target, codec, open_writer=open_writer, start=start, end=end, on_loss=losses.append)
    with AudioReader(io.BytesIO(target.getvalue())) as reader:
        return np.concatenate([np.zeros((0, reader.channels), np.float32), *reader.blocks(10_000)]), losses


def offsets(lam: bytes) -> tuple[int, ...]:
    return bitstream.Reader(io.BytesIO(lam)).chunk_offsets or ()


def damaged(lam: bytes, *chunks: int) -> bytes:
    """A byte of each of these chunks is another."""
    data = bytearray(lam)
    for chunk in chunks:
        data[offsets(lam)[chunk] + 9] ^= 0xFF
    return bytes(data)
