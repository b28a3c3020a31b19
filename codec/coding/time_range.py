"""A time range of a file: the samples it has, the chunks they need, and cutting it out of decoded blocks."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from codec import audio, bitstream
from codec.errors import BitstreamError, CodecError

if TYPE_CHECKING:
    from codec.protocol import StreamingCodec


LATEST = 1e9  # seconds, longer than any file


class TimeRange(NamedTuple):
    """Samples of the source, from `first` up to but not including `stop`; without `stop`, to the end."""

    first: int
    stop: int | None

    @classmethod
    def of_seconds(cls, start: float, end: float | None, sample_rate: int) -> TimeRange:
        """Return the samples nearest to these times; raise ValueError unless 0 <= start < end."""
        times = (start,) if end is None else (start, end)
        finite = all(isinstance(time, numbers.Real) and 0 <= time <= LATEST for time in times)
        if not finite or (end is not None and start >= end):
            raise ValueError(f"`start` {start} and `end` {end} must be 0 <= start < end, in seconds")
        return cls(round(start * sample_rate), None if end is None else round(end * sample_rate))

    def end_in(self, num_samples: int, sample_rate: int, name: str) -> int:
        """Return where this range ends in a file of `num_samples`.

        Raises:
            CodecError: the range begins after the end of the file.
        """
        if self.first and self.first >= num_samples:
            raise CodecError(
                f"{name}: {num_samples / sample_rate:.3f} s long, "
                f"expected more than the {self.first / sample_rate:.3f} s where the part begins"
            )
        return num_samples if self.stop is None else min(self.stop, num_samples)

    def num_samples(self, reader: bitstream.Reader, name: str) -> int | None:
        """Return the number of samples in this range, or None while the length of the file is unknown.

        Raises:
            CodecError: the range begins after the end of the file.
        """
        if reader.num_samples is None:
            return None
        return self.end_in(reader.num_samples, reader.header.sample_rate, name) - self.first


def first_chunk(header: bitstream.Header, model: StreamingCodec, sample: int) -> int:
    """Return the last chunk from which a `DecoderStream` can start to give a sample of the source.

    The sample is in a second that the resampler computes as a whole, with a margin before it. The decoder's run-in
    comes before that margin.
    """
    config, second = model.config, sample // header.sample_rate
    begin = second * config.sample_rate - audio.margin(config.sample_rate, header.sample_rate)
    frame = (begin + model.latency) // config.hop_length - model.run_in_frames
    return max(0, frame) // header.frames_per_chunk


def last_chunk(header: bitstream.Header, model: StreamingCodec, stop: int) -> int:
    """Return a chunk, near to the range, after which nothing is needed for the samples before `stop`."""
    config, second = model.config, -(-stop // header.sample_rate)
    end = second * config.sample_rate + audio.margin(config.sample_rate, header.sample_rate)
    return (end + model.latency) // config.hop_length // header.frames_per_chunk


def chunks_from(reader: bitstream.Reader, first: int, last: int | None) -> Iterator[bitstream.Chunk]:
    """Return the chunks from number `first` on; without an index, those before are read and not decoded.

    Args:
        reader: of the file.
        first: number of a chunk.
        last: the last chunk that is needed, if known; nothing is read ahead after it.
    """
    if first and reader.chunk_offsets is not None:
        reader.seek(first)
    return reader.chunks(last, first)


def cut(
    blocks: Iterable[np.ndarray], position: int, time_range: TimeRange, reader: bitstream.Reader, name: str
) -> Iterator[np.ndarray]:
    """Yield the samples of decoded blocks that lie in a time range.

    Nothing is read after the range. A pipe gives its length only at its end, so a frame is held back until then.

    Args:
        blocks: decoded sound, [time, channels].
        position: number of the source sample with which the blocks begin.
        time_range: the samples to keep.
        reader: of the file.
        name: the file's name for messages.

    Raises:
        BitstreamError: the file has codes for another number of samples.
        CodecError: the range begins after the end of the file.
    """
    header, stop = reader.header, math.inf if time_range.stop is None else time_range.stop
    spare = math.ceil(header.hop_length * header.sample_rate / header.model_sample_rate) + 2
    if reader.num_samples is not None and stop < reader.num_samples:
        spare = 0
    held = np.zeros((0, header.channels), np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        early = min(len(held), max(0, time_range.first - position))
        held, position = held[early:], position + early
        ready = int(max(0, min(len(held) - spare, stop - position)))
        yield held[:ready]
        held, position = held[ready:], position + ready
        if position >= stop:
            return
    found = position + len(held)
    num_samples = found if reader.num_samples is None else reader.num_samples
    end = time_range.end_in(num_samples, header.sample_rate, name)
    if not position <= end <= found:
        raise BitstreamError(f"{name}: codes of about {found} samples, expected {num_samples}")
    yield held[: end - position]
