"""Damaged files as sound of the right length: lost chunks are concealed and reported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from codec import bitstream
from codec.coding.decoder_stream import DecoderStream, total_frames
from codec.errors import BitstreamError

MOST_LOST = 86_400  # seconds lost in one place; a file that claims more is not believed


class Loss(NamedTuple):
    """A gap in a damaged file.

    Attributes:
        first: number of the first lost chunk.
        last: number of the last lost chunk; None if the length of the file is unknown.
        start: seconds.
        end: seconds; None if the length of the file is unknown.
    """

    first: int
    last: int | None
    start: float
    end: float | None

    def __str__(self) -> str:
        start = show_time(self.start)
        if self.last is None or self.end is None:
            return f"{start} to an unknown end (chunk {self.first} and all after it)"
        chunks = f"chunk {self.first}" if self.first == self.last else f"chunks {self.first} to {self.last}"
        return f"{start} to {show_time(self.end)} ({chunks})"

    def touches(self, start: float, end: float | None) -> bool:
        """Return True if the loss lies at least partly between two times, in seconds."""
        return (self.end is None or self.end > start) and (end is None or self.start < end)


def concealed(
    chunks: Iterable[bitstream.Chunk], reader: bitstream.Reader, decoder: DecoderStream, losses: list[Loss]
) -> Iterator[np.ndarray]:
    """Yield the sound of a damaged file, [time, channels]: lost chunks are concealed.

    Args:
        chunks: those that are left.
        reader: of the file.
        decoder: at the frame where the sound begins.
        losses: each loss is appended, as soon as it is found.

    Raises:
        BitstreamError: no chunk is left, or the file claims to be absurdly longer than it is.
    """
    empty = True
    for chunk in chunks:
        frames = total_frames(reader, decoder)
        if frames is not None and chunk.start_frame >= frames:
            break
        yield from _gap(chunk.start_frame, reader, decoder, losses)
        codes = chunk.codes if frames is None else chunk.codes[:, : frames - chunk.start_frame]
        yield from decoder.steps(codes, fill_to=reader.header.frames_per_chunk)
        empty = False
    frames = total_frames(reader, decoder)
    if empty and frames != decoder.next_frame:
        raise BitstreamError("no chunk is left that could be decoded")
    if frames is None:
        losses.append(_loss(decoder.next_frame, None, reader))
    else:
        yield from _gap(frames, reader, decoder, losses)
    yield decoder.flush()


def _gap(
    stop: int, reader: bitstream.Reader, decoder: DecoderStream, losses: list[Loss]
) -> Iterator[np.ndarray]:
    """Yield sound that conceals the frames up to `stop`, if they are lost: a chunk or a second at a time."""
    if decoder.next_frame >= stop:
        return
    loss = _loss(decoder.next_frame, stop, reader)
    if loss.end is not None and loss.end - loss.start > MOST_LOST:
        raise BitstreamError(f"{loss} is lost, expected at most {show_time(MOST_LOST)} in one place")
    losses.append(loss)
    header = reader.header
    second = bitstream.frames_per_second(header.hop_length, header.model_sample_rate)
    most = min(header.frames_per_chunk, second)
    while decoder.next_frame < stop:
        yield decoder.conceal(min(most, stop - decoder.next_frame))


def _loss(first: int, stop: int | None, reader: bitstream.Reader) -> Loss:
    """Return the loss of the frames from `first` up to `stop`."""
    header = reader.header
    start = first * header.hop_length / header.model_sample_rate
    if stop is None:
        return Loss(first // header.frames_per_chunk, None, start, None)
    end = stop * header.hop_length / header.model_sample_rate
    if reader.num_samples is not None:
        end = min(end, reader.num_samples / header.sample_rate)
    return Loss(first // header.frames_per_chunk, (stop - 1) // header.frames_per_chunk, min(start, end), end)


def show_time(seconds: float) -> str:
    """Return a time as people write it: 62.5 becomes `1:02.50`."""
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{clock}:{rest // 100:02}.{rest % 100:02}"
