"""A part of a file: which samples it has, which chunks are needed for them, and what is cut off again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from codec import bitstream
from codec.audio import resampling
from codec.errors import BitstreamError, CodecError

if TYPE_CHECKING:
    from codec.network.codec import Codec
    from codec.runtime.codec import NumpyCodec


class TimeRange(NamedTuple):
    """Source samples from `first` up to `stop`, which is not among them; None: to the end."""

    first: int
    stop: int | None

    @classmethod
    def of_seconds(cls, start: float, end: float | None, sample_rate: int) -> TimeRange:
        """The samples nearest to these times. Raises ValueError unless 0 <= start < end."""
        if not 0 <= start < math.inf or (end is not None and not start < end < math.inf):
            raise ValueError(f"`start` {start} and `end` {end} must be 0 <= start < end, in seconds")
        return cls(round(start * sample_rate), None if end is None else round(end * sample_rate))

    def end_in(self, num_samples: int, sample_rate: int, name: str) -> int:
        """Where it ends in a file of `num_samples`. Raises CodecError if it begins behind the end of that."""
        if self.first and self.first >= num_samples:
            raise CodecError(
                f"{name}: {num_samples / sample_rate:.3f} s long, "
                f"expected more than the {self.first / sample_rate:.3f} s where the part begins"
            )
        return num_samples if self.stop is None else min(self.stop, num_samples)

    def num_samples(self, reader: bitstream.Reader, name: str) -> int | None:
        """How many samples of the file that are, None where it does not tell yet; CodecError as `end_in`."""
        if reader.num_samples is None:
            return None
        return self.end_in(reader.num_samples, reader.header.sample_rate, name) - self.first


def first_chunk(header: bitstream.Header, codec: Codec | NumpyCodec, sample: int) -> int:
    """The last chunk from whose beginning a `DecoderStream` gives a sample of the source.

    It has to be decoded from a whole second of the resampler, which has a margin, behind the decoder's run-in.
    """
    config, second = codec.config, sample // header.sample_rate
    begin = second * config.sample_rate - resampling.margin(config.sample_rate, header.sample_rate)
    frame = (begin + codec.latency) // config.hop_length - config.run_in_frames
    return max(0, frame) // header.frames_per_chunk


def last_chunk(header: bitstream.Header, codec: Codec | NumpyCodec, stop: int) -> int:
    """A chunk, near, behind which nothing is needed for the source's samples before `stop`."""
    config, second = codec.config, -(-stop // header.sample_rate)
    end = second * config.sample_rate + resampling.margin(config.sample_rate, header.sample_rate)
    return (end + codec.latency) // config.hop_length // header.frames_per_chunk


def chunks_from(reader: bitstream.Reader, first: int, last: int | None) -> Iterator[bitstream.Chunk]:
    """The chunks from number `first` on; without an index those before are read too, and dropped.

    Those up to number `last`, if it is known, are needed, others perhaps not.
    """
    if first and reader.chunk_offsets is not None:
        reader.seek(first)
    return (chunk for chunk in reader.chunks(last) if chunk.index >= first)


def cut(
    blocks: Iterable[np.ndarray], position: int, span: TimeRange, reader: bitstream.Reader, name: str
) -> Iterator[np.ndarray]:
    """Of sound [time, channels] that begins with source sample `position`, what lies in the span.

    Nothing is read behind the span. A pipe tells its length only at its end, so a frame is held back till then.
    Raises BitstreamError for codes of another length, CodecError for a span behind the end.
    """
    header, stop = reader.header, math.inf if span.stop is None else span.stop
    spare = math.ceil(header.hop_length * header.sample_rate / header.model_sample_rate) + 2
    if reader.num_samples is not None and stop < reader.num_samples:
        spare = 0
    held = np.zeros((0, header.channels), np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        early = min(len(held), max(0, span.first - position))
        held, position = held[early:], position + early
        ready = int(max(0, min(len(held) - spare, stop - position)))
        yield held[:ready]
        held, position = held[ready:], position + ready
        if position >= stop:
            return
    found = position + len(held)
    num_samples = found if reader.num_samples is None else reader.num_samples
    end = span.end_in(num_samples, header.sample_rate, name)
    if not position <= end <= found:
        raise BitstreamError(f"{name}: codes of about {found} samples, expected {num_samples}")
    yield held[: end - position]
