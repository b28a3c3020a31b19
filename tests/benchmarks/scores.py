"""Scores that several benchmarks share; needs `pip install pesq pystoi`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import soxr
from pesq import pesq
from pystoi import stoi

from codec.evaluation.metrics import mel_distance

SCORED_RATE = 16000  # Hz, the rate of PESQ-WB and ESTOI


class Scores(NamedTuple):
    """How close a decoded sound is to its source."""

    mel: float  # log-mel distance; lower is better
    pesq_wb: float
    estoi: float

    def __str__(self) -> str:
        return f"log-mel {self.mel:.2f}, PESQ-WB {self.pesq_wb:.2f}, ESTOI {self.estoi:.3f}"


def score(reference: np.ndarray, decoded: np.ndarray, sample_rate: int) -> Scores:
    """Return the scores of a decoded sound [time], which is cut to the length of the reference."""
    decoded = decoded[: len(reference)]
    resampled = [soxr.resample(sound, sample_rate, SCORED_RATE) for sound in (reference, decoded)]
    return Scores(
        mel_distance(reference, decoded, sample_rate),
        pesq(SCORED_RATE, *resampled, "wb"),
        stoi(*resampled, SCORED_RATE, extended=True),
    )


def mean(scores: list[Scores]) -> Scores:
    """Return the mean of each score."""
    return Scores(*map(float, np.mean(scores, axis=0)))
