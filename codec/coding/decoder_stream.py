"""Codes to sound: live, from any place in a file, and across gaps.

A decoder that starts in the middle of a file gives exactly the samples that one from the start gives there. Its sound
depends on `run_in_frames` earlier frames only. Its noise is numbered, its steps begin at the same frames, and each
second is resampled on its own. The sound of the run-in is dropped:

    codes       |     chunk 3     |     chunk 4     |     chunk 5     |
    decoder     [ run-in ]-------- as from the start ------------------
    resampler                 [margin]------- whole seconds -----------

Lost frames are concealed by continuing from the last frame. In packets, its codes are repeated. In longer chunks, whose
codes depend on each other, the quantizer predicts the envelope. The concealment holds for a moment and fades to
silence. The network continues through it, so there is no jump between samples.

A chunk of no codebook is silence. The sound before it is continued in the same way, but fades in 10 ms: the time by
which the decoder lags. After the silence the decoder starts as at the start of a file, and its window fades the
sound in.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from codec import audio, bitstream
from codec.coding.checks import checked_codes
from codec.dsp import to_left_and_right
from codec.runtime.signals import check_format, check_whole, step_seconds

if TYPE_CHECKING:
    from codec.protocol import StreamingCodec

HOLD_SECONDS = 0.04  # of a loss, after which the concealment begins to fade
FADE_SECONDS = 0.2  # of a loss, after which it has faded to silence
MAX_FRAMES = 2**53  # of a stream, more than any has
MOST_CONCEALED = 60  # seconds in one call


class DecoderStream:
    """Decodes live codes: `push` chunks of them and get the samples that are ready.

    Args:
        model: made the codes; it keeps no state, so any number of streams may share it.
        sample_rate: Hz, of the samples that come out.
        channels: 1 to 8.
        first_frame: number of the first frame that will be pushed, which must be the first of a chunk.

    Attributes:
        first_sample: number of the first sample that comes out. It is 0 for frame 0, else the start of the first
            second whose samples are the same as in a stream from frame 0.
        next_frame: number of the frame that is pushed next.
        latency: samples at the model's rate by which the decoded sound lags.

    Raises:
        ValueError: an argument is not supported.
    """

    def __init__(self, model: StreamingCodec, sample_rate: int, channels: int, first_frame: int = 0) -> None:
        check_format(sample_rate, channels)
        check_whole("first_frame", first_frame, 0, MAX_FRAMES)
        config = model.config
        margin = audio.margin(config.sample_rate, sample_rate)
        settled = (first_frame + model.run_in_frames) * config.hop_length - model.latency  # model's samples
        second = math.ceil((settled + margin) / config.sample_rate) if first_frame else 0
        begin = second * config.sample_rate - margin if first_frame else 0
        self.first_sample = second * sample_rate
        self._model, self._channels, self._hop = model, channels, config.hop_length
        self.next_frame, self.latency = first_frame, model.latency
        self._resampler = audio.SecondsResampler(config.sample_rate, sample_rate, channels, second)
        self._early = begin + model.latency - first_frame * config.hop_length  # samples still to be dropped
        self._state: Any = model.decoder_state(channels, first_frame)
        self._audible = math.ceil(FADE_SECONDS * config.sample_rate / self._hop)  # frames of a loss
        self._lost = self._audible  # frames in a row; before the first frame there is nothing to continue
        self._gain = 1.0  # at the end of the sound so far

    def push(self, codes: ArrayLike) -> np.ndarray:
        """Take codes and return the samples that are ready.

        Args:
            codes: integers [channel, frame, codebook]; codes of no codebook are silence.

        Returns:
            float32 [time, channels].

        Raises:
            ValueError: the codes have another shape, or one of them is not in a codebook.
        """
        codes = checked_codes(codes, self._channels, self._model)
        return np.concatenate([self._silence(0), *self.steps(codes)])

    def steps(self, codes: np.ndarray, fill_to: int = 0) -> Iterator[np.ndarray]:
        """Decode some seconds at a time, so that a chunk of a minute takes no more memory than one of a second.

        Args:
            codes: as in `push`.
            fill_to: frames of the chunks before. The last codes of a stream are filled up to this length, because
                the graph for it is compiled already. The sound of the filling is dropped.
        """
        frames, second = codes.shape[1], self._model.config.reset_interval
        size = second * step_seconds(self._model, len(codes))
        # A whole chunk is not filled: more may follow, and must find the right state.
        fill_to = min(fill_to, second) if frames < fill_to else 0
        for start in range(0, frames, size):
            part = codes[:, start : start + size]
            yield self._decode(part, fill_to) if part.shape[2] else self._fall_silent(part.shape[1])

    def conceal(self, frames: int, again: ArrayLike | None = None) -> np.ndarray:
        """Take the place of lost frames; return samples as `push` does.

        Args:
            frames: how many are lost, one or more, up to a minute of them in one call.
            again: codes [channel, frames, codebook] to repeat. They must not depend on earlier codes, like those of
                a packet. Without them, the quantizer predicts the frames from the last one.

        Raises:
            ValueError: `frames` is not such a number, or `again` are no codes as in `push`.
        """
        check_whole("frames", frames, 1, MOST_CONCEALED * self._model.config.reset_interval)
        repeated = None if again is None else checked_codes(again, self._channels, self._model)
        sound, audible = self._silence(frames * self._hop), min(frames, max(0, self._audible - self._lost))
        if audible:
            codes, state = np.zeros((self._channels, audible, 0), np.int32), self._state
            if repeated is not None:
                codes = repeated[:, :audible]
                state = self._model.reset_prediction(state)
            sound[: audible * self._hop] = self._decoded(codes, state)
        times = (self._lost * self._hop + np.arange(len(sound))) / self._model.config.sample_rate
        gains = _falling((times - HOLD_SECONDS) / (FADE_SECONDS - HOLD_SECONDS))
        sound *= gains
        self._gain = gains[-1, 0]
        self._lost += frames
        self.next_frame += frames
        if self._lost > self._audible:
            self._state = self._model.decoder_state(self._channels, self.next_frame)
        return self._resampled(sound)

    def flush(self) -> np.ndarray:
        """End the stream and return its last samples: up to a frame more than the source had."""
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
        """Take the place of frames of no codebook: continue the sound before, and fade it within the latency."""
        sound = self._silence(frames * self._hop)
        if self._lost < self._audible:
            tail = self._decoded(np.zeros((self._channels, 1, 0), np.int32), self._state)[: self.latency]
            sound[: len(tail)] = tail * self._gain * _falling(np.linspace(0, 1, len(tail), endpoint=False))
        self.next_frame += frames
        self._state = self._model.decoder_state(self._channels, self.next_frame)
        self._lost, self._gain = self._audible, 1.0
        return self._resampled(sound)

    def _step(self, codes: np.ndarray, fill_to: int) -> np.ndarray:
        frames = codes.shape[1]
        if fill_to > frames:
            codes = np.pad(codes, ((0, 0), (0, fill_to - frames), (0, 0)))
        return self._decoded(codes, self._model.reset_prediction(self._state))[: frames * self._hop]

    def _decoded(self, codes: np.ndarray, state: Any) -> np.ndarray:
        sound, self._state = self._model.decode_step(codes, state)
        return to_left_and_right(np.asarray(sound, np.float32)[:, :, 0].T)

    def _resampled(self, sound: np.ndarray) -> np.ndarray:
        early = min(self._early, len(sound))
        self._early -= early
        return self._resampler.push(sound[early:])

    def _silence(self, count: int) -> np.ndarray:
        return np.zeros((count, self._channels), np.float32)


def decoded(
    chunks: Iterable[bitstream.Chunk], together: int, reader: bitstream.Reader, decoder: DecoderStream
) -> Iterator[np.ndarray]:
    """Yield the sound of chunks, [time, channels].

    Up to `together` chunks with as many codebooks are decoded in one step. If reading them ends in a BitstreamError,
    the sound before it comes first. If the last samples lie in the delay of the model, they are concealed.
    """
    frames = reader.header.frames_per_chunk
    for group in bitstream.grouped(chunks, together):
        codes = [chunk.codes for chunk in group]
        for _, similar in itertools.groupby(codes, lambda part: part.shape[2]):
            yield from decoder.steps(np.concatenate(list(similar), axis=1), fill_to=frames)
    missing = (total_frames(reader, decoder) or 0) - decoder.next_frame
    if missing > 0:
        yield decoder.conceal(missing)
    yield decoder.flush()


def total_frames(reader: bitstream.Reader, decoder: DecoderStream) -> int | None:
    """Return the least number of frames that give the whole sound; None if its length is unknown."""
    header = reader.header
    if not reader.num_samples:
        return reader.num_samples
    delay = -(-decoder.latency * header.sample_rate // header.model_sample_rate)
    return header.frames_for(reader.num_samples + delay)


def chunks_per_step(reader: bitstream.Reader, model: StreamingCodec) -> int:
    """Return how many chunks to decode in one step: some seconds, but one chunk of a live pipe.

    Groups of this size are counted from the start of the file, wherever decoding starts: matrix products of another
    size may differ in their last bits.
    """
    frames, second = reader.header.frames_per_chunk, model.config.reset_interval
    if reader.live or frames % second:
        return 1
    return max(1, step_seconds(model, reader.header.channels) * second // frames)


def _falling(times: np.ndarray) -> np.ndarray:
    """Return a smooth fall from 1 at time 0 and before to 0 at time 1 and after: [count] -> [count, 1]."""
    return np.cos(np.pi / 2 * np.clip(times, 0, 1, dtype=np.float32))[:, None] ** 2
