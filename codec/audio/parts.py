"""Find the sounds that stand one after another in a file, such as the links of a chained Ogg file.

Most files hold one part. Decoders stop at the end of the first, so each part is decoded on its own. A part is a list of
byte ranges, so that tags between the frames of an MP3 file are left out.
"""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import BinaryIO, NamedTuple

from codec.errors import AudioError
from codec.files import read_up_to

BLOCK = 1 << 20  # bytes read at a time in search of parts
MAX_PARTS = 10_000  # a limit on memory; a day of radio has some 400 links
MAX_PADDING = 1 << 16  # zero bytes before the first part that are skipped
ID3_HEADER = 10  # bytes


class Range(NamedTuple):
    """The bytes from `start` up to `end`."""

    start: int
    end: int


class Part(NamedTuple):
    """One sound in a file.

    Attributes:
        ranges: the bytes that hold it, in order.
        num_samples: samples in a channel if they were counted here; None where the decoder finds their number.
        is_mpeg: True for MPEG audio.
    """

    ranges: tuple[Range, ...]
    num_samples: int | None = None
    is_mpeg: bool = False


def check_number(num_parts: int, name: str) -> None:
    """Raise AudioError for more parts than are supported."""
    if num_parts > MAX_PARTS:
        raise AudioError(f"{name}: holds more than {MAX_PARTS} sounds one after another; split it first")


class PartFile(io.RawIOBase):
    """A file of the bytes in some ranges of another file.

    Args:
        file: a file that can seek.
        ranges: of its bytes.
        hidden_end: pretend that the file is far longer. libmpg123 estimates the number of samples from the length, and
            libsndfile stops there; with this the frames end first.
    """

    def __init__(self, file: BinaryIO, ranges: tuple[Range, ...], hidden_end: bool = False) -> None:
        super().__init__()
        self._file, self._ranges, self._position = file, ranges, 0
        self._ends = list(accumulate(end - start for start, end in ranges))
        self._length = (self._ends[-1] if self._ends else 0) + (1 << 40 if hidden_end else 0)
        # libmpg123 looks for an ID3v1 tag in the last 128 bytes and must be able to read them.
        self._zeros = self._length - 128 if hidden_end else self._length

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset from the beginning, the position or the end; return the new position.

        A damaged file can make a decoder ask for a position outside any file. Then -1 is returned and nothing changes:
        an exception could not pass through the decoder's C code.
        """
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        if not 0 <= base + offset < 1 << 62:
            return -1
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes, fewer only at the end."""
        if size < 0:
            size = max(0, self._length - self._position)
        if self._position >= self._zeros:
            data = bytes(min(size, max(0, self._length - self._position)))
        else:
            data = b"".join(self._pieces(size))
        self._position += len(data)
        return data

    def readinto(self, buffer: object) -> int:
        """Fill a buffer; return the number of bytes, fewer than its size only at the end."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def _pieces(self, size: int) -> Iterator[bytes]:
        position = self._position
        number = bisect_right(self._ends, position)
        while size > 0 and number < len(self._ranges):
            end = self._ranges[number].end
            here = end - (self._ends[number] - position)
            self._file.seek(here)
            piece = read_up_to(self._file, min(size, end - here))
            yield piece
            if len(piece) < min(size, end - here):
                return  # the file became shorter
            position, size, number = position + len(piece), size - len(piece), number + 1


class Window:
    """The bytes of a file at any position, read in blocks.

    Attributes:
        size: bytes in the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._start, self._block = file, 0, b""
        self.size = file.seek(0, os.SEEK_END)

    def at(self, position: int, size: int) -> bytes:
        """Return `size` bytes, at most `BLOCK`, from a position on; fewer only at the end of the file."""
        if position >= self.size:
            return b""
        offset = position - self._start
        if offset < 0 or offset + size > len(self._block):
            self._file.seek(position)
            self._block, self._start, offset = read_up_to(self._file, BLOCK), position, 0
        return self._block[offset : offset + size]

    def find(self, pattern: bytes, start: int) -> int:
        """Return the position of the first occurrence at or after `start`, or -1."""
        while start < self.size:
            place = self.at(start, BLOCK).find(pattern)
            if place >= 0:
                return start + place
            start += max(1, BLOCK - len(pattern) + 1)
        return -1

    def num_zeros(self, start: int, limit: int) -> int:
        """Return the number of zero bytes from `start` on, up to a limit."""
        data = self.at(start, limit)
        return len(data) - len(data.lstrip(b"\0"))


def content_start(window: Window) -> int:
    """Return the position of the first byte after any ID3v2 tags and zero bytes; 0 if these fill the file."""
    start = window.num_zeros(0, MAX_PADDING)
    while size := id3_size(window.at(start, ID3_HEADER)):
        start += size
        start += window.num_zeros(start, MAX_PADDING)
    return start if start < window.size else 0


def id3_size(header: bytes) -> int:
    """Return the bytes in the ID3v2 tag with this header; 0 for other bytes."""
    if len(header) < ID3_HEADER or header[:3] != b"ID3":
        return 0
    size = sum((byte & 127) << shift for byte, shift in zip(header[6:], (21, 14, 7, 0), strict=True))
    return ID3_HEADER + size + (ID3_HEADER if header[5] & 16 else 0)  # 16: a footer
