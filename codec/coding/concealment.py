"""What damage has left of a file, as sound of the right length: lost chunks are concealed, and told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from codec import bitstream
from codec.coding.decoder_stream import DecoderStream
from codec.errors import BitstreamError

MOST_LOST = 86_400  # seconds of silence in one place; a file that claims more is not believed


class Loss(NamedTuple):
    """What damage took: chunks `first` to `last`, seconds `start` to `end`; None: to an end that nothing tells."""

    first: int
    last: int | None
    start: float
    end: float | None

    def __str__(self) -> str:
        start = show_time(self.start)
        if self.last is None or self.end is None:
            return f"{start} to an unknown end (chunk {self.first} and all behind it)"
        chunks = f"chunk {self.first}" if self.first == self.last else f"chunks {self.first} to {self.last}"
        return f"{start} to {show_time(self.end)} ({chunks})"


def only_within(start: float, end: float | None, on_loss: Callable[[Loss], None]) -> Callable[[Loss], None]:
    """Tell those losses alone that touch the part from `start` to `end`, in seconds."""

    def told(loss: Loss) -> None:
        if (loss.end is None or loss.end > start) and (end is None or loss.start < end):
            on_loss(loss)

    return told


def recovered(
    chunks: Iterable[bitstream.Chunk],
    reader: bitstream.Reader,
    decoder: DecoderStream,
    on_loss: Callable[[Loss], None],
) -> Iterator[np.ndarray]:
    """The sound of the chunks that are left, [time, channels], with what conceals lost ones in their places.

    Raises BitstreamError where no chunk is left, or the file claims to be absurdly longer than it is.
    """
    nothing = True
    for chunk in chunks:
        frames = _frames_in_all(reader, decoder)
        if frames is not None and chunk.start_frame >= frames:
            break
        yield from _concealed(chunk.start_frame, reader, decoder, on_loss)
        codes = chunk.codes if frames is None else chunk.codes[:, : frames - chunk.start_frame]
        yield from decoder.steps(codes, fill_to=reader.header.frames_per_chunk)
        nothing = False
    frames = _frames_in_all(reader, decoder)
    if nothing and frames != decoder.next_frame:
        raise BitstreamError("no chunk is left that could be decoded")
    if frames is None:
        on_loss(_loss(decoder.next_frame, None, reader))
    else:
        yield from _concealed(frames, reader, decoder, on_loss)
    yield decoder.flush()


def _concealed(
    stop: int, reader: bitstream.Reader, decoder: DecoderStream, on_loss: Callable[[Loss], None]
) -> Iterator[np.ndarray]:
    """What stands for the frames up to `stop`, a chunk or a second at a time."""
    if decoder.next_frame >= stop:
        return
    loss = _loss(decoder.next_frame, stop, reader)
    if loss.end is not None and loss.end - loss.start > MOST_LOST:
        raise BitstreamError(f"{loss} is lost, expected at most {show_time(MOST_LOST)} in one place")
    on_loss(loss)
    header = reader.header
    second = bitstream.frames_per_second(header.hop_length, header.model_sample_rate)
    most = min(header.frames_per_chunk, second)
    while decoder.next_frame < stop:
        yield decoder.conceal(min(most, stop - decoder.next_frame))


def _frames_in_all(reader: bitstream.Reader, decoder: DecoderStream) -> int | None:
    """The frames that the file had, at least; None where neither header nor trailer tells."""
    header = reader.header
    if not reader.num_samples:
        return reader.num_samples
    late = -(-decoder.latency * header.sample_rate // header.model_sample_rate)
    return header.frames_for(reader.num_samples + late)


def _loss(first: int, stop: int | None, reader: bitstream.Reader) -> Loss:
    """The loss of the frames from `first` up to `stop`."""
    header = reader.header
    start = first * header.hop_length / header.model_sample_rate
    if stop is None:
        return Loss(first // header.frames_per_chunk, None, start, None)
    end = stop * header.hop_length / header.model_sample_rate
    if reader.num_samples is not None:
        end = min(end, reader.num_samples / header.sample_rate)
    return Loss(first // header.frames_per_chunk, (stop - 1) // header.frames_per_chunk, min(start, end), end)


def show_time(seconds: float) -> str:
    """Write a time as people do: 62.5 -> `1:02.50`."""
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{clock}:{rest // 100:02}.{rest % 100:02}"
