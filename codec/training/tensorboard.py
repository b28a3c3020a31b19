"""Event files for TensorBoard: `tensorboard --logdir OUTPUT/training`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from keras import ops

from codec.network.codec import Codec
from codec.training.losses import log_mel
from codec.training.steps import StepResult
from codec.training.validation import Validation

NUM_CLIPS = 2  # held-out segments to listen to
WINDOW, BANDS = 2048 / 48000, 160  # of the spectrograms: seconds, mel bands


class EventWriter(Protocol):
    """Takes the figures of a run."""

    def write_step(self, step: int, result: StepResult, learning_rate: float) -> None:
        """Write the losses of a step."""

    def write_validation(self, step: int, results: Validation, codec: Codec, audio: np.ndarray) -> None:
        """Write the figures of a validation, and the first held-out segments [count, time, 1] as decoded."""


class NoEventWriter:
    """Writes nothing: for processes that are not the chief, and where tensorboardX is not installed."""

    def write_step(self, step: int, result: StepResult, learning_rate: float) -> None:
        """Do nothing."""

    def write_validation(self, step: int, results: Validation, codec: Codec, audio: np.ndarray) -> None:
        """Do nothing."""


class TensorBoardWriter:
    """Writes scalars, spectrograms and audio to event files in a folder."""

    def __init__(self, folder: Path) -> None:
        from tensorboardX import SummaryWriter

        self.writer = SummaryWriter(str(folder))
        self.wrote_sources = False  # they do not change, so once is enough

    def write_step(self, step: int, result: StepResult, learning_rate: float) -> None:
        """Write the losses of a step as scalars."""
        scalars = {**result.losses, "gradient": result.gradient_norm, "learning rate": learning_rate}
        for name, value in scalars.items():
            self.writer.add_scalar(f"steps/{name}", float(value), step)

    def write_validation(self, step: int, results: Validation, codec: Codec, audio: np.ndarray) -> None:
        """Write the figures of a validation as scalars, and NUM_CLIPS segments at every bitrate."""
        for rate, mel, error in zip(results.bitrates, results.mel, results.latent_error, strict=True):
            self.writer.add_scalar(f"held-out log-mel distance/{rate}", mel, step)
            self.writer.add_scalar(f"squared error of the latents/{rate}", error, step)
        self.writer.add_scalar("latents/effective dimensions", results.effective_dimensions, step)
        self.writer.add_scalar("codebooks/least used", min(results.usage), step)
        self._write_clips(step, codec, audio[:NUM_CLIPS])
        self.writer.flush()

    def _write_clips(self, step: int, codec: Codec, audio: np.ndarray) -> None:
        codes = codec.encode(audio, codec.config.num_codebooks)
        for number, segment in enumerate([] if self.wrote_sources else audio):
            self._write_clip(f"{number}/source", segment[:, 0], step, codec.config.sample_rate)
        self.wrote_sources = True
        for count in codec.config.shipped_codebooks:
            decoded = ops.convert_to_numpy(codec.decode(codes[..., :count]))[:, codec.latency :, 0]
            for number, segment in enumerate(decoded):
                name = f"{number}/{codec.config.bitrate_of(count)} bits per second"
                self._write_clip(name, segment, step, codec.config.sample_rate)

    def _write_clip(self, name: str, samples: np.ndarray, step: int, sample_rate: int) -> None:
        self.writer.add_audio(name, np.clip(samples, -1, 1)[:, None], step, sample_rate)
        self.writer.add_image(name, spectrogram(samples, sample_rate), step, dataformats="HW")


def spectrogram(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return log-mel magnitudes of [time] as a picture, uint8 [band, frame], low bands at the bottom.

    Black is -100 dB, white is 0 dB.
    """
    window = 4 * round(WINDOW * sample_rate / 4)
    levels = ops.convert_to_numpy(log_mel(samples[None].astype(np.float32), sample_rate, window, BANDS))[0]
    return (np.clip((levels + 5) / 5, 0, 1) * 255).astype(np.uint8).T[::-1]


def new_event_writer(folder: Path) -> EventWriter:
    """Return a TensorBoardWriter, or a NoEventWriter where tensorboardX is not installed."""
    try:
        return TensorBoardWriter(folder)
    except ImportError:
        return NoEventWriter()
