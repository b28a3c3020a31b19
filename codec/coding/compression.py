"""Sound files to .lam files, in constant memory whatever the length.

sound file -> AudioReader -> EncoderStream -> codes -> bitstream.Writer -> .lam file
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from codec import audio, bitstream
from codec.coding.encoder_stream import EncoderStream
from codec.files import CountedFile, PathLike, writing
from codec.presets import DEFAULT_PRESET, load
from codec.runtime.signals import step_seconds

if TYPE_CHECKING:
    from codec.protocol import StreamingCodec

MAX_BLOCK = 384_000  # samples of all channels that are read at a time, at most a second
LIVE_BLOCKS = 200  # a second: no chunk waits for more than 5 ms of sound after it
Progress = Callable[[float], None]  # called with the seconds of audio done so far


class CompressionReport(NamedTuple):
    """What `compress` wrote.

    Attributes:
        seconds: length of the sound.
        sample_rate: Hz.
        channels: of the sound.
        num_samples: in each channel.
        bytes: size of the file.
        bitrate: bits per second of all channels together.
        damage: how much is left of a damaged sound file that was recovered; empty if it is whole.
    """

    seconds: float
    sample_rate: int
    channels: int
    num_samples: int
    bytes: int
    bitrate: float
    damage: str = ""


def compress(  # noqa: PLR0913
    source: PathLike | BinaryIO | audio.SampleReader,
    target: PathLike | BinaryIO,
    *,
    model: PathLike | StreamingCodec = DEFAULT_PRESET,
    bitrate: int | None = None,
    quality: float | None = None,
    num_codebooks: int | None = None,
    effort: int = 2,
    frames_per_chunk: int | None = None,
    live: bool = False,
    recover: bool = False,
    progress: Progress | None = None,
) -> CompressionReport:
    """Compress a sound file to a .lam file.

    Give at most one of `bitrate`, `quality` and `num_codebooks`; without any, the bitrate is the model's nearest
    to 6000.

    Args:
        source: a path, a binary stream, or an opened reader such as `RawReader`.
        target: a path or a binary stream, which need not seek. A path holds the old content until the new is complete.
        model: a preset, the folder of a model, or a loaded model.
        bitrate: bits per second and channel.
        quality: 0 to 10: each chunk gets the number of codebooks that its sound needs, none for silence.
        num_codebooks: for experts, in place of `bitrate`: codes in a frame and channel.
        effort: of the search for codes, 0 to 3: more takes longer and sounds a little better. Only for a model that
            is loaded here.
        frames_per_chunk: frames under one checksum, a second or more of them by default.
        live: write each chunk as soon as its samples are there, and no length in the header, so that a reader at
            the other end of a pipe waits for the next chunk only. Else several seconds are coded in one step,
            which is faster.
        recover: compress what is left of a truncated or damaged sound file; the report's `damage` says how
            much. An opened reader has an argument `recover` of its own.
        progress: called with the seconds of audio coded so far.

    Raises:
        ValueError: an argument is wrong, or the model does not offer it.
        AudioError: the source is not audio that can be compressed.
        PresetError: there is no such model, or it is damaged.
        CodecError: a file cannot be read or written.
    """
    with _opened(source, recover) as reader:
        codec = load(model, effort) if isinstance(model, (str, os.PathLike)) else model
        if not hasattr(codec, "encode_step"):
            found = type(codec).__name__
            raise ValueError(f"`model` must be a name, a folder or a loaded model, found {found}")
        encoder = EncoderStream(
            codec,
            reader.sample_rate,
            reader.channels,
            bitrate=bitrate,
            quality=quality,
            num_codebooks=num_codebooks,
            frames_per_chunk=frames_per_chunk,
            seconds_per_step=1 if live else step_seconds(codec, reader.channels),
        )
        with writing(target) as output:
            header = encoder.header(None if live else reader.num_samples)
            writer = bitstream.Writer(cast(BinaryIO, output), header, codec.prior)
            output.flush()
            block_size = reader.sample_rate // LIVE_BLOCKS if live else _block_size(reader)
            _write_chunks(reader, block_size, encoder, writer, output, progress)
    return _report(reader, output.size)


def _write_chunks(
    reader: audio.SampleReader,
    block_size: int,
    encoder: EncoderStream,
    writer: bitstream.Writer,
    output: CountedFile,
    progress: Progress | None,
) -> None:
    """Code the whole source; flush the output after each block, because the reader of a live stream waits for it."""
    for block in reader.blocks(block_size):
        writer.write_chunks(encoder.push(block))
        output.flush()
        if progress is not None:
            progress(reader.position / reader.sample_rate)
    writer.write_chunks(encoder.flush())
    writer.close(reader.position)
    output.flush()


def _block_size(reader: audio.SampleReader) -> int:
    return min(reader.sample_rate, MAX_BLOCK // reader.channels)


def _report(reader: audio.SampleReader, size: int) -> CompressionReport:
    seconds = reader.position / reader.sample_rate
    bitrate = 8 * size / seconds if seconds else 0.0
    return CompressionReport(
        seconds, reader.sample_rate, reader.channels, reader.position, size, bitrate, reader.damage
    )


def _opened(
    source: PathLike | BinaryIO | audio.SampleReader, recover: bool
) -> contextlib.AbstractContextManager[audio.SampleReader]:
    if isinstance(source, audio.SampleReader):
        if recover:
            raise ValueError("`recover` is for a path or a stream; give it to the reader instead")
        return contextlib.nullcontext(source)
    if not isinstance(source, (str, os.PathLike)) and not hasattr(source, "read"):
        found = type(source).__name__
        raise ValueError(f"`source` must be a path, a binary stream or a reader, found {found}")
    return audio.AudioReader(source, recover)
