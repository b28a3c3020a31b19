"""The river: sound to a small file and back, in chunks, memory constant whatever the length.

    compress     audio -> resample -> mid and side -> encode_step -> codes -> bitstream
    decompress   bitstream -> codes -> decode_step -> left and right -> resample -> audio

The codec runs in steps: of a second in a live stream, of a few in a file, which is quicker, or of a chunk where that is
shorter. Each second and each chunk begin the quantizer's prediction anew: a chunk means the same without the chunks
before it, the steps change nothing but rounding, and the codes of one bitrate, where one candidate is searched, are a
prefix of those of a higher one although its chunks are longer. Here alone bytes and tensors meet.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import numpy as np

from codec import audio, bitstream
from codec.coding.concealment import Loss, only_within, recovered
from codec.coding.decoder_stream import DecoderStream, chunks_at_once, decoded, seconds_at_once
from codec.coding.rate_control import Quality, RateControl
from codec.coding.time_range import TimeRange, chunks_from, cut, first_chunk, last_chunk
from codec.errors import BitstreamError
from codec.files import PathLike, name_of, naming_damage, reading, seekable, writing
from codec.presets import model_id

if TYPE_CHECKING:
    from codec.config import CodecConfig
    from codec.network.codec import Codec
    from codec.runtime.codec import NumpyCodec

LIVE_READS = 200  # a second: so no chunk waits for more than 5 ms of sound behind it
Progress = Callable[[float], None]  # is told the seconds of audio done


class CompressionReport(NamedTuple):
    """What `compress` wrote: `bytes` in all, `bitrate` the bits per second that this makes, all channels together."""

    seconds: float
    sample_rate: int
    channels: int
    num_samples: int
    bytes: int
    bitrate: float


class DecompressionReport(NamedTuple):
    """What `decompress` wrote; `clipped` samples lay beyond full scale."""

    seconds: float
    sample_rate: int
    channels: int
    num_samples: int
    clipped: int


def compress(
    source: PathLike | BinaryIO | audio.SampleReader,
    target: PathLike | BinaryIO,
    codec: Codec | NumpyCodec,
    num_codebooks: int | Quality,
    progress: Progress | None = None,
    frames_per_chunk: int | None = None,
    live: bool = False,
) -> CompressionReport:
    """Code a sound file.

    Args:
        source: a path, a binary stream, or an opened reader such as `RawReader`.
        target: a path, which holds the old content or all of the new at any time, or a binary stream, not sought.
        codec: the model.
        num_codebooks: codes in a frame, 1 .. what the model has: the bitrate. With a Quality, each chunk has its own.
        progress: is told the seconds of audio coded so far.
        frames_per_chunk: frames under one checksum, at least a second of them unless told otherwise.
        live: write each chunk as soon as its samples have come, and no length ahead of them, which tells a reader at
            the other end of a pipe to wait for none but the next; else some seconds are coded at once, more quickly.

    Raises AudioError for what is not good audio, CodecError where a file cannot be read or written.
    """
    with _sound(source) as reader, writing(target) as output:
        encoder = EncoderStream(
            codec,
            reader.sample_rate,
            reader.channels,
            num_codebooks,
            frames_per_chunk,
            1 if live else seconds_at_once(codec, reader.channels),
        )
        header = encoder.header(None if live else reader.num_samples)
        writer = bitstream.Writer(cast(BinaryIO, output), header, codec.prior)
        output.flush()
        for block in reader.blocks(reader.sample_rate // (LIVE_READS if live else 1)):
            writer.write_chunks(encoder.push(block))
            output.flush()  # whoever listens to a live stream waits for it
            _tell(progress, reader.position / reader.sample_rate)
        writer.write_chunks(encoder.flush())
        writer.close(reader.position)
        output.flush()
    seconds = reader.position / reader.sample_rate
    bitrate = 8 * output.size / seconds if seconds else 0.0
    return CompressionReport(
        seconds, reader.sample_rate, reader.channels, reader.position, output.size, bitrate
    )


def decompress(
    source: PathLike | BinaryIO,
    target: PathLike | BinaryIO,
    codec: Codec | NumpyCodec,
    progress: Progress | None = None,
    open_writer: Callable[..., audio.SampleWriter] = audio.AudioWriter,
    start: float = 0.0,
    end: float | None = None,
    on_loss: Callable[[Loss], None] | None = None,
) -> DecompressionReport:
    """Decode a file of `compress`: exactly the source's number of samples, rate and channels.

    Of a part, the samples are exactly those that the whole has there; only the chunks that they depend on are read.

    Args:
        source: a path or a binary stream, which may be a pipe; a pipe or a cut file is read from its beginning.
        target: a path, which holds the old content or all of the new at any time, or a binary stream, not sought.
        codec: the model that coded it.
        progress: is told the seconds of audio decoded so far.
        open_writer: called as (target, sample_rate, channels, num_samples=...): `AudioWriter` or `RawWriter`.
        start: seconds; where the part begins that is wanted.
        end: seconds; where it ends, if not with the file.
        on_loss: makes the most of a damaged or cut file: what is lost is concealed, and told here. It is sought in,
            so a pipe is read to its end first.

    Raises WrongModel where another model coded it, BitstreamError for damage (with `on_loss`: of the header, or of
    all chunks), CodecError where `start` lies behind the end or writing fails.
    """
    name = name_of(source)
    with reading(source) as file, _sought(file, on_loss) as stream:
        with naming_damage(name):
            if on_loss is None:
                reader = bitstream.Reader(stream, codec.prior)
            else:
                reader = bitstream.RecoveringReader(stream, codec.prior)
            _check_fits(reader.header, codec)
        rate, channels = reader.header.sample_rate, reader.header.channels
        audio.check_supported(rate, channels, name)
        span = TimeRange.of_seconds(start, end, rate)
        num_samples = span.num_samples(reader, name)
        together = chunks_at_once(reader, codec)
        first = first_chunk(reader.header, codec, span.first) // together * together
        decoder = DecoderStream(codec, rate, channels, first * reader.header.frames_per_chunk)
        told = on_loss and only_within(start, end, on_loss)
        last = None if span.stop is None else last_chunk(reader.header, codec, span.stop)
        chunks = chunks_from(reader, first, last)
        sound = (
            recovered(chunks, reader, decoder, told) if told else decoded(chunks, together, reader, decoder)
        )
        blocks = _naming_damage_in(sound, name)
        with open_writer(target, rate, channels, num_samples=num_samples) as writer:
            for samples in cut(blocks, decoder.first_sample, span, reader, name):
                writer.write(samples)
                _tell(progress, writer.num_samples / rate)
    return DecompressionReport(writer.num_samples / rate, rate, channels, writer.num_samples, writer.clipped)


class EncoderStream:
    """Code live audio: `push` any number of samples, get the chunks of codes that are ready.

    Args:
        codec: the model; it keeps no state, so any number of streams may share it.
        sample_rate: Hz, of what is pushed; any rate, it is resampled to the model's.
        channels: 1 .. 8; two are coded as mid and side, others each by itself.
        num_codebooks: codes in a frame: the bitrate. With a Quality, each chunk has its own, 0 for silence.
        frames_per_chunk: frames that come at once; 1 for the least delay, else about a second.
        seconds_per_step: coded at once where chunks are whole seconds; only a NumpyCodec can do with more than one.

    Attributes:
        num_samples: samples a channel pushed so far.
    """

    def __init__(
        self,
        codec: Codec | NumpyCodec,
        sample_rate: int,
        channels: int,
        num_codebooks: int | Quality,
        frames_per_chunk: int | None = None,
        seconds_per_step: int = 1,
    ) -> None:
        config = codec.config
        self._rate_control: RateControl | None = None
        if isinstance(num_codebooks, Quality):
            self._rate_control, num_codebooks = RateControl(num_codebooks, codec), config.num_codebooks
        if not 1 <= num_codebooks <= config.num_codebooks:
            raise ValueError(f"`num_codebooks` must be 1 to {config.num_codebooks}, found {num_codebooks}")
        self.num_samples = 0
        self.frames_per_chunk = frames_per_chunk or _default_frames(config, channels, num_codebooks)
        self._codec, self._num_codebooks, self._channels = codec, num_codebooks, channels
        self._sample_rate = sample_rate
        self._resampler = audio.Resampler(sample_rate, config.sample_rate, channels)
        self._waiting: list[np.ndarray] = []  # [time, channels] at the model's rate, less than a step
        self._coded: list[np.ndarray] = []  # [channel, frame, codebook], less than a chunk
        self._state: Any = codec.encoder_state(channels)
        self._steps = itertools.cycle(
            _step_frames(self.frames_per_chunk, config.reset_interval, seconds_per_step)
        )
        self._frames = next(self._steps)  # of the next step

    def header(self, num_samples: int | None) -> bitstream.Header:
        """The header of a file for these codes; `num_samples` is None if not known yet."""
        config = self._codec.config
        return bitstream.Header(
            sample_rate=self._sample_rate,
            channels=self._channels,
            num_samples=num_samples,
            model_id=model_id(self._codec),
            num_codebooks=self._num_codebooks,
            bits_per_code=config.bits_per_code,
            frames_per_chunk=self.frames_per_chunk,
            model_sample_rate=config.sample_rate,
            hop_length=config.hop_length,
            varies=self._rate_control is not None,
        )

    def push(self, samples: np.ndarray) -> list[np.ndarray]:
        """Take samples [time, channels]; return whole chunks, int32 [channel, frame, codebook], maybe none."""
        self.num_samples += len(samples)
        self._code(self._resampler.push(samples))
        return self._whole_chunks()

    def flush(self) -> list[np.ndarray]:
        """End the stream; return its last chunks, the very last maybe shorter. Nothing may be pushed after it."""
        self._code(self._resampler.flush())
        rest = _joined(self._waiting, axis=0)
        hop, latency = self._codec.config.hop_length, self._codec.latency
        # the decoded sound lags behind: its last samples need the silence that follows them
        length = math.ceil((len(rest) + latency) / hop) * hop if self.num_samples else 0
        self._code(np.pad(rest, ((0, length - len(rest)), (0, 0))))
        if len(rest := _joined(self._waiting, axis=0)):
            self._step(rest)
        ready = self._whole_chunks()
        return ready + [self._chosen(codes) for codes in self._coded]

    def _code(self, samples: np.ndarray) -> None:
        """Code all whole steps of what waits and `samples`."""
        self._waiting.append(samples)
        hop = self._codec.config.hop_length
        if sum(map(len, self._waiting)) < self._frames * hop:
            return
        waiting, start = _joined(self._waiting, axis=0), 0
        while len(waiting) - start >= (size := self._frames * hop):
            self._step(waiting[start : start + size])
            start, self._frames = start + size, next(self._steps)
        self._waiting.append(waiting[start:])

    def _step(self, samples: np.ndarray) -> None:
        """Code samples [time, channels], filled up to a whole second or chunk so that one compiled graph serves all."""
        config = self._codec.config
        frames = len(samples) // config.hop_length
        unit = min(self.frames_per_chunk, config.reset_interval)
        silence = -frames % unit * config.hop_length
        block = _to_mid_and_side(samples).T
        if silence:  # np.pad takes its time even where there is nothing to add
            block = np.pad(block, ((0, 0), (0, silence)))
        state: Any = self._codec.reset_prediction(self._state)
        codes, self._state = self._codec.encode_step(block[:, :, np.newaxis], state, self._num_codebooks)
        self._coded.append(np.asarray(codes, np.int32)[:, :frames])
        if self._rate_control is not None:
            self._rate_control.observe(block, self._coded[-1])

    def _whole_chunks(self) -> list[np.ndarray]:
        size = self.frames_per_chunk
        if not self._coded:
            return []
        codes = _joined(self._coded, axis=1)
        whole = codes.shape[1] // size * size
        if whole < codes.shape[1]:
            self._coded.append(codes[:, whole:])
        return [self._chosen(codes[:, start : start + size]) for start in range(0, whole, size)]

    def _chosen(self, chunk: np.ndarray) -> np.ndarray:
        """A chunk with the number of codebooks that it shall have."""
        return (
            chunk if self._rate_control is None else chunk[..., : self._rate_control.choose(chunk.shape[1])]
        )


def _to_mid_and_side(samples: np.ndarray) -> np.ndarray:
    """[time, 2] left and right -> half their sum and half their difference; other channels as they are."""
    if samples.shape[1] != 2:
        return samples
    left, right = samples.T
    return np.stack([(left + right) / 2, (left - right) / 2], axis=1)


def _step_frames(frames_per_chunk: int, second: int, seconds_per_step: int) -> list[int]:
    """Frames of each step, over and over: whole seconds whatever the chunks, or each second and the rest of a chunk."""
    if frames_per_chunk % second == 0:
        return [seconds_per_step * second]
    return [min(second, frames_per_chunk - start) for start in range(0, frames_per_chunk, second)]


def _joined(parts: list[np.ndarray], axis: int) -> np.ndarray:
    """Take all parts off a list, as one array."""
    whole = np.concatenate(parts, axis=axis)
    parts.clear()
    return whole


def _default_frames(config: CodecConfig, channels: int, num_codebooks: int) -> int:
    return bitstream.default_frames_per_chunk(
        channels=channels,
        num_codebooks=num_codebooks,
        bits_per_code=config.bits_per_code,
        hop_length=config.hop_length,
        model_sample_rate=config.sample_rate,
    )


def _check_fits(header: bitstream.Header, codec: Codec | NumpyCodec) -> None:
    """Raise WrongModel for codes of another model, BitstreamError for a header that contradicts its config."""
    bitstream.check_model(header, model_id(codec))
    config = codec.config
    found = (header.model_sample_rate, header.hop_length, header.bits_per_code)
    expected = (config.sample_rate, config.hop_length, config.bits_per_code)
    if found != expected or header.num_codebooks > config.num_codebooks:
        raise BitstreamError(
            f"header: (rate, hop, bits) {found} and {header.num_codebooks} codebooks, "
            f"expected {expected} and at most {config.num_codebooks}"
        )


def _sought(
    file: BinaryIO, on_loss: Callable[[Loss], None] | None
) -> contextlib.AbstractContextManager[BinaryIO]:
    """The file, or where losses are told one that can be sought."""
    return contextlib.nullcontext(file) if on_loss is None else seekable(file)


def _naming_damage_in(sound: Iterator[np.ndarray], name: str) -> Iterator[np.ndarray]:
    with naming_damage(name):
        yield from sound


def _tell(progress: Progress | None, seconds: float) -> None:
    if progress is not None:
        progress(seconds)


def _sound(
    source: PathLike | BinaryIO | audio.SampleReader,
) -> contextlib.AbstractContextManager[audio.SampleReader]:
    return (
        contextlib.nullcontext(source)
        if isinstance(source, audio.SampleReader)
        else audio.AudioReader(source)
    )
