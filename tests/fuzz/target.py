"""What must hold for any bytes: a stream, damaged or made up, gives codes or a BitstreamError, and harms no other.

The first byte says how the rest is taken, so that whoever draws the bytes can reach all of the reader:

    bits 0..2   which of `ACTIONS`
    bit 3       checksums are put right first: behind them lies what no drawn byte would reach
    bits 4..7   all 0: a sound stream is read afterwards, which must be as ever
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from support.priors import random_prior
from support.streams import HEADER, Pipe, random_codes

from codec.bitstream import Prior, Reader, RecoveringReader, Writer, thin
from codec.bitstream.format import FEWER_CODEBOOKS, Header, chunk_crc
from codec.bitstream.packing import pack, unpack
from codec.errors import BitstreamError

REPAIR = 8
HEADER_BYTES = 43
# Small, for speed: two chunks of one frame. PRIOR fits it.
ROW = dataclasses.replace(HEADER, bits_per_code=4, frames_per_chunk=1, num_samples=1_500)
VARYING = dataclasses.replace(ROW, varies=True, num_samples=4_000)  # five chunks
PRIOR = Prior(random_prior())
CODES = random_codes(ROW, 2)


def check(data: bytes) -> None:
    """Try one input; raises AssertionError, or anything but a BitstreamError, where something is wrong."""
    if not data:
        return
    mode, stream = data[0], data[1:]
    if mode & REPAIR:
        stream = repaired(stream)
    try:
        ACTIONS[mode % len(ACTIONS)](stream)
    except BitstreamError as error:
        assert "\n" not in str(error)
    if mode < 16:
        assert np.array_equal(_codes(Reader(io.BytesIO(SOUND), PRIOR)), CODES)


def read_file(stream: bytes) -> None:
    """All chunks, then each again by the index, which must be the same."""
    reader = Reader(io.BytesIO(stream), PRIOR)
    chunks = list(reader)
    if reader.chunk_offsets:
        for number in {0, len(chunks) // 2, len(chunks) - 1}:
            reader.seek(number)
            assert np.array_equal(next(iter(reader)).codes, chunks[number].codes)


def read_pipe(stream: bytes) -> None:
    _codes(Reader(Pipe(stream, 7), PRIOR))  # type: ignore[arg-type]


def recover(stream: bytes) -> None:
    """What is recovered comes in order, and holds all that a plain reader finds before the first damage."""
    plain = []
    with contextlib.suppress(BitstreamError):
        plain.extend(Reader(io.BytesIO(stream), PRIOR))
    found = {chunk.index: chunk.codes for chunk in RecoveringReader(io.BytesIO(stream), PRIOR)}
    assert list(found) == sorted(found)
    assert all(np.array_equal(found[chunk.index], chunk.codes) for chunk in plain if chunk.index in found)


def thin_it(stream: bytes) -> None:
    reader, target = Reader(io.BytesIO(stream), PRIOR), io.BytesIO()
    if reader.header.bits_per_code != ROW.bits_per_code or reader.header.num_codebooks > ROW.num_codebooks:
        reader.prior = None  # of another model: its caller would have seen that by the identity
    fewer = (reader.header.num_codebooks + 1) // 2
    thin(reader, target, fewer)
    whole = _codes(Reader(io.BytesIO(stream), PRIOR))
    thinned = _codes(Reader(io.BytesIO(target.getvalue()), PRIOR))
    assert np.array_equal(thinned, whole[..., :fewer])


def range_decode(data: bytes) -> None:
    """Bytes that are taken for a chunk are those that the same codes give."""
    codes, (fault,) = PRIOR.unpack([data], 2, 3, 3)
    assert fault or PRIOR.pack(codes) == [data]


def unpack_it(data: bytes) -> None:
    """The same of fixed width."""
    count = 8 * len(data) // 10
    try:
        codes = unpack(data, count, 10)
    except ValueError:
        return
    assert pack(codes, 10) == data


ACTIONS: tuple[Callable[[bytes], None], ...] = (
    read_file,
    read_file,
    read_pipe,
    read_pipe,
    recover,
    thin_it,
    range_decode,
    unpack_it,
)


def repaired(stream: bytes) -> bytes:
    """The same with right checksums in header, chunks and trailer, as far as there is something like them."""
    made = stream[: HEADER_BYTES - 4]
    made += struct.pack("<I", zlib.crc32(made))
    place, number = HEADER_BYTES, 0
    while place < len(stream):
        start = place
        tag, place = _varint(stream, place)
        if not tag:
            trailer = stream[start:-4]
            return made + trailer + struct.pack("<I", zlib.crc32(trailer))
        if tag % 4 == FEWER_CODEBOOKS:
            _, place = _varint(stream, place)
        size, place = _varint(stream, place)
        fields, payload = stream[start:place], stream[place + 4 : place + 4 + size]
        made += fields + struct.pack("<I", chunk_crc(number, fields, payload)) + payload
        place, number = place + 4 + size, number + 1
    return made


def seeds() -> list[bytes]:
    """Inputs to begin with: a sound stream in each mode, packed and range coded, and the golden files."""
    golden = sorted((Path(__file__).parent.parent / "golden" / "v1").glob("*.lam"))
    streams = [
        SOUND,
        _written(ROW, CODES, None),
        _written(ROW, CODES * 0, PRIOR),
        _written(VARYING, random_codes(ROW, 5), None, (2, 0, 3, 1, 0)),
        _written(VARYING, random_codes(ROW, 5) * 0, PRIOR, (2, 0, 3, 1, 0)),
        *(file.read_bytes() for file in golden),
    ]
    return [bytes([mode]) + stream for mode in range(16) for stream in streams]


def _varint(stream: bytes, place: int) -> tuple[int, int]:
    """The number there and the place behind it; at most four bytes."""
    value = shift = 0
    for byte in stream[place : place + 4]:
        value, shift, place = value | (byte & 127) << shift, shift + 7, place + 1
        if byte < 128:
            break
    return value, place


def _codes(reader: Reader) -> np.ndarray:
    """All codes, with -1 in place of those that a chunk of fewer codebooks lacks."""
    header = reader.header
    empty = np.zeros((header.channels, 0, header.num_codebooks), np.int32)
    chunks = (
        np.pad(codes, ((0, 0), (0, 0), (0, header.num_codebooks - codes.shape[2])), constant_values=-1)
        for codes in (chunk.codes for chunk in reader)
    )
    return np.concatenate([empty, *chunks], axis=1)


def _written(
    header: Header, codes: np.ndarray, prior: Prior | None, codebooks: tuple[int, ...] = ()
) -> bytes:
    """Chunks of a frame each, of all codebooks or of as many as are given."""
    file = io.BytesIO()
    writer = Writer(file, header, prior)
    for frame in range(codes.shape[1]):
        count = codebooks[frame] if codebooks else header.num_codebooks
        writer.write_chunk(codes[:, frame : frame + 1, :count])
    writer.close(header.num_samples)
    return file.getvalue()


SOUND = _written(ROW, CODES, PRIOR)
