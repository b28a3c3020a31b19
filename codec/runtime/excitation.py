"""The excitation of voiced sound in numpy, as `codec.network.excitation`."""

from __future__ import annotations

import numpy as np

from codec.config import EXCITATION_PERIOD, CodecConfig
from codec.dsp import PHASE_STEPS, PITCHES, half_steps, harmonic_lobes, phase_turns
from codec.runtime.layers import Step


class Excitation:
    """Spectra of a pulse train; the state is half of the last phase step, and the phase."""

    def __init__(self, config: CodecConfig) -> None:
        self.half_steps, self.lobes = half_steps(config), harmonic_lobes(config)
        self.turns = phase_turns().view(np.complex64)[:, 0]

    def spectra(self, step: Step, logits: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Return the spectra of the next frames, complex64 [batch, spectral frame, bin].

        Args:
            step: holds the state.
            logits: [batch, spectral frame, PITCHES + 1], of each pitch and of voiced.
            numbers: frame numbers [batch, spectral frame], which say where the phase is reset.
        """
        pitch, voiced = logits[..., :PITCHES].argmax(axis=-1), logits[..., PITCHES] > 0
        halves = np.where(voiced, self.half_steps[pitch], 0)
        phase = self._phases(step, halves, numbers % EXCITATION_PERIOD == 0)
        spectra = np.zeros((*pitch.shape, self.lobes.shape[1]), np.complex64)
        if voiced.any():
            harmonics = phase[voiced][:, None] * np.arange(1, 1 + self.lobes.shape[-1]) % PHASE_STEPS
            turns = self.turns[harmonics].view(np.float32).reshape(*harmonics.shape, 2)
            spectra[voiced] = (self.lobes[pitch[voiced]] @ turns).view(np.complex64)[..., 0]
        return spectra

    def _phases(self, step: Step, halves: np.ndarray, resets: np.ndarray) -> np.ndarray:
        """Return the phase at each frame, [batch, spectral frame]; frames that are not voiced reset it."""
        before = step.after.get("excitation", np.zeros((len(halves), 2), halves.dtype))
        steps = halves + np.concatenate([before[:, :1], halves[:, :-1]], axis=1)
        total = np.cumsum(steps, axis=1) + before[:, 1:]
        start = np.maximum.accumulate(np.where(resets | (halves == 0), total, 0), axis=1)
        phase = (total - start) % PHASE_STEPS
        step.after["excitation"] = np.concatenate([halves[:, -1:], phase[:, -1:]], axis=1)
        return phase
