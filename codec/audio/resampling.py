"""Change the sample rate of a stream, exactly and without delay; both ways use soxr.

`Resampler` filters the whole stream. Its samples depend on where the stream starts: soxr filters in blocks counted from
there, and with odd rates its clock drifts. A stream that starts later differs in the last bits.

`SecondsResampler` makes each second independent of the others, so decoding can start anywhere in a file. It resamples
each second alone, from a window of the input with a margin longer than the filter on both sides:

    input      ..|------- second 1 -------|------- second 2 -------|..
    window 1   [margin|------------------|margin]
    window 2                       [margin|-----------------|margin]
    output     ..|------- second 1 -------|------- second 2 -------|..

Where seconds meet, a sample changes by less than 1e-6 of full scale, as it does between soxr's own blocks.
"""

from __future__ import annotations

import math

import numpy as np
import soxr

from codec.audio.blocks import Block, as_block

MARGIN = 256  # samples of the lower rate, at least: three times the reach of the filter in soxr's HQ


class Resampler:
    """Change the sample rate of a stream.

    n samples in give ceil(n * target_rate / source_rate) samples out, the same ones for any block sizes. Output
    sample k is at the time k / target_rate of the source.

    Args:
        source_rate: Hz, of the input.
        target_rate: Hz, of the output.
        channels: of both.
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int) -> None:
        self._rates = (source_rate, target_rate)
        self._channels = channels
        self._stream = None if source_rate == target_rate else _new_stream(*self._rates, channels)
        self._num_in = self._num_out = 0

    def push(self, samples: Block) -> Block:
        """Take any number of samples [time, channels]; return those that are ready, maybe none."""
        samples = as_block(samples, self._channels)
        self._num_in += len(samples)
        ready: Block = samples if self._stream is None else self._stream.resample_chunk(samples)
        self._num_out += len(ready)
        return ready

    def flush(self) -> Block:
        """End the stream and return its last samples. Nothing may be pushed afterwards."""
        source_rate, target_rate = self._rates
        missing = _output_length(self._num_in, *self._rates) - self._num_out
        if self._stream is None or missing <= 0:
            return np.zeros((0, self._channels), np.float32)
        # soxr rounds the length down; silence after the end makes it give the last sample too.
        silence = np.zeros((2 * math.ceil(source_rate / target_rate) + 2, self._channels), np.float32)
        last: Block = self._stream.resample_chunk(silence, last=True)[:missing]
        self._num_out += missing
        return np.pad(last, ((0, missing - len(last)), (0, 0)))


class SecondsResampler:
    """Change the sample rate of a stream, each second independently of the others.

    Lengths and times are those of `Resampler`.

    Args:
        source_rate: Hz, of the input.
        target_rate: Hz, of the output.
        channels: of both.
        first_second: the first second of the output. Unless it is 0, the input must start `margin` samples earlier.
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int, first_second: int = 0) -> None:
        self._rates, self._channels = (source_rate, target_rate), channels
        self._margin = margin(source_rate, target_rate)
        self._window = source_rate + 2 * self._margin  # samples
        self._num_in = -self._margin if first_second else 0  # since the beginning of the first second
        self._num_out = 0
        self._window_in = self._window_out = 0  # samples into and out of the current window
        self._recent = self._silence(0)  # the end of the input, with which the next window begins
        self._stream = _new_stream(*self._rates, channels)
        if not first_second:
            self._resample(self._silence(self._margin))

    def push(self, samples: Block) -> Block:
        """Take any number of samples [time, channels]; return those that are ready, maybe none."""
        self._num_in += len(samples)
        ready = self._resample(samples)
        self._num_out += len(ready)
        return ready

    def flush(self) -> Block:
        """End the stream and return its last samples. Nothing may be pushed afterwards."""
        missing = max(0, _output_length(self._num_in, *self._rates) - self._num_out)
        ready = self._silence(0)
        while len(ready) < missing:
            ready = np.concatenate([ready, self._resample(self._silence(self._window - self._window_in))])
        return ready[:missing]

    def _silence(self, count: int) -> Block:
        return np.zeros((count, self._channels), np.float32)

    def _resample(self, samples: Block) -> Block:
        """Resample one window after another."""
        if self._rates[0] == self._rates[1]:
            return samples
        ready = [self._silence(0)]
        while len(samples):
            room = self._window - self._window_in
            ready.append(self._resample_in_window(samples[:room]))
            samples = samples[room:]
            if self._window_in == self._window:
                self._stream = _new_stream(*self._rates, self._channels)
                self._window_in = self._window_out = 0
                samples = np.concatenate([self._recent, samples])
        return np.concatenate(ready)

    def _resample_in_window(self, samples: Block) -> Block:
        """Resample the next samples of a window; return those inside its second, without the margins."""
        source_rate, target_rate = self._rates
        self._window_in += len(samples)
        self._recent = np.concatenate([self._recent, samples])[-2 * self._margin :]
        resampled: Block = self._stream.resample_chunk(
            np.ascontiguousarray(samples, np.float32), last=self._window_in == self._window
        )
        start = self._margin * target_rate // source_rate - self._window_out
        self._window_out += len(resampled)
        return resampled[max(0, start) : max(0, start + target_rate)]


def margin(source_rate: int, target_rate: int) -> int:
    """Return the number of input samples before and after a second that its output depends on.

    It is a whole number of output samples too.
    """
    if source_rate == target_rate:
        return 0
    common = math.gcd(source_rate, target_rate)
    return source_rate // common * math.ceil(MARGIN * common / min(source_rate, target_rate))


def _new_stream(source_rate: int, target_rate: int, channels: int) -> soxr.ResampleStream:
    return soxr.ResampleStream(source_rate, target_rate, channels, dtype="float32", quality="HQ")


def _output_length(num_samples: int, source_rate: int, target_rate: int) -> int:
    """Return ceil(num_samples * target_rate / source_rate)."""
    return -(-num_samples * target_rate // source_rate)
