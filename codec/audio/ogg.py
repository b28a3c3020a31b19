"""Find the links of a chained Ogg file, and pages that are missing at its end.

A page: "OggS" version:1 flags:1 position:8 serial:4 number:4 checksum:4 segments:1 sizes:segments, then the data.
Flag 2 marks the first page of a stream, flag 4 its last. Source: RFC 3533.
"""

from __future__ import annotations

from codec.audio.blocks import DamagedSound, truncated
from codec.audio.parts import Part, Range, Window, check_number

CAPTURE = b"OggS\0"
FIRST, LAST = 2, 4  # flags
PAGE_HEADER = 27  # bytes before the sizes


def find_parts(window: Window, start: int, name: str) -> list[Part]:
    """Return the links of a file whose first page begins at `start`.

    Raises:
        AudioError: the file is truncated, or bytes between two pages are not a page.
    """
    starts: list[int] = []
    flags, after_first, position = 0, False, start
    while (size := _page_size(window, position)) > 0:
        flags = window.at(position + 5, 1)[0]
        if flags & FIRST and not after_first:  # the first pages of all streams of a link stand together
            starts.append(position)
            check_number(len(starts), name)
        after_first = bool(flags & FIRST)
        position += size
    if position <= window.size and window.find(CAPTURE, position + 1) >= 0:
        raise DamagedSound(f"{name}: damaged: no Ogg page at byte {position}")
    if position > window.size or window.at(position, len(CAPTURE)) == CAPTURE or not flags & LAST:
        raise truncated(name, "the last Ogg page is missing")
    starts[:1] = [start]
    return [Part((Range(*ends),)) for ends in zip(starts, [*starts[1:], position], strict=True)]


def _page_size(window: Window, position: int) -> int:
    """Return the bytes of a page, 0 if there is none at this position or its header is cut off."""
    header = window.at(position, PAGE_HEADER + 255)
    if not header.startswith(CAPTURE) or len(header) < PAGE_HEADER:
        return 0
    sizes = header[PAGE_HEADER : PAGE_HEADER + header[26]]
    return 0 if len(sizes) < header[26] else PAGE_HEADER + len(sizes) + sum(sizes)
