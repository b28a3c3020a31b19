"""Find the streams of joined FLAC files.

A stream begins with "fLaC" and the 34 bytes of STREAMINFO (RFC 9639, section 8.2). Within a stream these eight bytes
hardly occur: at random once in 2^64.
"""

from __future__ import annotations

from codec.audio.parts import Part, Range, Window, check_number

MARKER = b"fLaC"
STREAMINFO = (b"\0\0\0\x22", b"\x80\0\0\x22")  # the second: no more metadata follow


def find_parts(window: Window, start: int, name: str) -> list[Part]:
    """Return the streams of a file whose first stream begins at `start`; AudioError if there are too many."""
    starts, position = [start], start
    while (position := window.find(MARKER, position + len(MARKER))) >= 0:
        if window.at(position + len(MARKER), 4) in STREAMINFO:
            starts.append(position)
            check_number(len(starts), name)
    return [Part((Range(*ends),)) for ends in zip(starts, [*starts[1:], window.size], strict=True)]
