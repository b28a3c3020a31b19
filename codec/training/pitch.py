"""The pitch target: a pitch for each spectral frame from the source, and the loss of the decoder's pitch.

    audio -> spectra of 60 ms below 1.5 kHz -> how well the harmonics of each pitch fit -> pitch, voiced or not

The decoder chooses its excitation by the class of the pitch, through which no gradient passes. This loss trains it.
"""

from __future__ import annotations

import functools

import numpy as np
from keras import ops

from codec.dsp import PITCHES, pitches
from codec.network.streaming import Tensor

WINDOW_SECONDS = 0.06  # low voices need this length
BAND = (55.0, 1500.0)  # Hz, range of the harmonics
TRANSFORM_SECONDS = 4096 / 48000  # the window is padded to this length, for narrow bins
QUIET = 1e-2  # energy of a windowed frame below which it is unvoiced
VOICED_SCORE, SURE = (
    0.28,
    0.08,
)  # score from which a frame is voiced; distance from it at which that is certain
BLUR = 1.0  # pitches: width of the target
VOICING_WEIGHT = 1.0  # of the voicing, relative to the pitch


def pitch_scores(audio: Tensor, sample_rate: int, hop: int) -> tuple[Tensor, Tensor]:
    """Return how well each pitch fits each frame, and the energy of the frame.

    The score is the autocorrelation at one period minus half of that at half a period, of a spectrum whose magnitudes
    sum to one. So neither multiples nor fractions of the pitch score as high as the pitch.

    Args:
        audio: [batch, time].
        sample_rate: Hz.
        hop: samples; a frame is centred on the first sample of each block of this length.

    Returns:
        Scores [batch, frame, pitch] and energies [batch, frame].
    """
    size = round(TRANSFORM_SECONDS * sample_rate)
    length = 2 * hop * round(WINDOW_SECONDS * sample_rate / (2 * hop))
    count, per_window = audio.shape[1] // hop, length // hop
    padded = ops.pad(audio[:, : count * hop], [[0, 0], [length // 2, length // 2]])
    blocks = ops.reshape(padded, (-1, count + per_window, hop))
    shifted = [ops.split(blocks, [i, i + count], axis=1)[1] for i in range(per_window)]
    window = np.hanning(length + 1)[:-1].astype(np.float32)
    frames = ops.pad(ops.concatenate(shifted, axis=-1) * window, [[0, 0], [0, 0], [0, size - length]])
    real, imaginary = ops.rfft(frames)
    comb = _comb(sample_rate, size)
    power = (real * real + imaginary * imaginary)[..., : len(comb)]
    energy = ops.sum(power, axis=-1)
    magnitude = ops.sqrt(power / (energy[..., None] + 1e-3) + 1e-9)
    return ops.matmul(magnitude / ops.sum(magnitude, axis=-1, keepdims=True), comb), energy


@functools.cache
def _comb(sample_rate: int, size: int) -> np.ndarray:
    """Return cosines of each frequency at a period of each pitch, less half of those at half a period, [bin, pitch]."""
    frequencies = np.arange(int(BAND[1] * size / sample_rate) + 1)[:, None] * sample_rate / size
    angles = 2 * np.pi * frequencies / pitches()
    return np.where(frequencies > BAND[0], np.cos(angles) - 0.5 * np.cos(angles / 2), 0.0).astype(np.float32)


def pitch_loss(scores: Tensor, energy: Tensor, logits: Tensor) -> Tensor:
    """Return the cross entropies of pitch, in voiced frames, and of voicing; a mean, [].

    A frame counts less where its target is uncertain.

    Args:
        scores: [batch, frame, pitch].
        energy: [batch, frame].
        logits: of the decoder, [batch, frame, PITCHES + 1].
    """
    best, pitch = ops.max(scores, axis=-1), ops.argmax(scores, axis=-1)
    score = ops.where(energy > QUIET, best, 0.0) - VOICED_SCORE
    voiced, certainty = ops.cast(score > 0, "float32"), ops.minimum(ops.abs(score) / SURE, 1.0)
    target = ops.take(ops.convert_to_tensor(_blurred_targets()), pitch, axis=0)
    pitch_entropy = -ops.sum(target * ops.log_softmax(logits[..., :PITCHES], axis=-1), axis=-1)
    voicing = ops.binary_crossentropy(voiced[..., None], logits[..., PITCHES:], from_logits=True)[..., 0]
    return ops.mean(certainty * (voiced * pitch_entropy + VOICING_WEIGHT * voicing))


@functools.cache
def _blurred_targets() -> np.ndarray:
    """Return the target of each pitch, [PITCHES, PITCHES]; its neighbours are nearly as good."""
    distances = np.arange(PITCHES)[:, None] - np.arange(PITCHES)
    near = np.exp(-0.5 * (distances / BLUR) ** 2)
    return (near / near.sum(axis=1, keepdims=True)).astype(np.float32)
