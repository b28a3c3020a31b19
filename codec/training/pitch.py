"""What the decoder is taught of pitch: a target for each spectral frame from the source, and the loss.

    audio -> spectra of 60 ms below 1.5 kHz -> how well the harmonics of each pitch meet them -> pitch, voiced or not

The decoder turns the pitch it reads from its features into pulses by their class, through which no gradient passes; so
it is taught by this.
"""

from __future__ import annotations

import functools

import numpy as np
from keras import ops

from codec.dsp import PITCHES, pitches
from codec.network.streaming import Tensor

WINDOW_SECONDS = 0.06  # the pitch of low voices needs it; with 40 ms half of their frames scored below noise
BAND = (55.0, 1500.0)  # Hz, where harmonics are looked for
TRANSFORM = 4096 / 48000  # seconds: the window is filled up to it, so that bins lie close
QUIET = 1e-2  # the energy of a windowed frame below which nothing is voiced
VOICED_SCORE, SURE = 0.28, 0.08  # the score from which a frame is voiced, and how far from it that is sure
BLUR = 1.0  # pitches: how wide the target is
VOICING_WEIGHT = 1.0  # of voiced or not, beside which pitch


def pitch_scores(audio: Tensor, sample_rate: int, hop: int) -> tuple[Tensor, Tensor]:
    """How well each pitch fits around the first sample of each block of `hop`: [batch, time] -> [batch, frame, pitch].

    The score is the autocorrelation at one period less half of that at half a period, of a spectrum of magnitudes
    that sum to one: so neither a multiple of the pitch nor a fraction of it scores as well. Also gives the energies
    of the windowed frames, [batch, frame].
    """
    size, length = round(TRANSFORM * sample_rate), 2 * hop * round(WINDOW_SECONDS * sample_rate / (2 * hop))
    count, turns = audio.shape[1] // hop, length // hop
    padded = ops.pad(audio[:, : count * hop], [[0, 0], [length // 2, length // 2]])
    blocks = ops.reshape(padded, (-1, count + turns, hop))
    frames = ops.concatenate([ops.split(blocks, [i, i + count], axis=1)[1] for i in range(turns)], axis=-1)
    window = np.hanning(length + 1)[:-1].astype(np.float32)
    real, imaginary = ops.rfft(ops.pad(frames * window, [[0, 0], [0, 0], [0, size - length]]))
    comb = _comb(sample_rate, size)
    power = (real * real + imaginary * imaginary)[..., : len(comb)]
    energy = ops.sum(power, axis=-1)
    magnitude = ops.sqrt(power / (energy[..., None] + 1e-3) + 1e-9)
    return ops.matmul(magnitude / ops.sum(magnitude, axis=-1, keepdims=True), comb), energy


@functools.cache
def _comb(sample_rate: int, size: int) -> np.ndarray:
    """[bin, pitch]: cosines of the frequency at a period of each pitch, less half of those at half a period."""
    frequencies = np.arange(int(BAND[1] * size / sample_rate) + 1)[:, None] * sample_rate / size
    turns = 2 * np.pi * frequencies / pitches()
    return np.where(frequencies > BAND[0], np.cos(turns) - 0.5 * np.cos(turns / 2), 0.0).astype(np.float32)


def pitch_loss(scores: Tensor, energy: Tensor, logits: Tensor) -> Tensor:
    """Cross entropies of pitch, in voiced frames, and of voicing, each as far as the target is sure; a mean, [].

    Args:
        scores: [batch, frame, pitch].
        energy: [batch, frame].
        logits: of the decoder, [batch, frame, PITCHES + 1].
    """
    best, pitch = ops.max(scores, axis=-1), ops.argmax(scores, axis=-1)
    score = ops.where(energy > QUIET, best, 0.0) - VOICED_SCORE
    voiced, sure = ops.cast(score > 0, "float32"), ops.minimum(ops.abs(score) / SURE, 1.0)
    target = ops.take(ops.convert_to_tensor(_blurred()), pitch, axis=0)
    which = -ops.sum(target * ops.log_softmax(logits[..., :PITCHES], axis=-1), axis=-1)
    whether = ops.binary_crossentropy(voiced[..., None], logits[..., PITCHES:], from_logits=True)[..., 0]
    return ops.mean(sure * (voiced * which + VOICING_WEIGHT * whether))


@functools.cache
def _blurred() -> np.ndarray:
    """The target of each pitch, [PITCHES, PITCHES]: its neighbours are nearly as right."""
    apart = np.arange(PITCHES)[:, None] - np.arange(PITCHES)
    near = np.exp(-0.5 * (apart / BLUR) ** 2)
    return (near / near.sum(axis=1, keepdims=True)).astype(np.float32)
