"""Changing the rate of decoded sound so that any second of it can be had without those before.

soxr filters a stream in blocks that begin where the stream does, and for odd rates its clock drifts: a stream begun
later gives samples that differ in their last bits. So here each second is resampled by itself, from a window of the
input that reaches farther beyond it on both sides than the filter does:

    input      ..|------- second 1 -------|------- second 2 -------|..
    window 1   [margin|------------------|margin]
    window 2                       [margin|-----------------|margin]
    output     ..|------- second 1 -------|------- second 2 -------|..

The seams change a sample by less than 1e-6 of full scale, as much as soxr's own blocks do.
"""

from __future__ import annotations

import math

import numpy as np
import soxr

from codec.audio import Block

MARGIN = 256  # samples of the lower rate, at least: three times what the filter of soxr's HQ reaches


class SecondsResampler:
    """Change the sample rate of a stream, each second by itself and without delay.

    n samples in give ceil(n * target_rate / source_rate) samples out, the same ones for any block sizes; the
    k-th of them stands at the time k / target_rate of the source.

    Args:
        source_rate: Hz, of what is pushed.
        target_rate: Hz, of what comes out.
        channels: of both.
        second: the first one that comes out. Any but 0 needs the `margin` samples of the input before it.
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int, second: int = 0) -> None:
        self._rates, self._channels = (source_rate, target_rate), channels
        self._margin = margin(source_rate, target_rate)
        self._window = source_rate + 2 * self._margin  # samples
        self._pushed = -self._margin if second else 0  # samples since the first second began
        self._given = 0
        self._fed = self._made = 0  # samples into and out of the current window
        self._recent = self._silence(0)  # the end of what went in: the next window begins with it
        self._stream = self._begun()
        if not second:
            self._feed(self._silence(self._margin))

    def push(self, samples: Block) -> Block:
        """Take any number of samples [time, channels]; return those that are ready, maybe none."""
        self._pushed += len(samples)
        ready = self._feed(samples)
        self._given += len(ready)
        return ready

    def flush(self) -> Block:
        """End the stream and return its last samples. Nothing may be pushed after it."""
        source_rate, target_rate = self._rates
        missing = max(0, -(-self._pushed * target_rate // source_rate) - self._given)
        ready = self._silence(0)
        while len(ready) < missing:
            ready = np.concatenate([ready, self._feed(self._silence(self._window - self._fed))])
        return ready[:missing]

    def _begun(self) -> soxr.ResampleStream:
        return soxr.ResampleStream(*self._rates, self._channels, "float32", "HQ")

    def _silence(self, count: int) -> Block:
        return np.zeros((count, self._channels), np.float32)

    def _feed(self, samples: Block) -> Block:
        """Put samples through one window after another."""
        if self._rates[0] == self._rates[1]:
            return samples
        ready = [self._silence(0)]
        while len(samples):
            room = self._window - self._fed
            ready.append(self._resample(samples[:room]))
            samples = samples[room:]
            if self._fed == self._window:
                self._stream = self._begun()
                self._fed = self._made = 0
                samples = np.concatenate([self._recent, samples])
        return np.concatenate(ready)

    def _resample(self, samples: Block) -> Block:
        """What the next samples of a window give of its second."""
        source_rate, target_rate = self._rates
        self._fed += len(samples)
        self._recent = np.concatenate([self._recent, samples])[-2 * self._margin :]
        made: Block = self._stream.resample_chunk(
            np.ascontiguousarray(samples, np.float32), last=self._fed == self._window
        )
        start = self._margin * target_rate // source_rate - self._made
        self._made += len(made)
        return made[max(0, start) : max(0, start + target_rate)]


def margin(source_rate: int, target_rate: int) -> int:
    """Samples of the input before and behind a second that its samples depend on; whole samples of the output too."""
    if source_rate == target_rate:
        return 0
    common = math.gcd(source_rate, target_rate)
    return source_rate // common * math.ceil(MARGIN * common / min(source_rate, target_rate))
