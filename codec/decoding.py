"""Codes to sound: live, from any place of a file, and past what damage has taken.

A decoder that begins in the middle of a file gives, to the last bit, what one that began at the start gives there: it
hears only `run_in_frames` back, its noise is numbered, its steps begin where they would have begun, and each second is
resampled by itself. What it makes before that is dropped:

    codes       |     chunk 3     |     chunk 4     |     chunk 5     |
    decoder     [ run-in ]-------- as from the start ------------------
    resampler                 [margin]------- whole seconds -----------

A lost chunk is concealed: what sounded last is heard backwards while it fades, so no sample jumps; silence follows, and
the next chunk fades in. (Decoding the last frame's codes again would not do: what they mean hangs on those before.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from codec import bitstream, resampling
from codec.resampling import SecondsResampler

if TYPE_CHECKING:
    from codec.light import LightCodec
    from codec.model import Codec

FADE_SECONDS = 0.1  # in which what sounded before a loss dies away


class DecoderStream:
    """Decode live codes: `push` chunks of them, get the samples that are ready.

    Args:
        codec: the model that coded them; it keeps no state, so any number of streams may share it.
        sample_rate: Hz, of the samples that come out.
        channels: 1 .. 8.
        first_frame: the number of the first frame that will be pushed: of the first one of a chunk.

    Attributes:
        first_sample: the number of the first sample that comes out, 0 for frame 0; others begin a second, as soon as
            they are what they would be in a stream from frame 0.
        next_frame: the number of the frame that is to be pushed next.
        latency: samples at the model's rate by which the decoder lags behind.
    """

    def __init__(
        self, codec: Codec | LightCodec, sample_rate: int, channels: int, first_frame: int = 0
    ) -> None:
        config = codec.config
        margin = resampling.margin(config.sample_rate, sample_rate)
        settled = (first_frame + config.run_in_frames) * config.hop_length - codec.latency  # model's samples
        second = math.ceil((settled + margin) / config.sample_rate) if first_frame else 0
        begin = second * config.sample_rate - margin if first_frame else 0
        self.first_sample = second * sample_rate
        self._codec, self._channels, self._hop = codec, channels, config.hop_length
        self.next_frame, self.latency = first_frame, codec.latency
        self._resampler = SecondsResampler(config.sample_rate, sample_rate, channels, second)
        self._early = begin + codec.latency - first_frame * config.hop_length  # samples still to be dropped
        self._state: Any = codec.decoder_state(channels, first_frame)
        self._fading = round(FADE_SECONDS * config.sample_rate)
        self._heard = self._silence(0)  # the end of what was decoded last, as much as fades
        self._fades_in = False

    def push(self, codes: np.ndarray, fill_to: int = 0) -> np.ndarray:
        """Take codes [channel, frame, codebook]; return the samples that are ready, float32 [time, channels].

        The very last codes of a stream may be filled up to `fill_to` frames for the step, whose graph is compiled
        already for the chunks before; what that adds is cut off again.
        """
        frames, second = codes.shape[1], self._codec.config.restart_frames
        size = second * seconds_at_once(self._codec, len(codes))
        # Where none are missing more may follow, and must find the right state.
        fill_to = min(fill_to, second) if frames < fill_to else 0
        steps = [self._step(codes[:, at : at + size], fill_to) for at in range(0, frames, size)]
        sound = np.concatenate([self._silence(0), *steps])
        if self._fades_in and frames:
            sound[: self._hop] *= _falling(self._hop)[::-1]
            self._fades_in = False
        self.next_frame += frames
        self._heard = np.concatenate([self._heard, sound])[-self._fading :]
        return self._resampled(sound)

    def conceal(self, frames: int) -> np.ndarray:
        """Take the place of `frames` lost frames; return samples as `push` does."""
        self.next_frame += frames
        sound = self._silence(frames * self._hop)
        echo = self._heard[::-1][: len(sound)]
        sound[: len(echo)] = echo * _falling(len(echo))
        self._state = self._codec.decoder_state(self._channels, self.next_frame)
        self._heard, self._fades_in = self._silence(0), True
        return self._resampled(sound)

    def flush(self) -> np.ndarray:
        """End the stream; return its last samples, up to a frame more than the source had: cut to its length."""
        return self._resampler.flush()

    def _step(self, codes: np.ndarray, fill_to: int) -> np.ndarray:
        frames = codes.shape[1]
        block = np.asarray(codes, np.int32)
        if fill_to > frames:
            block = np.pad(block, ((0, 0), (0, fill_to - frames), (0, 0)))
        state: Any = self._codec.restarted(self._state)
        sound, self._state = self._codec.fast_decode_step(block, state)
        return _to_left_and_right(np.asarray(sound, np.float32)[:, : frames * self._hop, 0].T)

    def _resampled(self, sound: np.ndarray) -> np.ndarray:
        early = min(self._early, len(sound))
        self._early -= early
        return self._resampler.push(sound[early:])

    def _silence(self, count: int) -> np.ndarray:
        return np.zeros((count, self._channels), np.float32)


def decoded(
    chunks: Iterable[bitstream.Chunk], together: int, reader: bitstream.Reader, decoder: DecoderStream
) -> Iterator[np.ndarray]:
    """The sound of chunks, [time, channels]; `together` of them are decoded at a time."""
    frames, waiting = reader.header.frames_per_chunk, list[np.ndarray]()
    for chunk in chunks:
        waiting.append(chunk.codes)
        if len(waiting) == together:
            yield decoder.push(np.concatenate(waiting, axis=1), fill_to=frames)
            waiting.clear()
    if waiting:
        yield decoder.push(np.concatenate(waiting, axis=1), fill_to=frames)
    yield decoder.flush()


def chunks_at_once(reader: bitstream.Reader, codec: Codec | LightCodec) -> int:
    """How many chunks to decode at a time: of a file some seconds, of a pipe one, which somebody waits for.

    Groups of so many begin at the start of the file, wherever decoding begins: matrix products of another size may
    differ in their last bits.
    """
    frames, second = reader.header.frames_per_chunk, codec.config.restart_frames
    if reader.chunk_offsets is None or frames % second:
        return 1
    return max(1, seconds_at_once(codec, reader.header.channels) * second // frames)


def seconds_at_once(codec: Codec | LightCodec, channels: int) -> int:
    """Seconds of a file in one step: fewer with more channels, so that memory stays the same."""
    return max(1, codec.seconds_at_once // channels)


def _to_left_and_right(samples: np.ndarray) -> np.ndarray:
    """[time, 2] half the sum and half the difference -> left and right; other channels as they are."""
    if samples.shape[1] != 2:
        return samples
    mid, side = samples.T
    return np.stack([mid + side, mid - side], axis=1)


def _falling(count: int) -> np.ndarray:
    """A smooth way from one to zero, [count, 1]."""
    return np.cos(np.linspace(0, np.pi / 2, count, dtype=np.float32))[:, None] ** 2
