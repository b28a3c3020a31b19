"""Count the frames of MPEG audio (MP3 and layers I and II) and find the sounds that were joined in one file.

libsndfile takes the length from the first frame if that is an information frame ("Xing", "Info" or "VBRI"), else it
estimates it from the size of the file. Both can be too short. Here each frame is found by its header:

    11 bits sync, 2 version, 2 layer, 1 protection, 4 bitrate, 2 sample rate, 1 padding, 1 private, 2 mode, ...

Sources: ISO 11172-3 and 13818-3; the Xing, LAME and VBRI headers as LAME and Fraunhofer describe them.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from codec.audio.blocks import DamagedSound, truncated
from codec.audio.parts import ID3_HEADER, Part, Range, Window, check_number, id3_size

MPEG_1, MPEG_2, MPEG_2_5 = 3, 2, 0  # the two bits of the version
SAMPLE_RATES = {MPEG_1: (44100, 48000, 32000), MPEG_2: (22050, 24000, 16000), MPEG_2_5: (11025, 12000, 8000)}
BITRATES = {  # kbit/s; (MPEG-1?, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
HEADER = 4  # bytes
SIDE_INFORMATION = {(True, 2): 32, (True, 1): 17, (False, 2): 17, (False, 1): 9}  # bytes; (MPEG-1?, channels)
INFO = 192  # bytes of a frame in which its information is
MAX_TAGS = 1_000  # between frames
MAX_TAIL = 16_384  # bytes of anything else after the last frame, such as tags of other kinds


class Kind(NamedTuple):
    """What does not change from frame to frame of one sound."""

    version: int
    layer: int
    sample_rate: int  # Hz
    channels: int


class Frame(NamedTuple):
    """One frame, as its header describes it."""

    kind: Kind
    size: int  # bytes with the header
    num_samples: int


class Information(NamedTuple):
    """What an information frame states about the frames that follow.

    Attributes:
        num_frames: without itself; 0 if not stated.
        is_exact: True if the encoder also states the silence that it added, so that its count can be trusted.
    """

    num_frames: int
    is_exact: bool


@functools.lru_cache(maxsize=1024)
def read_header(header: bytes) -> Frame | None:
    """Return the frame that begins with these four bytes; None if they are not the header of one.

    Frames of free format, which do not state their size, are not supported.
    """
    if len(header) < HEADER or header[0] != 0xFF or header[1] < 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    if version not in SAMPLE_RATES or layer == 4 or bitrate in (0, 15) or rate == 3 or header[3] & 3 == 2:
        return None
    sample_rate = SAMPLE_RATES[version][rate]
    bits_per_second = 1000 * BITRATES[version == MPEG_1, layer][bitrate - 1]
    num_samples = {1: 384, 2: 1152, 3: 1152 if version == MPEG_1 else 576}[layer]
    slot = 4 if layer == 1 else 1  # bytes
    size = (num_samples // 8 // slot * bits_per_second // sample_rate + (header[2] >> 1 & 1)) * slot
    kind = Kind(version, layer, sample_rate, 1 if header[3] >> 6 == 3 else 2)
    return Frame(kind, size, num_samples)


def first_frame(window: Window, start: int) -> int | None:
    """Return the position of the first frame of an MPEG file; None for another file.

    A frame must begin at `start`, or soon after it if bytes that look like a frame or a tag begin there.

    Args:
        window: the file.
        start: the position after the tags at its beginning.
    """
    if _confirmed(window, start):
        return start
    if not start and window.at(0, HEADER)[:1] != b"\xff":
        return None
    places = range(start, min(start + MAX_TAIL, window.size))
    return next((place for place in places if _confirmed(window, place, following=2)), None)


def find_parts(window: Window, start: int, name: str) -> list[Part]:
    """Return the parts of a file whose first frame begins at `start`.

    Raises:
        AudioError: the file is damaged or truncated.
    """
    return _Scan(window, name).run(start)


def _confirmed(window: Window, position: int, following: int = 1) -> Frame | None:
    """Return the frame at a position if others of its kind follow, or the end of the file or a tag."""
    frame = read_header(window.at(position, HEADER))
    if frame is None or not following:
        return frame
    end = position + frame.size
    if end == window.size or _tag_size(window, end):
        return frame if following == 1 else None
    other = _confirmed(window, end, following - 1)
    return frame if other is not None and other.kind == frame.kind else None


def _tag_size(window: Window, position: int) -> int:
    """Return the bytes in the tag at a position: ID3v1, ID3v2, APEv2 or Lyrics3; 0 if there is none."""
    head = window.at(position, 32)
    if head[:3] == b"TAG":
        return 128
    if head[:8] == b"APETAGEX" and len(head) == 32:
        is_header = head[23] & 0x20
        return 32 + (int.from_bytes(head[12:16], "little") if is_header else 0)
    if head[:11] == b"LYRICSBEGIN":
        end = window.find(b"LYRICS200", position)
        return 0 if end < 0 else end + 9 - position
    return id3_size(head[:ID3_HEADER])


def _information(data: bytes, frame: Frame) -> Information | None:
    """Return the information in the first bytes of a frame; None for a frame of sound."""
    if frame.kind.layer != 3:
        return None
    if data[36:40] == b"VBRI":
        return Information(int.from_bytes(data[50:54], "big"), False)
    side = SIDE_INFORMATION[frame.kind.version == MPEG_1, frame.kind.channels]
    start = HEADER + side + (0 if data[1] & 1 else 2)  # a checksum of two bytes follows the header
    for place in {start, HEADER + side}:
        if data[place : place + 4] in (b"Xing", b"Info"):
            return _xing(data[place:])
    return None


def _xing(data: bytes) -> Information:
    flags = int.from_bytes(data[4:8], "big")
    num_frames = int.from_bytes(data[8:12], "big") if flags & 1 else 0
    end = 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    return Information(num_frames, data[end : end + 3] in (b"LAM", b"Lav"))


class _Scan:
    """A walk over all frames of a file."""

    def __init__(self, window: Window, name: str) -> None:
        self._window, self._name = window, name
        self._parts: list[Part] = []
        self._begin(None, None)

    def run(self, start: int) -> list[Part]:
        position, num_tags = start, 0
        while position < self._window.size:
            data = self._window.at(position, INFO)
            frame = read_header(data[:HEADER])
            if frame is None or (frame.kind != self._kind and not _confirmed(self._window, position)):
                size = _tag_size(self._window, position)
                num_tags += 1
                if not size or num_tags > MAX_TAGS:
                    break
                position += size
                continue
            if position + frame.size > self._window.size:
                break
            self._take(position, frame, data)
            position += frame.size
        self._check_tail(position)
        self._finish()
        return self._parts

    def _begin(self, kind: Kind | None, information: Information | None) -> None:
        self._kind, self._information = kind, information or Information(0, False)
        self._information_size = self._num_frames = self._num_samples = 0
        self._ranges: list[list[int]] = []

    def _take(self, position: int, frame: Frame, data: bytes) -> None:
        information = _information(data, frame)
        if information is not None or frame.kind != self._kind:
            self._finish()
            self._begin(frame.kind, information)
        if information is None:
            self._num_frames += 1
            self._num_samples += frame.num_samples
        else:
            self._information_size = frame.size
        if self._ranges and self._ranges[-1][1] == position:
            self._ranges[-1][1] += frame.size
        else:
            self._ranges.append([position, position + frame.size])

    def _finish(self) -> None:
        """Add the part that ends here; check that it has all frames."""
        if not self._num_frames:
            return
        stated, is_exact = self._information
        # Some encoders count the information frame too.
        if stated > self._num_frames + (0 if is_exact else 1):
            raise truncated(self._name, f"holds {self._num_frames} MPEG frames, expected {stated}")
        ranges = [Range(*ends) for ends in self._ranges]
        num_samples = None
        # Only this information frame is for the decoder: it takes the length from it and cuts the added silence off.
        if not is_exact or stated != self._num_frames:
            ranges[0] = Range(ranges[0].start + self._information_size, ranges[0].end)
            num_samples = self._num_samples
        check_number(len(self._parts) + 1, self._name)
        self._parts.append(Part(tuple(part for part in ranges if part.end > part.start), num_samples, True))

    def _check_tail(self, position: int) -> None:
        """Raise AudioError unless what follows the last frame can be tags, or all frames that are stated were there."""
        stated = self._information.num_frames
        rest = self._window.size - position
        if not rest or (rest <= MAX_TAIL and 0 < stated == self._num_frames):
            return
        frame = read_header(self._window.at(position, HEADER))
        if frame is not None and frame.kind == self._kind:
            problem = f"the last MPEG frame holds {rest} bytes, expected {frame.size}"
            raise truncated(self._name, problem)
        if rest > MAX_TAIL or self._another_frame(position):
            raise DamagedSound(f"{self._name}: damaged: no MPEG frame at byte {position}")

    def _another_frame(self, start: int) -> bool:
        """Return True if frames like those before follow after other bytes."""
        return any(
            (frame := _confirmed(self._window, position)) is not None and frame.kind == self._kind
            for position in range(start, self._window.size)
        )
