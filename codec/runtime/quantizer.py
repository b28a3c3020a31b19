"""The predictive residual quantizer in numpy, as `codec.network.predictive_quantizer`, with a beam search."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from codec.config import CodecConfig
from codec.runtime.beam_search import BeamSearch
from codec.runtime.folding import Weights
from codec.runtime.layers import Step

# Numbers of codewords that are added up in one go, 16 MiB; a step of `lamella-48k` has 2^20.
MAX_SUMMANDS = 2**22


class Quantizer:
    """Latents to codes and back.

    A step of several seconds resets the predictor after each `reset_interval` frames. All seconds of a step go through
    the predictor side by side: the first frames of all of them, then the second ones, and so on.

    Args:
        config: sizes of the network.
        weights: the quantizer's, float32.
        candidates: of the search, see `codec.runtime.beam_search`.
    """

    def __init__(self, config: CodecConfig, weights: Weights, candidates: int) -> None:
        self._candidates = candidates
        self.base_codebooks, self.base_dim = config.base_codebooks, config.envelope_dim
        self.core_codebooks, self.core_dim = config.core_codebooks, config.core_dim
        self.reset_interval = config.reset_interval
        self.codebooks, self.prediction = weights["codebooks"], weights["prediction"]

    @functools.cached_property
    def _beam(self) -> BeamSearch:
        return BeamSearch(self.codebooks, self._candidates)

    def encode(self, latents: np.ndarray, step: Step, num_codebooks: int) -> np.ndarray:
        """Return the codes of [batch, frame, latent_dim]: int32 [batch, frame, num_codebooks]."""
        codes = np.empty((*latents.shape[:2], num_codebooks), np.int32)
        base_count = min(num_codebooks, self.base_codebooks)
        codes[..., :base_count], rest = self._encode_base(latents, step, base_count)
        dims = self.core_dim if num_codebooks <= self.core_codebooks else rest.shape[-1]
        others = self._beam.search(rest[..., :dims].reshape(-1, dims), range(base_count, num_codebooks))
        codes[..., base_count:] = others.reshape(*codes.shape[:2], -1)
        return codes

    def _encode_base(
        self, latents: np.ndarray, step: Step, num_codebooks: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the codes of the base, and what it leaves of the latents."""
        codes = np.empty((*latents.shape[:2], num_codebooks), np.int32)
        dim, rest = self.base_dim, latents.copy()
        bases, full_seconds = self._first_bases(step, latents), latents.shape[1] // self.reset_interval
        full = slice(full_seconds * self.reset_interval)
        for frames, first in (
            (full, bases[:, :full_seconds]),
            (slice(full.stop, None), bases[:, full_seconds:]),
        ):
            if first.shape[1]:
                targets = latents[:, frames, :dim]
                rows = targets.reshape(-1, targets.shape[1] // first.shape[1], dim)
                path = self._beam.follow(rows, first.reshape(-1, dim), self.prediction, range(num_codebooks))
                codes[:, frames] = path.codes.reshape(*targets.shape[:2], num_codebooks)
                rest[:, frames, :dim] -= path.bases.reshape(targets.shape)
        step.after["base"] = latents[:, -1, :dim] - rest[:, -1, :dim]
        return codes, rest

    def decode(self, codes: np.ndarray, step: Step) -> np.ndarray:
        """Return the quantized latents of codes [batch, frame, codebook]: [batch, frame, latent_dim]."""
        dim, (total, bases) = self.base_dim, self._sums_of_frames(codes)
        base = self._first_bases(step, codes)
        for frames in self._frames_of_all_seconds(codes):
            bases[:, frames] += base[:, : bases[:, frames].shape[1]] @ self.prediction
            base = bases[:, frames]
        step.after["base"] = bases[:, -1].copy()
        total[..., :dim] += bases
        return total

    def _sums_of_frames(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of the codewords of each frame: without the base, and of the base, a difference."""
        numbers_in_frame = max(1, len(codes) * codes.shape[2] * self.codebooks.shape[2])
        size = max(1, MAX_SUMMANDS // numbers_in_frame)
        if codes.shape[1] <= size:
            return self._sums(codes)
        parts = [self._sums(codes[:, start : start + size]) for start in range(0, codes.shape[1], size)]
        total, bases = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
        return total, bases

    def _sums(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        words = self.codebooks[np.arange(codes.shape[-1]), codes]  # [batch, frame, codebook, latent_dim]
        count = self.base_codebooks
        bases = words[:, :, :count, : self.base_dim]
        return np.add.reduce(words[:, :, count:], axis=2), np.add.reduce(bases, axis=2)

    def _first_bases(self, step: Step, rows: np.ndarray) -> np.ndarray:
        """Return the base before each second of a step, [batch, second, base_dim]: the state's, then zeros."""
        seconds = -(-rows.shape[1] // self.reset_interval)
        base = np.zeros((len(rows), seconds, self.base_dim), np.float32)
        base[:, 0] = step.before["base"]
        return base

    def _frames_of_all_seconds(self, rows: np.ndarray) -> Iterator[slice]:
        """Yield the first frames of all seconds of a step, then the second ones, and so on."""
        return (
            slice(frame, None, self.reset_interval)
            for frame in range(min(self.reset_interval, rows.shape[1]))
        )
