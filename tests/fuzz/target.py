"""The fuzz target: any bytes give codes or a BitstreamError, and do not affect the next stream.

The first byte selects what is done with the others, so that random bytes can reach all of the reader:

    bits 0..2   the number of an action in `ACTIONS`
    bit 3       first correct the checksums, since random bytes would hardly get past them
    bits 4..7   if all 0, read a valid stream afterwards and compare it
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
from support.priors import random_prior
from support.streams import HEADER, Pipe, random_codes

from codec.bitstream import Prior, Reader, RecoveringReader, Writer, thin, trailer
from codec.bitstream.format import FEWER_CODEBOOKS, MAGIC, PACKED, Header, chunk_crc
from codec.bitstream.packing import pack, unpack
from codec.errors import BitstreamError

REPAIR = 8
HEADER_BYTES = 43
# Small, for speed: two chunks of one frame, of the size that PRIOR has.
ROW = dataclasses.replace(HEADER, bits_per_code=4, frames_per_chunk=1, num_samples=1_500)
VARYING = dataclasses.replace(ROW, varies=True, num_samples=4_000)  # five chunks
PRIOR = Prior(random_prior())
CODES = random_codes(ROW, 2)


def check(data: bytes) -> None:
    """Try one input. A fault of the reader raises AssertionError, or anything but a BitstreamError."""
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
        assert np.array_equal(_codes(Reader(io.BytesIO(VALID), PRIOR)), CODES)


def read_file(stream: bytes) -> None:
    """Read all chunks, then some of them again by the index, which must give the same."""
    reader = Reader(io.BytesIO(stream), PRIOR)
    chunks = list(reader)
    if reader.chunk_offsets:
        for number in {0, len(chunks) // 2, len(chunks) - 1}:
            reader.seek(number)
            assert np.array_equal(next(iter(reader)).codes, chunks[number].codes)


def verify(stream: bytes) -> None:
    """Read all chunks as `verify` does: those that it accepts have the codes that the plain reader gives."""
    checked = list(Reader(io.BytesIO(stream)).checked_chunks())
    if all(chunk.coding == PACKED for chunk in checked):
        assert len(list(Reader(io.BytesIO(stream)))) == len(checked)


def read_pipe(stream: bytes) -> None:
    """Read all chunks from a pipe."""
    _codes(Reader(Pipe(stream, 7), PRIOR))  # type: ignore[arg-type]


def recover(stream: bytes) -> None:
    """Recovered chunks are in order, and include what the plain reader gives before the first damage."""
    plain = []
    with contextlib.suppress(BitstreamError):
        plain.extend(Reader(io.BytesIO(stream), PRIOR))
    recovered = {chunk.index: chunk.codes for chunk in RecoveringReader(io.BytesIO(stream), PRIOR)}
    assert list(recovered) == sorted(recovered)
    both = [chunk for chunk in plain if chunk.index in recovered]
    assert all(np.array_equal(recovered[chunk.index], chunk.codes) for chunk in both)


def recover_header(stream: bytes) -> None:
    """Recovery without the header gives the chunks of the header's copy, if there is one."""
    reader = RecoveringReader(io.BytesIO(bytes(HEADER_BYTES) + stream[HEADER_BYTES:]), PRIOR)
    assert reader.header_repaired
    chunks = list(reader.stored_chunks())
    if reader.header.to_bytes() == stream[:HEADER_BYTES]:
        with_header = RecoveringReader(io.BytesIO(stream)).stored_chunks()
        assert {chunk.index for chunk in with_header} == {chunk.index for chunk in chunks}


def thin_stream(stream: bytes) -> None:
    """Thinning gives the first codes of each row."""
    reader, target = Reader(io.BytesIO(stream), PRIOR), io.BytesIO()
    if reader.header.bits_per_code != ROW.bits_per_code or reader.header.num_codebooks > ROW.num_codebooks:
        reader.prior = None  # another model, which a caller notices by its identity
    fewer = (reader.header.num_codebooks + 1) // 2
    thin(reader, target, fewer)
    whole = _codes(Reader(io.BytesIO(stream), PRIOR))
    thinned = _codes(Reader(io.BytesIO(target.getvalue()), PRIOR))
    assert np.array_equal(thinned, whole[..., :fewer])


