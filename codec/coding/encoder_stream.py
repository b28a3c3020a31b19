"""Sound to codes, live or from a file.

    samples -> resample -> mid and side -> encode_step -> codes -> chunks

The encoder works in steps: a second in a live stream, several seconds in a file, which is faster, or a chunk where
that is shorter. Each second and each chunk resets the quantizer's prediction. So a chunk means the same without the
chunks before it, and the length of the steps does not matter but for rounding. Without a search (effort 0), the codes
of a bitrate are also the first codes of each row at a higher bitrate, although its chunks are longer.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from codec import audio, bitstream
from codec.coding.checks import checked_samples
from codec.coding.rate_control import Rate, RateControl
from codec.dsp import to_mid_and_side
from codec.presets import model_id
from codec.runtime.signals import check_format, check_whole

if TYPE_CHECKING:
    from codec.config import CodecConfig
    from codec.protocol import StreamingCodec

MAX_SECONDS_PER_STEP = 60


class EncoderStream:
    """Codes live audio: `push` any number of samples and get the chunks of codes that are ready.

    Give at most one of `bitrate`, `quality` and `num_codebooks`; without any, the bitrate is the model's nearest
    to 6000.

    Args:
        model: keeps no state, so any number of streams and threads may share it.
        sample_rate: Hz, of the samples that are pushed; they are resampled to the model's rate.
        channels: 1 to 8; two are coded as mid and side, others each on its own.
        bitrate: bits per second and channel.
        quality: 0 to 10: each chunk gets the number of codebooks that its sound needs, none for silence.
        num_codebooks: for experts, in place of `bitrate`: codes in a frame and channel.
        frames_per_chunk: frames in a chunk; 1 for the least delay, a second or more of them by default.
        seconds_per_step: seconds coded in one step, if chunks are whole seconds. Only a NumpyCodec can code more
            than one.

    Attributes:
        num_samples: samples a channel pushed so far.
        frames_per_chunk: frames in each chunk but the last, which may have fewer.

    Raises:
        ValueError: an argument is not supported, or the model does not offer it.
    """

    def __init__(
        self,
        model: StreamingCodec,
        sample_rate: int,
        channels: int,
        *,
        bitrate: int | None = None,
        quality: float | None = None,
        num_codebooks: int | None = None,
        frames_per_chunk: int | None = None,
        seconds_per_step: int = 1,
    ) -> None:
        config = model.config
        rate = Rate.of(config, bitrate, quality, num_codebooks)
        check_format(sample_rate, channels)
        check_whole("seconds_per_step", seconds_per_step, 1, MAX_SECONDS_PER_STEP)
        if frames_per_chunk is None:
            frames_per_chunk = _default_frames(config, channels, rate.num_codebooks)
        self._header = _header(config, sample_rate, channels, rate, frames_per_chunk)
        self.num_samples = 0
        self.frames_per_chunk = frames_per_chunk
        self._model, self._rate = model, rate
        self._rate_control = RateControl(rate.quality, model) if rate.quality else None
        self._resampler = audio.Resampler(sample_rate, config.sample_rate, channels)
        self._waiting: list[np.ndarray] = []  # [time, channels] at the model's rate, less than a step
        self._coded: list[np.ndarray] = []  # [channel, frame, codebook], less than a chunk
        self._state: Any = model.encoder_state(channels)
        self._steps = itertools.cycle(_step_frames(frames_per_chunk, config.reset_interval, seconds_per_step))
        self._frames = next(self._steps)  # of the next step

    def header(self, num_samples: int | None) -> bitstream.Header:
        """Return the header of a file for these codes; `num_samples` is None while it is unknown."""
        return dataclasses.replace(self._header, num_samples=num_samples, model_id=model_id(self._model))

    def push(self, samples: ArrayLike) -> list[np.ndarray]:
        """Take samples and return whole chunks, maybe none.

        Args:
            samples: floats [time, channels] within -1 to 1.

        Returns:
            int32 [channel, frame, codebook] for each chunk.

        Raises:
            ValueError: the samples are integers, have another shape, or one of them is not a finite number.
        """
        block = checked_samples(samples, self._header.channels)
        self.num_samples += len(block)
        self._code(self._resampler.push(block))
        return self._whole_chunks()

    def flush(self) -> list[np.ndarray]:
        """End the stream and return its last chunks; the very last may be shorter. Push nothing after it."""
        self._code(self._resampler.flush())
        rest = _take(self._waiting, axis=0)
        hop, latency = self._model.config.hop_length, self._model.latency
        # The decoded sound lags: its last samples need the silence that follows them.
        length = math.ceil((len(rest) + latency) / hop) * hop if self.num_samples else 0
        self._code(np.pad(rest, ((0, length - len(rest)), (0, 0))))
        if len(rest := _take(self._waiting, axis=0)):
            self._step(rest)
        ready = self._whole_chunks()
        return ready + [self._limited(codes) for codes in self._coded]

    def _code(self, samples: np.ndarray) -> None:
        """Code all whole steps of the waiting samples and the new ones."""
        self._waiting.append(samples)
        hop = self._model.config.hop_length
        if sum(map(len, self._waiting)) < self._frames * hop:
            return
        waiting, start = _take(self._waiting, axis=0), 0
        while len(waiting) - start >= (size := self._frames * hop):
            self._step(waiting[start : start + size])
            start, self._frames = start + size, next(self._steps)
        self._waiting.append(waiting[start:])

    def _step(self, samples: np.ndarray) -> None:
        """Code samples [time, channels], filled up to a whole second or chunk: one compiled graph serves all."""
        config = self._model.config
        frames = len(samples) // config.hop_length
        unit = min(self.frames_per_chunk, config.reset_interval)
        silence = -frames % unit * config.hop_length
        block = to_mid_and_side(samples).T
        if silence:  # np.pad takes its time even where there is nothing to add
            block = np.pad(block, ((0, 0), (0, silence)))
        state: Any = self._model.reset_prediction(self._state)
        codes, self._state = self._model.encode_step(block[:, :, np.newaxis], state, self._rate.num_codebooks)
        self._coded.append(np.asarray(codes, np.int32)[:, :frames])
        if self._rate_control is not None:
            self._rate_control.observe(block, self._coded[-1])

    def _whole_chunks(self) -> list[np.ndarray]:
        size = self.frames_per_chunk
        if not self._coded:
            return []
        codes = _take(self._coded, axis=1)
        whole = codes.shape[1] // size * size
        if whole < codes.shape[1]:
            self._coded.append(codes[:, whole:])
        return [self._limited(codes[:, start : start + size]) for start in range(0, whole, size)]

    def _limited(self, chunk: np.ndarray) -> np.ndarray:
        """Return a chunk with as many codebooks as rate control chooses."""
        if self._rate_control is None:
            return chunk
        return chunk[..., : self._rate_control.choose(chunk.shape[1])]


def _header(
    config: CodecConfig, sample_rate: int, channels: int, rate: Rate, frames_per_chunk: int
) -> bitstream.Header:
    """Return a header without length and identity, which takes time; raise ValueError for a length of chunks."""
    return bitstream.Header(
        sample_rate=int(sample_rate),
        channels=int(channels),
        num_samples=None,
        model_id=bytes(8),
        num_codebooks=rate.num_codebooks,
        bits_per_code=config.bits_per_code,
        frames_per_chunk=frames_per_chunk,
        model_sample_rate=config.sample_rate,
        hop_length=config.hop_length,
        varies=rate.quality is not None,
    )


def _step_frames(frames_per_chunk: int, second: int, seconds_per_step: int) -> list[int]:
    """Return the frames of each step, over and over.

    If chunks are whole seconds, steps are too, whatever the chunks. Else a step is each second and the rest of a chunk.
    """
    if frames_per_chunk % second == 0:
        return [seconds_per_step * second]
    return [min(second, frames_per_chunk - start) for start in range(0, frames_per_chunk, second)]


def _take(parts: list[np.ndarray], axis: int) -> np.ndarray:
    """Remove all parts from a list and return them as one array."""
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
