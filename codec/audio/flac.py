"""Find the streams of joined FLAC files.

A stream begins with "fLaC" and the 34 bytes of STREAMINFO (RFC 9639, section 8.2). Within a stream these eight bytes
hardly occur: at random once in 2^64.
"""

from __future__ import annotations

from codec.audio.parts import Part, Range, Window

MARKERS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")  # the second: no more metadata follow


def find_parts(window: Window, start: int) -> list[Part]:
    """Return the streams of a file whose first stream begins at `start`."""
    starts = [start, *sorted(place for marker in MARKERS for place in _places(window, marker, start + 1))]
    return [Part((Range(*ends),)) for ends in zip(starts, [*starts[1:], window.size], strict=True)]


def _places(window: Window, marker: bytes, start: int) -> list[int]:
    places = []
    while (place := window.find(marker, start)) >= 0:
        places.append(place)
        start = place + len(marker)
    return places
