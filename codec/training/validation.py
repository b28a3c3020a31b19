"""How good a codec is in the middle of its training, on audio held out from it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from keras import ops

from codec.config import CodecConfig
from codec.errors import PresetError
from codec.network.codebook import perplexity, usage
from codec.network.codec import Codec
from codec.presets import DEFAULT_PRESET, find_preset, load_keras
from codec.training import losses

FAIR_USAGE = 0.6  # share of a codebook's codewords; less deserves a warning


class Validation(NamedTuple):
    """Figures on held-out audio; one value for each shipped rate where not said otherwise."""

    bitrates: tuple[int, ...]  # bits per second
    mel: tuple[float, ...]  # log-mel distance
    latent_error: tuple[float, ...]  # squared error of the latents, of a variance of about one
    effective_dimensions: float  # participation ratio of the latents' covariance
    usage: tuple[float, ...]  # share of codewords in use, one for each codebook
    perplexity: tuple[float, ...]  # codewords in effect in use, one for each codebook

    def __str__(self) -> str:
        errors = "/".join(f"{error:.3f}" for error in self.latent_error)
        return (
            f"log-mel distance {ladder(self)}; latents: {self.effective_dimensions:.1f} effective dimensions, "
            f"error {errors}; codebooks: least used {min(self.usage):.0%}"
        )


def ladder(results: Validation) -> str:
    """The log-mel distances, such as `1.651 at 1.5k, 1.425 at 3k`."""
    rungs = zip(results.mel, results.bitrates, strict=True)
    return ", ".join(f"{mel:.3f} at {rate / 1000:g}k" for mel, rate in rungs)


def in_words(results: Validation, reference: Validation | None, name: str) -> list[str]:
    """What a user should know of the results, a line each; `reference` are those of the model `name`, if any."""
    lines = [f"distance of decoded from held-out audio (log-mel, 0 is the same): {ladder(results)} bit/s"]
    if reference is not None:
        lines.append(f"the same of {name}: {ladder(reference)} bit/s")
    errors = "/".join(f"{error:.3f}" for error in results.latent_error)
    lines.append(f"latents: {results.effective_dimensions:.1f} effective dimensions, error {errors}")
    idle = [f"{n} ({use:.0%})" for n, use in enumerate(results.usage, 1) if use < FAIR_USAGE]
    if idle:
        lines.append(
            f"warning: codebooks with many unused codewords: {', '.join(idle)}; their bits are partly wasted. "
            "Train longer, on more varied audio, or start --from a shipped model"
        )
    return lines


def effective_dimensions(latents: np.ndarray) -> float:
    """Participation ratio of the covariance of [rows, dim]: the number of equal dimensions it is worth."""
    values = np.linalg.eigvalsh(np.cov(latents, rowvar=False))
    return float(values.sum() ** 2 / np.square(values).sum())


def shipped_results(sample_rate: int, audio: np.ndarray) -> Validation | None:
    """Figures of the default preset on segments [count, time, 1]; None where there is none of this sample rate."""
    try:
        directory = find_preset(DEFAULT_PRESET)
        config = CodecConfig.from_json((directory / "config.json").read_text(encoding="utf-8"))
        return validate(load_keras(directory), audio) if config.sample_rate == sample_rate else None
    except (PresetError, OSError):
        return None


def validate(codec: Codec, audio: np.ndarray, batch_size: int = 8) -> Validation:
    """Code segments [count, time, 1] at every shipped rate and compare."""
    counts = codec.config.shipped_codebooks
    rungs, errors, latents = [], [], []
    for start in range(0, len(audio), batch_size):
        block = audio[start : start + batch_size]
        found, _ = codec.encoder.step(block, codec.encoder.initial_state(len(block)))
        codes = codec.quantizer.encode(found, codec.config.num_codebooks)
        latents.append(ops.convert_to_numpy(found).reshape(-1, codec.config.latent_dim))
        rungs.append([_mel(codec, block, codes[..., :count]) for count in counts])
        errors.append([_error(codec, found, codes[..., :count]) for count in counts])
    counts_used = ops.convert_to_tensor(codec.quantizer.counts)
    return Validation(
        codec.config.bitrates,
        tuple(float(value) for value in np.mean(rungs, axis=0)),
        tuple(float(value) for value in np.mean(errors, axis=0)),
        effective_dimensions(np.concatenate(latents)),
        tuple(float(value) for value in ops.convert_to_numpy(usage(counts_used))),
        tuple(float(value) for value in ops.convert_to_numpy(perplexity(counts_used))),
    )


def _mel(codec: Codec, audio: np.ndarray, codes: object) -> float:
    # As the decoder is trained, without the emphasis: the curve of a run shall be that of its loss.
    decoded = codec.decoder(codec.quantizer.decode(codes))[:, codec.latency :, 0]
    scales = tuple(range(len(losses.MEL_SECONDS)))
    reference = ops.convert_to_tensor(audio[:, : -codec.latency, 0])
    return float(ops.mean(losses.mel_distances(reference, decoded, codec.config.sample_rate, scales).log))


def _error(codec: Codec, latents: object, codes: object) -> float:
    return float(ops.mean(ops.square(latents - codec.quantizer.decode(codes))))


def table(results: Validation) -> str:
    """The ladder in Markdown, for a model card."""
    lines = ["| bits per second | log-mel distance | squared error of the latents |", "|---|---|---|"]
    for rate, mel, error in zip(results.bitrates, results.mel, results.latent_error, strict=True):
        lines.append(f"| {rate} | {mel:.3f} | {error:.3f} |")
    return "\n".join(lines)