def range_decode(data: bytes) -> None:
    """Range decoding reports a fault, or encoding the codes gives the same bytes."""
    codes, (fault,) = PRIOR.unpack([data], 2, 3, 3)
    assert fault or PRIOR.pack(codes) == [data]


def unpack_bits(data: bytes) -> None:
    """Unpacking codes of fixed width raises ValueError, or packing the codes gives the same bytes."""
    count = 8 * len(data) // 10
    try:
        codes = unpack(data, count, 10)
    except ValueError:
        return
    assert pack(codes, 10) == data


ACTIONS: tuple[Callable[[bytes], None], ...] = (
    read_file,
    verify,
    read_pipe,
    recover_header,
    recover,
    thin_stream,
    range_decode,
    unpack_bits,
)


def repaired(stream: bytes) -> bytes:
    """Correct the checksums of the header, the chunks and the trailer, as far as these can be recognized."""
    fixed = stream[: HEADER_BYTES - 4]
    fixed += struct.pack("<I", zlib.crc32(fixed))
    place, number = HEADER_BYTES, 0
    while place < len(stream):
        start = place
        tag, place = _varint(stream, place)
        if not tag:
            copied = stream[-HEADER_BYTES:][: len(MAGIC)] == MAGIC
            trailer = stream[start : -4 - HEADER_BYTES * copied]
            copy = fixed[:HEADER_BYTES] if copied else b""
            return fixed + trailer + struct.pack("<I", zlib.crc32(trailer)) + copy
        if tag % 4 == FEWER_CODEBOOKS:
            _, place = _varint(stream, place)
        size, place = _varint(stream, place)
        fields, payload = stream[start:place], stream[place + 4 : place + 4 + size]
        fixed += fields + struct.pack("<I", chunk_crc(number, fields, payload)) + payload
        place, number = place + 4 + size, number + 1
    return fixed


def seeds() -> list[bytes]:
    """Return the first inputs: valid streams, packed and range coded, and the golden files, each in all modes."""
    golden = sorted((Path(__file__).parent.parent / "golden" / "v1").glob("*.lam"))
    streams = [
        VALID,
        _written(ROW, CODES, None),
        _written(ROW, CODES * 0, PRIOR),
        _written(VARYING, random_codes(ROW, 5), None, (2, 0, 3, 1, 0)),
        _written(VARYING, random_codes(ROW, 5) * 0, PRIOR, (2, 0, 3, 1, 0)),
        COPIED,
        *(file.read_bytes() for file in golden),
    ]
    return [bytes([mode]) + stream for mode in range(16) for stream in streams]


def _varint(stream: bytes, place: int) -> tuple[int, int]:
    """Decode a varint of at most four bytes; return its value and the place after it."""
    value = shift = 0
    for byte in stream[place : place + 4]:
        value, shift, place = value | (byte & 127) << shift, shift + 7, place + 1
        if byte < 128:
            break
    return value, place


def _codes(reader: Reader) -> np.ndarray:
    """Return all codes, with -1 where a chunk has fewer codebooks."""
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
    """Write chunks of one frame, with all codebooks or with the given numbers of them."""
    file = io.BytesIO()
    writer = Writer(file, header, prior)
    for frame in range(codes.shape[1]):
        count = codebooks[frame] if codebooks else header.num_codebooks
        writer.write_chunk(codes[:, frame : frame + 1, :count])
    writer.close(header.num_samples)
    return file.getvalue()


VALID = _written(ROW, CODES, PRIOR)
with mock.patch.object(trailer, "COPY_FROM", 0):
    COPIED = _written(ROW, CODES, PRIOR)  # ends with a copy of the header
