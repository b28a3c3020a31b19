"""`codec.network.excitation` in numpy."""

from __future__ import annotations

import numpy as np

from codec.config import EXCITATION_PERIOD, CodecConfig
from codec.dsp import PHASE_STEPS, PITCHES, half_steps, harmonic_lobes, phase_turns
from codec.runtime.layers import Step


class NumpyExcitation:
    """Spectra of pulses; its state is the stream's `pulses`: half of the last step of the phase, and the phase."""

    def __init__(self, config: CodecConfig) -> None:
        self.half_steps, self.lobes = half_steps(config), harmonic_lobes(config)
        self.turns = phase_turns().view(np.complex64)[:, 0]

    def step(self, step: Step, logits: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Of logits [batch, spectral frame, PITCHES + 1] and frame numbers: complex64 [batch, spectral frame, bin]."""
        pitch, voiced = logits[..., :PITCHES].argmax(axis=-1), logits[..., PITCHES] > 0
        phase = self._phases(
            step, np.where(voiced, self.half_steps[pitch], 0), numbers % EXCITATION_PERIOD == 0
        )
        spectra = np.zeros((*pitch.shape, self.lobes.shape[1]), np.complex64)
        if voiced.any():
            harmonics = phase[voiced][:, None] * np.arange(1, 1 + self.lobes.shape[-1]) % PHASE_STEPS
            turns = self.turns[harmonics].view(np.float32).reshape(*harmonics.shape, 2)
            spectra[voiced] = (self.lobes[pitch[voiced]] @ turns).view(np.complex64)[..., 0]
        return spectra

    def _phases(self, step: Step, halves: np.ndarray, restarts: np.ndarray) -> np.ndarray:
        """The phase at each frame, [batch, spectral frame]; what is not voiced has no step, and begins anew."""
        before = step.after.get("pulses", np.zeros((len(halves), 2), halves.dtype))
        steps = halves + np.concatenate([before[:, :1], halves[:, :-1]], axis=1)
        total = np.cumsum(steps, axis=1) + before[:, 1:]
        begun = np.maximum.accumulate(np.where(restarts | (halves == 0), total, 0), axis=1)
        phase = (total - begun) % PHASE_STEPS
        step.after["pulses"] = np.concatenate([halves[:, -1:], phase[:, -1:]], axis=1)
        return phase
