r"""The excitation of voiced sound: the spectrum of a pulse train at the pitch.

    features -> pitch, voiced or not -> phase steps -> summed since the last reset -> harmonics -> bins

At rates that spend no bits on phase, a network can only guess the phasors of the low bins, frame by frame. Frames that
do not fit each other sound hoarse. Those of a pulse train fit: each harmonic turns by its frequency from frame to
frame. Measured with the source's pitch on five clips of speech at 1.5 kbit/s: PESQ-WB rose from 1.28 to 1.54,
ESTOI from .742 to .772. The decoder reads the pitch from its own features, and the latents learn to carry it
(`codec.training.pitch`). A harmonic oscillator inside a network is from Engel et al., DDSP: Differentiable digital
signal processing (arXiv 2001.04643, section 3).

Phases are integers, so their sums are the same on every machine. They are reset where nothing is voiced and every
EXCITATION_PERIOD frames, so a stream may be entered anywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from codec.config import CodecConfig
from codec.dsp import PHASE_STEPS, PITCHES, half_steps, harmonic_lobes, phase_turns
from codec.network.codebook import first_smallest
from codec.network.streaming import State, StreamingLayer, Tensor

MAX_SUM = np.int32(2**31 - 1)  # more than any sum of phase steps


class Excitation(StreamingLayer):
    """Spectra of a pulse train: magnitude 1 at the peak of a harmonic, 0 in frames that are not voiced.

    Shapes:
        x:     [batch, spectral frame, PITCHES + 2]: a logit for each pitch, one for voiced, and 1 where the phase is
               reset, else 0
        y:     [batch, spectral frame, 2 * phasor_bins], real parts then imaginary parts
        state: int32 [batch, 2], half of the phase step at the last frame, and the phase there
    """

    def __init__(self, config: CodecConfig, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.half_steps, self.lobes, self.turns = half_steps(config), harmonic_lobes(config), phase_turns()

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], 2 * self.lobes.shape[1])

    def initial_state(self, batch_size: int | Tensor) -> State:
        return ops.zeros((batch_size, 2), "int32")

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        pitch, voiced, resets = first_smallest(-x[..., :PITCHES]), x[..., PITCHES] > 0, x[..., -1] > 0
        halves = ops.where(voiced, ops.take(self.half_steps, pitch), 0)
        before = ops.concatenate([state[:, :1], halves[:, :-1]], axis=1)
        total = ops.cumsum(halves + before, axis=1) + state[:, 1:]
        phase = _sum_since_reset(total, ops.logical_or(resets, ops.logical_not(voiced))) % PHASE_STEPS
        spectra = self._harmonics(pitch, phase) * ops.expand_dims(ops.cast(voiced, "float32"), (-2, -1))
        parts = ops.concatenate([spectra[..., 0], spectra[..., 1]], axis=-1)
        return parts, ops.stack([halves[:, -1], phase[:, -1]], axis=1)

    def _harmonics(self, pitch: Tensor, phase: Tensor) -> Tensor:
        """Return the spectra of pitches at phases, [batch, spectral frame, bin, 2]."""
        numbers = np.arange(1, 1 + self.lobes.shape[-1], dtype=np.int32)
        phases = ops.expand_dims(phase, -1) * numbers % PHASE_STEPS
        return ops.matmul(ops.take(self.lobes, pitch, axis=0), ops.take(self.turns, phases, axis=0))


def _sum_since_reset(total: Tensor, resets: Tensor) -> Tensor:
    """Return what rising sums [batch, time] gained since the last reset, or the whole sum before the first."""
    first = ops.zeros_like(total[:, :1])
    starts = ops.concatenate([first, ops.sort(ops.where(resets, total, MAX_SUM), axis=1)], axis=1)
    return total - ops.take_along_axis(starts, ops.cumsum(ops.cast(resets, "int32"), axis=1), axis=1)
