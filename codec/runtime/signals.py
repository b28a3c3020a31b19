"""Whole signals through a codec: arrays of samples to codes, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from codec.audio import MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, Resampler, SecondsResampler
from codec.audio.blocks import LARGEST_SAMPLE
from codec.config import is_whole
from codec.dsp import to_left_and_right, to_mid_and_side

if TYPE_CHECKING:
    from codec.protocol import StreamingCodec


def encode(model: StreamingCodec, samples: np.ndarray, sample_rate: int, num_codebooks: int) -> np.ndarray:
    """Return the codes of samples [time, channels]: int32 [channel, frame, codebook]. See `NumpyCodec.encode`."""
    samples = checked_samples(samples)
    config, channels = model.config, samples.shape[1]
    check_format(sample_rate, channels)
    if not len(samples):
        return np.zeros((channels, 0, num_codebooks), np.int32)
    resampler = Resampler(sample_rate, config.sample_rate, channels)
    audio = to_mid_and_side(np.concatenate([resampler.push(samples), resampler.flush()])).T
    # Decoded audio lags, so its last samples need the silence that follows them.
    frames = -(-(audio.shape[1] + model.latency) // config.hop_length)
    size = config.reset_interval * step_seconds(model, channels)
    padded = -(-frames // config.reset_interval) * config.reset_interval
    audio = np.pad(audio, ((0, 0), (0, padded * config.hop_length - audio.shape[1])))[..., None]
    codes, state = [], model.encoder_state(channels)
    for first in range(0, padded, size):
        block = audio[:, first * config.hop_length : (first + size) * config.hop_length]
        coded, state = model.encode_step(block, model.reset_prediction(state), num_codebooks)
        codes.append(np.asarray(coded, np.int32))
    return np.concatenate(codes, axis=1)[:, :frames]


def decode(model: StreamingCodec, codes: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the samples of codes [channel, frame, codebook]: float32 [time, channels]."""
    codes, config = checked_codes(model, codes), model.config
    channels, frames = codes.shape[:2]
    check_format(sample_rate, channels)
    resampler = SecondsResampler(config.sample_rate, sample_rate, channels)
    size = config.reset_interval * step_seconds(model, channels)
    samples, state = [np.zeros((0, channels), np.float32)], model.decoder_state(channels)
    for first in range(0, frames, size):
        block, state = model.decode_step(codes[:, first : first + size], model.reset_prediction(state))
        audio = to_left_and_right(np.asarray(block, np.float32)[:, :, 0].T)
        samples.append(resampler.push(audio if first else audio[model.latency :]))
    return np.concatenate([*samples, resampler.flush()])


def step_seconds(model: StreamingCodec, channels: int) -> int:
    """Return the seconds of a file in one step: fewer with more channels, so that memory stays the same."""
    return max(1, model.seconds_per_step // channels)


def check_whole(name: str, value: int, least: int, most: int) -> None:
    """Raise ValueError unless an argument is a whole number from `least` to `most`."""
    if not is_whole(value) or not least <= value <= most:
        raise ValueError(f"`{name}` must be a whole number from {least} to {most}, found {value!r}")


def check_format(sample_rate: int, channels: int) -> None:
    """Raise ValueError for a sample rate (Hz) or a number of channels that is not supported."""
    check_whole("sample_rate", sample_rate, MIN_SAMPLE_RATE, MAX_SAMPLE_RATE)
    check_whole("channels", channels, 1, MAX_CHANNELS)


def checked_samples(samples: np.ndarray) -> np.ndarray:
    """Return samples as float32 [time, channels]. Raises ValueError for anything that is not sound."""
    samples = np.asarray(samples)
    if samples.dtype.kind != "f":
        hint = "divide 16-bit integers by 32768"
        raise ValueError(f"`samples` must be floats in -1 .. 1, found {samples.dtype}; {hint}")
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.ndim != 2 or not 1 <= samples.shape[1] <= MAX_CHANNELS:
        expected = f"[time] or [time, channels] with 1 to {MAX_CHANNELS} channels"
        raise ValueError(f"`samples` must be {expected}, found shape {list(samples.shape)}")
    if not np.isfinite(samples).all():
        raise ValueError("`samples` must be finite numbers, found NaN or infinity")
    if np.abs(samples).max(initial=0) > LARGEST_SAMPLE:
        raise ValueError(f"`samples` must be within -1 .. 1, found {np.abs(samples).max():g}")
    return samples.astype(np.float32, copy=False)


def checked_codes(model: StreamingCodec, codes: np.ndarray) -> np.ndarray:
    """Return codes as int32 [channel, frame, codebook]. Raises ValueError where the model has no such codes."""
    codes, config = np.asarray(codes), model.config
    shape = list(codes.shape)
    if codes.dtype.kind not in "iu" or codes.ndim != 3 or not 1 <= shape[0] <= MAX_CHANNELS:
        raise ValueError(
            f"`codes` must be integers [channel, frame, codebook], found {codes.dtype} of shape {shape}"
        )
    if shape[2] > config.num_codebooks:
        raise ValueError(f"`codes` has {shape[2]} codebooks, this model has {config.num_codebooks}")
    if codes.size and (codes.min() < 0 or codes.max() >= config.codebook_size):
        raise ValueError(
            f"`codes` must be 0 to {config.codebook_size - 1}, found {codes.min()} to {codes.max()}"
        )
    return codes.astype(np.int32, copy=False)
