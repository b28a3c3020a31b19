"""Find where the sound of a file ends by its header. libsndfile reads a truncated file as a shorter one.

    container   chunks begin at   id   size
    RIFF        12                4    4, little-endian; a size of 0xFFFFFFFF in RF64 stands in the chunk "ds64"
    RIFX, AIFF  12                4    4, big-endian
    CAF         8                 4    8, big-endian
    W64         40                16   8, little-endian, with the 24 bytes of id and size
    AU          the sizes of the header and the sound are at bytes 4 and 8, big-endian
    Matroska    0                 1..8 1..8, both with their length in the first byte: a header, then all the rest
    SPHERE      1,024 bytes of text with lines such as "sample_count -i 16000"

Sources: EBU Tech 3306 (RF64); Apple's AIFF-C and CAF; Sony's Wave64; Sun's manual of audio files; SPHERE of NIST; RFC
8794 and 9559 (Matroska).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from codec.audio.parts import Window
from codec.audio.wav import MAX_CHUNKS, STREAMING_SIZES

SOUND = (b"data", b"SSND", b"BODY")
SPHERE_HEADER = 1024
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
UNKNOWN = 1 << 62  # a size of 8 bytes from here on stands for: up to the end of the file


class Layout(NamedTuple):
    """The layout of the chunks of a container, in bytes."""

    start: int
    id_size: int
    size_size: int
    byte_order: Literal["little", "big"]
    alignment: int
    counts_itself: bool = False


LAYOUTS = {
    b"RIFF": Layout(12, 4, 4, "little", 2),
    b"RF64": Layout(12, 4, 4, "little", 2),
    b"BW64": Layout(12, 4, 4, "little", 2),
    b"RIFX": Layout(12, 4, 4, "big", 2),
    b"FORM": Layout(12, 4, 4, "big", 2),
    b"caff": Layout(8, 4, 8, "big", 1),
    b"riff": Layout(40, 16, 8, "little", 8, True),
}


def stated_end(window: Window) -> int | None:
    """Return the position at which the sound ends as the file states it; None if it does not."""
    magic = window.at(0, 4)
    if magic in (b".snd", b"dns."):
        return _end_of_au(window, "big" if magic == b".snd" else "little")
    if magic == EBML:
        return _end_of_matroska(window.at(0, 4096))
    if magic == b"NIST":
        return _end_of_sphere(window.at(0, SPHERE_HEADER))
    layout = LAYOUTS.get(magic)
    return None if layout is None else _end_of_chunk(window, layout)


def _end_of_au(window: Window, byte_order: Literal["little", "big"]) -> int | None:
    start, size = (int.from_bytes(window.at(place, 4), byte_order) for place in (4, 8))
    return None if size in STREAMING_SIZES else start + size


def _end_of_sphere(header: bytes) -> int | None:
    fields = {line[0]: line[2] for line in map(bytes.split, header.splitlines()) if len(line) == 3}
    numbers = [fields.get(name, b"") for name in (b"sample_count", b"channel_count", b"sample_n_bytes")]
    if not all(number.isdigit() for number in numbers) or b"embedded" in header:  # compressed by Shorten
        return None
    samples, channels, size = map(int, numbers)
    return SPHERE_HEADER + samples * channels * size


def _end_of_matroska(data: bytes) -> int | None:
    size, place = _ebml_size(data, len(EBML))
    place += size or 0
    if data[place : place + len(SEGMENT)] != SEGMENT:
        return None
    size, place = _ebml_size(data, place + len(SEGMENT))
    return None if size is None else place + size


def _ebml_size(data: bytes, place: int) -> tuple[int | None, int]:
    """Return a size, None if it is unknown, and the position after it."""
    length = 9 - data[place].bit_length() if place < len(data) else 9
    bits = 7 * length
    value = int.from_bytes(data[place : place + length], "big") & (1 << bits) - 1
    return None if length > 8 or value == (1 << bits) - 1 else value, place + length


def _end_of_chunk(window: Window, layout: Layout) -> int | None:
    position, real_size = layout.start, 0
    for _ in range(MAX_CHUNKS):
        head = window.at(position, layout.id_size + layout.size_size)
        if len(head) < layout.id_size + layout.size_size:
            return None
        size = int.from_bytes(head[layout.id_size :], layout.byte_order)
        size -= len(head) if layout.counts_itself else 0
        position += len(head)
        if head[:4] == b"ds64":
            real_size = int.from_bytes(window.at(position + 8, 8), "little")
        if head[:4] in SOUND:
            size = real_size or size
            return None if size in (0, *STREAMING_SIZES) or not 0 < size < UNKNOWN else position + size
        position += -(-max(0, size) // layout.alignment) * layout.alignment
    return None
