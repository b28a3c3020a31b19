""".lam files to sound files, whole, in part, or what damage has left of them.

.lam file -> bitstream.Reader -> codes -> DecoderStream -> blocks -> cut -> AudioWriter -> sound file
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from codec import audio, bitstream
from codec.coding.compression import Progress
from codec.coding.concealment import Loss, concealed
from codec.coding.decoder_stream import DecoderStream, chunks_per_step, decoded
from codec.coding.time_range import TimeRange, chunks_from, cut, first_chunk, last_chunk
from codec.coding.work_limit import WorkLimit
from codec.errors import BitstreamError, PresetError
from codec.files import PathLike, name_of, naming_damage, reading, seekable
from codec.presets import accepts, find_preset, load_by_identity, model_id

if TYPE_CHECKING:
    from codec.protocol import StreamingCodec

# Measured: music and speech at full scale come back with 0.02 % of their samples clipped, by at most 1.5 dB.
AUDIBLE_SHARE = 0.001  # of all samples
AUDIBLE_PEAK = 10 ** (3 / 20)  # 3 dB above full scale


class DecompressionReport(NamedTuple):
    """What `decompress` wrote.

    Attributes:
        seconds: length of the sound.
        sample_rate: Hz.
        channels: of the sound.
        num_samples: in each channel.
        clipped: samples of all channels that were beyond full scale and were limited to it.
        peak: the loudest sample before that, 1 is full scale.
        losses: what damage took, if the file was recovered; in the order of time.
        header_repaired: True if the header was damaged and is restored from its copy or its checksum.
    """

    seconds: float
    sample_rate: int
    channels: int
    num_samples: int
    clipped: int
    peak: float
    losses: tuple[Loss, ...]
    header_repaired: bool = False

    @property
    def clipping_is_audible(self) -> bool:
        """Return True if clipping may be audible: more than 0.1 % of the samples, or one by more than 3 dB."""
        share = self.clipped / max(1, self.num_samples * self.channels)
        return bool(self.clipped) and (share > AUDIBLE_SHARE or self.peak > AUDIBLE_PEAK)


def decompress(  # noqa: PLR0913
    source: PathLike | BinaryIO,
    target: PathLike | BinaryIO,
    *,
    model: PathLike | StreamingCodec | None = None,
    start: float = 0.0,
    end: float | None = None,
    recover: bool = False,
    max_duration: float | None = None,
    progress: Progress | None = None,
    open_writer: Callable[..., audio.SampleWriter] = audio.AudioWriter,
) -> DecompressionReport:
    """Decompress a .lam file to a sound file with exactly the source's number of samples, rate and channels.

    A part has exactly the samples that the whole has there; only the chunks that they depend on are read.

    Args:
        source: a path or a binary stream, which may be a pipe. A pipe or a cut file is read from its beginning.
        target: a path or a binary stream, which need not seek. A path holds the old content until the new is complete.
        model: a loaded model, or the name or folder of a model to look at first. By default, the model is found by
            the identity in the file. To decompress many files, load the model once.
        start: seconds; where the part begins.
        end: seconds; where the part ends; by default, the end of the file.
        recover: decode what is left of a damaged or cut file. Lost chunks are concealed and reported, and so is a
            repaired header. A pipe is read to its end first.
        max_duration: the most seconds of sound to write; longer files are refused. By default a file may give an hour
            of one channel and 5.3 seconds more for each of its bytes, in at most 95 % of the free space of the target,
            since a small file could claim years of silence.
        progress: called with the seconds of audio decoded so far.
        open_writer: called as (target, sample_rate, channels, num_samples=...): `AudioWriter` or `RawWriter`.

    Raises:
        ValueError: an argument is wrong.
        PresetError: the model that made the file is not known here, or it is damaged.
        WrongModel: the loaded model did not make the file.
        TooLong: there is more sound than `max_duration`, or than is allowed without it.
        BitstreamError: the file is damaged; with `recover`, its header cannot be repaired, or no chunk is left.
        CodecError: `start` lies after the end of the file, or a file cannot be read or written.
    """
    name = name_of(source)
    with reading(source) as file, _seekable_if(recover, file) as stream:
        reader, codec = _opened(stream, model, recover, name)
        rate, channels = reader.header.sample_rate, reader.header.channels
        time_range = TimeRange.of_seconds(start, end, rate)
        num_samples = time_range.num_samples(reader, name)
        limit = WorkLimit(reader, target, max_duration)
        with naming_damage(name):
            limit.check_claim((num_samples or 0) / rate)
        losses: list[Loss] = []
        blocks = _blocks(reader, codec, time_range, losses if recover else None, name)
        with open_writer(target, rate, channels, num_samples=num_samples) as writer:
            peak = _write(_within(limit, blocks, rate, name), writer, progress)
    within = tuple(loss for loss in losses if loss.touches(start, end))
    return DecompressionReport(
        seconds=writer.num_samples / rate,
        sample_rate=rate,
        channels=channels,
        num_samples=writer.num_samples,
        clipped=writer.clipped,
        peak=peak,
        losses=within,
        header_repaired=isinstance(reader, bitstream.RecoveringReader) and reader.header_repaired,
    )


def _opened(
    stream: BinaryIO, model: PathLike | StreamingCodec | None, recover: bool, name: str
) -> tuple[bitstream.Reader, StreamingCodec]:
    """Return a reader of the stream and the model that made it, after checking that both fit each other."""
    with naming_damage(name):
        reader = (bitstream.RecoveringReader if recover else bitstream.Reader)(stream)
        codec = _model_for(reader.header, model, name)
        _check_config(reader.header, codec)
    audio.check_supported(reader.header.sample_rate, reader.header.channels, name)
    reader.prior = codec.prior
    if not recover:
        reader.delay = codec.latency
    return reader, codec


def _within(
    limit: WorkLimit, blocks: Iterator[np.ndarray], sample_rate: int, name: str
) -> Iterator[np.ndarray]:
    """Yield blocks of samples as long as the limit allows them."""
    num_samples = 0
    for samples in blocks:
        num_samples += len(samples)
        with naming_damage(name):
            limit.check(num_samples / sample_rate)
        yield samples


def _write(blocks: Iterator[np.ndarray], writer: audio.SampleWriter, progress: Progress | None) -> float:
    """Write blocks of samples; return the loudest sample."""
    peak = 0.0
    for samples in blocks:
        writer.write(samples)
        peak = max(peak, float(np.max(np.abs(samples), initial=0)))
        if progress is not None:
            progress(writer.num_samples / writer.sample_rate)
    return peak


def _blocks(
    reader: bitstream.Reader,
    model: StreamingCodec,
    time_range: TimeRange,
    losses: list[Loss] | None,
    name: str,
) -> Iterator[np.ndarray]:
    """Yield the samples of a time range; conceal damage and append it to `losses`, if they are given."""
    header, together = reader.header, chunks_per_step(reader, model)
    first = first_chunk(header, model, time_range.first) // together * together
    last = None if time_range.stop is None else last_chunk(header, model, time_range.stop)
    decoder = DecoderStream(model, header.sample_rate, header.channels, first * header.frames_per_chunk)
    chunks = chunks_from(reader, first, last)
    sound = (
        decoded(chunks, together, reader, decoder)
        if losses is None
        else concealed(chunks, reader, decoder, losses)
    )
    return cut(_naming_damage_in(sound, name), decoder.first_sample, time_range, reader, name)


def _model_for(
    header: bitstream.Header, model: PathLike | StreamingCodec | None, name: str
) -> StreamingCodec:
    """Return the model that was passed, if it made the file, or load the one that did.

    Raises:
        WrongModel: another model made the file.
        PresetError: the model that made the file is not known here, or it is damaged.
    """
    if model is not None and not isinstance(model, (str, os.PathLike)):
        if not accepts(model, header.model_id):
            bitstream.check_model(header, model_id(model))
        return model
    extra = () if model is None else (find_preset(model),)
    try:
        return load_by_identity(header.model_id, extra)
    except PresetError as error:
        raise PresetError(f"{name}: {error}") from error


def _check_config(header: bitstream.Header, model: StreamingCodec) -> None:
    """Raise BitstreamError for a header that contradicts the config of the model."""
    config = model.config
    found = (header.model_sample_rate, header.hop_length, header.bits_per_code)
    expected = (config.sample_rate, config.hop_length, config.bits_per_code)
    if found != expected or header.num_codebooks > config.num_codebooks:
        raise BitstreamError(
            f"header: (rate, hop, bits) {found} and {header.num_codebooks} codebooks, "
            f"expected {expected} and at most {config.num_codebooks}"
        )


def _seekable_if(recover: bool, file: BinaryIO) -> contextlib.AbstractContextManager[BinaryIO]:
    return seekable(file) if recover else contextlib.nullcontext(file)


def _naming_damage_in(sound: Iterator[np.ndarray], name: str) -> Iterator[np.ndarray]:
    with naming_damage(name):
        yield from sound
