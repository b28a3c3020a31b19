"""Measure a codec during its training on audio held out from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from codec.errors import PresetError
from codec.network.codebook import perplexity, usage
from codec.network.codec import Codec
from codec.presets import DEFAULT_PRESET, load_keras, read_config
from codec.training import losses

FAIR_USAGE = 0.6  # share of a codebook's codewords in use; less deserves a warning
BATCH_SIZE = 8


class Validation(NamedTuple):
    """Figures on held-out audio.

    bitrates:             bits per second
    mel:                  log-mel distance, for each bitrate
    latent_error:         mean squared error of the latents, whose variance is about one, for each bitrate
    effective_dimensions: participation ratio of the latents' covariance
    usage:                share of codewords in use, for each codebook
    perplexity:           effective number of codewords in use, for each codebook
    """

    bitrates: tuple[int, ...]
    mel: tuple[float, ...]
    latent_error: tuple[float, ...]
    effective_dimensions: float
    usage: tuple[float, ...]
    perplexity: tuple[float, ...]

    def distances(self) -> str:
        """Return the log-mel distances, such as `1.651 at 1.5k, 1.425 at 3k bit/s`."""
        pairs = zip(self.mel, self.bitrates, strict=True)
        return ", ".join(f"{mel:.3f} at {rate / 1000:g}k" for mel, rate in pairs) + " bit/s"

    def table(self) -> str:
        """Return the figures of each bitrate as a Markdown table."""
        lines = ["| bits per second | log-mel distance | squared error of the latents |", "|---|---|---|"]
        for rate, mel, error in zip(self.bitrates, self.mel, self.latent_error, strict=True):
            lines.append(f"| {rate} | {mel:.3f} | {error:.3f} |")
        return "\n".join(lines)

    def lines(self) -> list[str]:
        """Return the figures as lines for the user, with a warning about unused codewords."""
        errors = "/".join(f"{error:.3f}" for error in self.latent_error)
        lines = [
            f"log-mel distance of decoded from held-out audio (0 is identical): {self.distances()}",
            f"latents: {self.effective_dimensions:.1f} effective dimensions, error {errors}",
        ]
        idle = [f"{n} ({use:.0%})" for n, use in enumerate(self.usage, 1) if use < FAIR_USAGE]
        if idle:
            lines.append(
                f"warning: many codewords of these codebooks are unused, which wastes bits: {', '.join(idle)}. "
                "Train longer, on more varied audio, or start --from a shipped model"
            )
        return lines


class Validator:
    """Measures the codec of a run again and again on the same held-out audio.

    Attributes:
        audio: the held-out segments, [count, time, 1].
    """

    def __init__(self, audio: np.ndarray, say: Callable[[str], None]) -> None:
        self.audio = audio
        self._say = say
        self._reference: str | None = None

    def measure(self, codec: Codec) -> Validation:
        """Return the figures of a codec, and say them beside those of the default preset."""
        results = validate(codec, self.audio)
        distance, *others = results.lines()
        for line in (distance, *self._reference_lines(codec.config.sample_rate), *others):
            self._say(line)
        return results

    def _reference_lines(self, sample_rate: int) -> list[str]:
        if self._reference is None:  # measured only once
            reference = measure_default_preset(sample_rate, self.audio)
            self._reference = f"the same for {DEFAULT_PRESET}: {reference.distances()}" if reference else ""
        return [self._reference] if self._reference else []


def validate(codec: Codec, audio: np.ndarray, batch_size: int = BATCH_SIZE) -> Validation:
    """Encode and decode segments [count, time, 1] at every shipped bitrate, and compare."""
    counts = codec.config.shipped_codebooks
    distances, errors, all_latents = [], [], []
    for start in range(0, len(audio), batch_size):
        block = audio[start : start + batch_size]
        latents, _ = codec.encoder.step(block, codec.encoder.initial_state(len(block)))
        codes = codec.quantizer.encode(latents, codec.config.num_codebooks)
        all_latents.append(ops.convert_to_numpy(latents).reshape(-1, codec.config.latent_dim))
        distances.append([_mel_distance(codec, block, codes[..., :count]) for count in counts])
        errors.append([_latent_error(codec, latents, codes[..., :count]) for count in counts])
    codeword_counts = ops.convert_to_tensor(codec.quantizer.counts)
    return Validation(
        codec.config.bitrates,
        tuple(float(value) for value in np.mean(distances, axis=0)),
        tuple(float(value) for value in np.mean(errors, axis=0)),
        effective_dimensions(np.concatenate(all_latents)),
        tuple(float(value) for value in ops.convert_to_numpy(usage(codeword_counts))),
        tuple(float(value) for value in ops.convert_to_numpy(perplexity(codeword_counts))),
    )


def _mel_distance(codec: Codec, audio: np.ndarray, codes: Any) -> float:
    # Without the postfilter, like the loss, so that both curves of a run can be compared.
    decoded = codec.decoder(codec.quantizer.decode(codes))[:, codec.latency :, 0]
    scales = tuple(range(len(losses.MEL_SECONDS)))
    reference = ops.convert_to_tensor(audio[:, : -codec.latency, 0])
    return float(ops.mean(losses.mel_distances(reference, decoded, codec.config.sample_rate, scales).log))


def _latent_error(codec: Codec, latents: Any, codes: Any) -> float:
    return float(ops.mean(ops.square(latents - codec.quantizer.decode(codes))))


def effective_dimensions(latents: np.ndarray) -> float:
    """Return the participation ratio of the covariance of [rows, dim]: the number of equal dimensions it equals."""
    values = np.linalg.eigvalsh(np.cov(latents, rowvar=False))
    return float(values.sum() ** 2 / np.square(values).sum())


def measure_default_preset(sample_rate: int, audio: np.ndarray) -> Validation | None:
    """Return the figures of the default preset, or None if it is missing or has another sample rate."""
    try:
        if read_config(DEFAULT_PRESET).sample_rate != sample_rate:
            return None
        return validate(load_keras(DEFAULT_PRESET), audio)
    except (PresetError, OSError):
        return None
