"""What a run shows on TensorBoard: `tensorboard --logdir OUTPUT/training`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from keras import ops

from codec.network.codec import Codec
from codec.training.losses import log_mel
from codec.training.steps import Report
from codec.training.validation import Validation

SOUNDS = 2  # of the held-out segments, to be heard and seen
WINDOW, BANDS = 2048 / 48000, 160  # of the spectrograms: seconds, mel bands


class Board(Protocol):
    """Where a run is shown."""

    def steps(self, step: int, report: Report, learning_rate: float) -> None:
        """Show what a step told."""

    def results(self, step: int, results: Validation, codec: Codec, audio: np.ndarray) -> None:
        """Show a validation, and what becomes of the first held-out segments, [count, time, 1]."""


class NoBoard:
    """Shows nothing: tensorboardX is not installed."""

    def steps(self, step: int, report: Report, learning_rate: float) -> None: ...

    def results(self, step: int, results: Validation, codec: Codec, audio: np.ndarray) -> None: ...


class TensorBoard:
    """Event files in a folder: scalars, spectrograms, audio."""

    def __init__(self, folder: Path) -> None:
        from tensorboardX import SummaryWriter

        self.writer = SummaryWriter(str(folder))
        self.heard = False  # the sources, which do not change

    def steps(self, step: int, report: Report, learning_rate: float) -> None:
        figures = {**report.figures, "gradient": report.gradient_norm, "learning rate": learning_rate}
        for name, value in figures.items():
            self.writer.add_scalar(f"steps/{name}", float(value), step)

    def results(self, step: int, results: Validation, codec: Codec, audio: np.ndarray) -> None:
        for rate, mel, error in zip(results.bitrates, results.mel, results.latent_error, strict=True):
            self.writer.add_scalar(f"held-out log-mel distance/{rate}", mel, step)
            self.writer.add_scalar(f"squared error of the latents/{rate}", error, step)
        self.writer.add_scalar("latents/effective dimensions", results.effective_dimensions, step)
        self.writer.add_scalar("codebooks/least used", min(results.usage), step)
        self._sounds(step, codec, audio[:SOUNDS])
        self.writer.flush()

    def _sounds(self, step: int, codec: Codec, audio: np.ndarray) -> None:
        codes = codec.encode(audio, codec.config.num_codebooks)
        for number, segment in enumerate([] if self.heard else audio):
            self._sound(f"{number}/source", segment[:, 0], step, codec.config.sample_rate)
        self.heard = True
        for count in codec.config.shipped_codebooks:
            decoded = ops.convert_to_numpy(codec.decode(codes[..., :count]))[:, codec.latency :, 0]
            for number, segment in enumerate(decoded):
                name = f"{number}/{codec.config.bitrate_of(count)} bits per second"
                self._sound(name, segment, step, codec.config.sample_rate)

    def _sound(self, name: str, samples: np.ndarray, step: int, sample_rate: int) -> None:
        self.writer.add_audio(name, np.clip(samples, -1, 1)[:, None], step, sample_rate)
        self.writer.add_image(name, spectrogram(samples, sample_rate), step, dataformats="HW")


def spectrogram(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Log-mel magnitudes of [time] as a picture, uint8 [band, frame]: 100 dB from black to white, low bands below."""
    window = 4 * round(WINDOW * sample_rate / 4)
    levels = ops.convert_to_numpy(log_mel(samples[None].astype(np.float32), sample_rate, window, BANDS))[0]
    return (np.clip((levels + 5) / 5, 0, 1) * 255).astype(np.uint8).T[::-1]


def new_board(folder: Path) -> Board:
    """TensorBoard where it can be had, else nothing."""
    try:
        return TensorBoard(folder)
    except ImportError:
        return NoBoard()
