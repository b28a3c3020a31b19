"""Codes to sound: live, from any place of a file, and past what damage has taken.

A decoder that begins in the middle of a file gives, to the last bit, what one that began at the start gives there: it
hears only `run_in_frames` back, its noise is numbered, its steps begin where they would have begun, and each second is
resampled by itself. What it makes before that is dropped:

    codes       |     chunk 3     |     chunk 4     |     chunk 5     |
    decoder     [ run-in ]-------- as from the start ------------------
    resampler                 [margin]------- whole seconds -----------

Lost frames are concealed by what goes on from the last: of packets their codes again; of longer chunks, whose codes
mean something only one after another, what the quantizer predicts of the envelope. That holds for a moment and fades to
silence; the network goes on through it, so no sample jumps. (Tried on speech in packets, 10 and 20 % lost in bursts, by
PESQ, ESTOI, PLCMOS and log-mel distance: to repeat the last period of the wave or to predict its samples linearly was
not better; latents of zero, a quicker fade, and an echo backwards were worse.)

A chunk of no codebook is silence. What sounds before it goes on in the same way, but fades in 10 ms: as long as the
decoder lags behind. After it the decoder begins as at the start of a file, and its window fades the sound in.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from codec import bitstream
from codec.audio import resampling
from codec.audio.resampling import SecondsResampler

if TYPE_CHECKING:
    from codec.network.codec import Codec
    from codec.runtime.codec import NumpyCodec

HOLD_SECONDS = 0.04  # of a loss, until what stands for it begins to fade
FADE_SECONDS = 0.2  # of a loss, until that has faded


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
        self, codec: Codec | NumpyCodec, sample_rate: int, channels: int, first_frame: int = 0
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
        self._audible = math.ceil(FADE_SECONDS * config.sample_rate / self._hop)  # frames of a loss
        self._lost = self._audible  # frames in a row; before the first there is nothing that could go on
        self._gain = 1.0  # at the end of what came out

    def push(self, codes: np.ndarray, fill_to: int = 0) -> np.ndarray:
        """Take codes [channel, frame, codebook]; return the samples that are ready, float32 [time, channels].

        Codes of no codebook are silence.
        The very last codes of a stream may be filled up to `fill_to` frames for the step, whose graph is compiled
        already for the chunks before; what that adds is cut off again.
        """
        return np.concatenate([self._silence(0), *self.steps(codes, fill_to)])

    def steps(self, codes: np.ndarray, fill_to: int = 0) -> Iterator[np.ndarray]:
        """As `push`, some seconds at a time: so a chunk of a minute takes no more memory than one of a second."""
        frames, second = codes.shape[1], self._codec.config.reset_interval
        size = second * seconds_at_once(self._codec, len(codes))
        # Where none are missing more may follow, and must find the right state.
        fill_to = min(fill_to, second) if frames < fill_to else 0
        for at in range(0, frames, size):
            part = codes[:, at : at + size]
            yield self._decode(part, fill_to) if part.shape[2] else self._fall_silent(part.shape[1])

    def conceal(self, frames: int, again: np.ndarray | None = None) -> np.ndarray:
        """Take the place of `frames` lost frames, one or more; return samples as `push` does.

        Codes [channel, frames, codebook] that meant something by themselves, such as those of the packet before, are
        heard `again`; without them it is what the last frame predicts.
        """
        sound, audible = self._silence(frames * self._hop), min(frames, max(0, self._audible - self._lost))
        if audible:
            nothing = np.zeros((self._channels, audible, 0), np.int32)
            state = self._state if again is None else self._codec.reset_prediction(self._state)
            codes = nothing if again is None else again[:, :audible]
            sound[: audible * self._hop] = self._decoded(codes, state)
        times = (self._lost * self._hop + np.arange(len(sound))) / self._codec.config.sample_rate
        gains = _falling((times - HOLD_SECONDS) / (FADE_SECONDS - HOLD_SECONDS))
        sound *= gains
        self._gain = gains[-1, 0]
        self._lost += frames
        self.next_frame += frames
        if self._lost > self._audible:
            self._state = self._codec.decoder_state(self._channels, self.next_frame)
        return self._resampled(sound)

    def flush(self) -> np.ndarray:
        """End the stream; return its last samples, up to a frame more than the source had: cut to its length."""
        return self._resampler.flush()

    def _decode(self, codes: np.ndarray, fill_to: int) -> np.ndarray:
        sound = self._step(codes, fill_to)
        if self._gain < 1:
            rise = 1 - (1 - self._gain) * _falling(np.linspace(0, 1, self._hop, endpoint=False))
            sound = np.concatenate([rise * sound[: self._hop], sound[self._hop :]])
        self._lost, self._gain = 0, 1.0
        self.next_frame += codes.shape[1]
        return self._resampled(sound)

    def _fall_silent(self, frames: int) -> np.ndarray:
        """Take the place of frames of no codebook: what sounds goes on and fades while the decoder lags behind."""
        sound = self._silence(frames * self._hop)
        if self._lost < self._audible:
            tail = self._decoded(np.zeros((self._channels, 1, 0), np.int32), self._state)[: self.latency]
            sound[: len(tail)] = tail * self._gain * _falling(np.linspace(0, 1, len(tail), endpoint=False))
        self.next_frame += frames
        self._state = self._codec.decoder_state(self._channels, self.next_frame)
        self._lost, self._gain = self._audible, 1.0
        return self._resampled(sound)

    def _step(self, codes: np.ndarray, fill_to: int) -> np.ndarray:
        frames = codes.shape[1]
        block = np.asarray(codes, np.int32)
        if fill_to > frames:
            block = np.pad(block, ((0, 0), (0, fill_to - frames), (0, 0)))
        return self._decoded(block, self._codec.reset_prediction(self._state))[: frames * self._hop]

    def _decoded(self, codes: np.ndarray, state: Any) -> np.ndarray:
        sound, self._state = self._codec.decode_step(codes, state)
        return _to_left_and_right(np.asarray(sound, np.float32)[:, :, 0].T)

    def _resampled(self, sound: np.ndarray) -> np.ndarray:
        early = min(self._early, len(sound))
        self._early -= early
        return self._resampler.push(sound[early:])

    def _silence(self, count: int) -> np.ndarray:
        return np.zeros((count, self._channels), np.float32)


def decoded(
    chunks: Iterable[bitstream.Chunk], together: int, reader: bitstream.Reader, decoder: DecoderStream
) -> Iterator[np.ndarray]:
    """The sound of chunks, [time, channels]; up to `together` of them, of as many codebooks, are decoded at a time.

    Where reading them ends in a BitstreamError, what came before it is heard first.
    """
    frames = reader.header.frames_per_chunk
    for group in bitstream.grouped(chunks, together):
        codes = [chunk.codes for chunk in group]
        for _, alike in itertools.groupby(codes, lambda part: part.shape[2]):
            yield from decoder.steps(np.concatenate(list(alike), axis=1), fill_to=frames)
    yield decoder.flush()


def chunks_at_once(reader: bitstream.Reader, codec: Codec | NumpyCodec) -> int:
    """How many chunks to decode at a time: some seconds, but one of a live pipe, which somebody waits for.

    Groups of so many begin at the start of the file, wherever decoding begins: matrix products of another size may
    differ in their last bits.
    """
    frames, second = reader.header.frames_per_chunk, codec.config.reset_interval
    if reader.live or frames % second:
        return 1
    return max(1, seconds_at_once(codec, reader.header.channels) * second // frames)


def seconds_at_once(codec: Codec | NumpyCodec, channels: int) -> int:
    """Seconds of a file in one step: fewer with more channels, so that memory stays the same."""
    return max(1, codec.seconds_at_once // channels)


def _to_left_and_right(samples: np.ndarray) -> np.ndarray:
    """[time, 2] half the sum and half the difference -> left and right; other channels as they are."""
    if samples.shape[1] != 2:
        return samples
    mid, side = samples.T
    return np.stack([mid + side, mid - side], axis=1)


def _falling(times: np.ndarray) -> np.ndarray:
    """A smooth way down from one, until time 0, to zero, from time 1 on: [count] -> [count, 1]."""
    return np.cos(np.pi / 2 * np.clip(times, 0, 1, dtype=np.float32))[:, None] ** 2
