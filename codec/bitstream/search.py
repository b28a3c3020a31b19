"""Find the chunks in a stream whose beginnings are not known, in time that grows only with its size.

The CRC-32 of a chunk covers the chunk's number before all else. A CRC-32 is the remainder of a division of polynomials
over two elements, so it can be run backwards: from the stored checksum over the payload and the fields to the number.
Foreign bytes give a random number of 32 bits, which hardly ever fits the place. So each place where a chunk may begin
is tried once, whatever its number may be. The checksums of all payloads come from a single pass over the bytes:

    crc(a + b) = shifted(crc(a), size of b) ^ crc(b)
"""

from __future__ import annotations

import collections
import functools
import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.fields import CRC, ByteReader, varint
from codec.bitstream.format import FEWER_CODEBOOKS, PACKED, RANGE_CODED, Header
from codec.bitstream.packing import packed_size

BLOCK = 2**16  # bytes searched at a time
_POLYNOMIAL = 0xEDB88320  # of the CRC-32; the coefficient of x^0 is the top bit
_ORDER = 2**32 - 1  # x to this power is 1
_NUMBER_SIZE = 8  # bytes of a chunk's number under the checksum


class Candidate(NamedTuple):
    """A place where a chunk of this number begins, if its checksum is not right by chance.

    Attributes:
        offset: its first byte in the stream.
        number: of the chunk, below 2^32.
    """

    offset: int
    number: int


class _Place(NamedTuple):
    """A place in a block whose bytes could be the fields of a chunk of frames_per_chunk frames.

    Attributes:
        start: its first byte.
        fields: number of bytes before the checksum.
        payload: the first byte of the payload.
        end: the first byte after it.
    """

    start: int
    fields: int
    payload: int
    end: int


class Search:
    """The places in a stream where a chunk of frames_per_chunk frames may begin, in order.

    Args:
        source: the stream, whose position may be changed between two calls.
        header: its header.
    """

    def __init__(self, source: ByteReader, header: Header) -> None:
        self._source, self._header, self._longest = source, header, _longest(header)
        self._next_block = 0  # byte of the stream
        self._waiting: collections.deque[Candidate] = collections.deque()

    def next_from(self, offset: int) -> Candidate | None:
        """Return the next place at or after a byte of the stream, each only once; None if there is no more."""
        while True:
            while self._waiting:
                if (candidate := self._waiting.popleft()).offset >= offset:
                    return candidate
            start = max(self._next_block, offset)
            if start >= (self._source.size or 0):
                return None
            self._waiting.extend(self._candidates(start))
            self._next_block = start + BLOCK

    def _candidates(self, start: int) -> Iterator[Candidate]:
        """Yield the places in a block of the stream."""
        self._source.seek(start)
        block = self._source.read_up_to(BLOCK + self._longest)
        places = list(_places(block, self._header))
        if places:
            for place, number in zip(places, _numbers(block, places).tolist(), strict=True):
                yield Candidate(start + place.start, number)


def _longest(header: Header) -> int:
    """Return the most bytes that a chunk can take."""
    codes = header.frames_per_chunk * header.channels * header.num_codebooks
    return 3 * 4 + CRC.size + packed_size(codes, header.bits_per_code)


def _places(block: bytes, header: Header) -> Iterator[_Place]:
    """Yield the places in the first BLOCK bytes whose fields are valid and whose payload ends in the block."""
    codings = (PACKED, RANGE_CODED, FEWER_CODEBOOKS) if header.varies else (PACKED, RANGE_CODED)
    tags = [varint(header.frames_per_chunk * 4 + coding) for coding in codings]
    longest = max(map(len, tags))
    for match in re.compile(b"|".join(map(re.escape, tags))).finditer(block, 0, BLOCK + longest - 1):
        place = _place(block, match.start(), match.end(), codings[tags.index(match[0])], header)
        if place is not None:
            yield place


def _place(block: bytes, start: int, after_tag: int, coding: int, header: Header) -> _Place | None:
    """Return the place of the chunk whose first field is read already; None if the other fields are not valid."""
    codebooks, at = header.num_codebooks, after_tag
    try:
        if coding == FEWER_CODEBOOKS:
            value, at = _varint(block, at)
            codebooks, coding = divmod(value, 2)
            if codebooks >= header.num_codebooks:
                return None
        size, at = _varint(block, at)
    except IndexError:
        return None
    packed = packed_size(header.frames_per_chunk * header.channels * codebooks, header.bits_per_code)
    if size != packed if coding == PACKED else size >= packed:
        return None
    payload = at + CRC.size
    return _Place(start, at - start, payload, payload + size) if payload + size <= len(block) else None


def _varint(block: bytes, at: int) -> tuple[int, int]:
    """Decode a varint; return its value, and the place after it. A form that is not the shortest is no fault here."""
    value = shift = 0
    while block[at] >= 0x80 and shift < 21:
        value |= (block[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
    return value | (block[at] & 0x7F) << shift, at + 1


def _numbers(block: bytes, places: list[_Place]) -> NDArray[np.uint32]:
    """Return the number of each chunk under which its checksum is right."""
    bounds = sorted({bound for place in places for bound in (place.payload, place.end)})
    crc, at, sums = 0, 0, {}
    view = memoryview(block)
    for bound in bounds:
        crc = zlib.crc32(view[at:bound], crc)
        at, sums[bound] = bound, crc
    columns = np.array(
        [
            (
                *CRC.unpack_from(block, place.payload - CRC.size),
                sums[place.payload] ^ zlib.crc32(view[place.start : place.start + place.fields]),
                sums[place.end],
            )
            for place in places
        ],
        np.uint32,
    )
    stored, before, after = columns.T
    sizes = np.array([(place.end - place.payload, place.fields) for place in places])
    with_fields = _shifted_back(stored ^ after, sizes[:, 0]) ^ before
    return _first_four_bytes(_shifted_back(with_fields, sizes[:, 1]))


def _first_four_bytes(crcs: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the integers whose CRC-32, as 8 bytes with zeros at their end, are these."""
    start = np.uint32(2**32 - 1)  # a CRC-32 begins with all bits set and ends with all bits changed
    return _shifted_back(crcs ^ start, np.full(len(crcs), _NUMBER_SIZE)) ^ start


def _shifted_back(crcs: NDArray[np.uint32], sizes: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Divide remainders by x^8 for each of so many bytes, uint32 [number]: undo that these bytes follow."""
    for bit in range(int(sizes.max()).bit_length()):
        where = sizes >> bit & 1 == 1
        if where.any():
            crcs = np.where(where, _times(crcs, _power(-8 << bit)), crcs)
    return crcs


@functools.cache
def _power(exponent: int) -> int:
    """Return the remainder of x^exponent; the exponent may be negative."""
    square, power = 1 << 30, 1 << 31  # x and 1
    for bit in range(32):
        if exponent % _ORDER >> bit & 1:
            power = int(_times(np.array([power], np.uint32), square)[0])
        square = int(_times(np.array([square], np.uint32), square)[0])
    return power


def _times(remainders: NDArray[np.uint32], factor: int) -> NDArray[np.uint32]:
    """Return the remainders of products."""
    product = np.zeros_like(remainders)
    for bit in range(31, -1, -1):
        if factor >> bit & 1:
            product = product ^ remainders
        remainders = remainders >> np.uint32(1) ^ (remainders & np.uint32(1)) * np.uint32(_POLYNOMIAL)
    return product
