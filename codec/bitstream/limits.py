"""How much sound a stream may give for its size: a limit on work and space, since silence takes hardly any bytes."""

from __future__ import annotations

from codec.bitstream.reader import Reader
from codec.errors import TooLong

ALWAYS_ALLOWED = 3_600  # seconds of one channel
LOWEST_BITRATE = 1_500  # bits per second and channel, of `lamella-48k`
MOST_TIMES = 1_000  # as long as the size would last at the lowest bitrate


def plausible_seconds(num_bytes: int, channels: int) -> float:
    """Return the most seconds that a stream of this size may last.

    That is an hour of one channel, and for each byte 5.3 seconds more: 1,000 times as long as it lasts at the lowest
    bitrate. Silence takes 9 bytes for a chunk of all channels, usually a second.
    """
    return (ALWAYS_ALLOWED + MOST_TIMES * num_bytes * 8 / LOWEST_BITRATE) / channels


def check_plausible(reader: Reader, seconds: float, remedy: str) -> None:
    """Raise TooLong for more seconds of sound than the size of the file, or what was read of a pipe, lets expect.

    Args:
        reader: of the stream.
        seconds: of sound.
        remedy: what allows more, for the message.
    """
    num_bytes = reader.position if reader.size is None else reader.size
    most = plausible_seconds(num_bytes, reader.header.channels)
    if seconds > most:
        raise TooLong(
            f"{seconds:.0f} s of sound in {num_bytes} bytes, expected at most {most:.0f} s; {remedy}"
        )
