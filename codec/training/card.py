"""The model card that a training run writes: how the model was made, and its last figures."""

from __future__ import annotations

from codec.config import CodecConfig
from codec.training.progress import Progress, format_duration
from codec.training.validation import Validation


def model_card(
    name: str, config: CodecConfig, hours: float, progress: Progress, results: Validation | None
) -> str:
    """Return the card in Markdown.

    Args:
        name: of the model.
        config: of the model.
        hours: length of the training files.
        progress: how far the run is.
        results: of the last validation, or None before the first one.
    """
    rates = f"{config.bitrates[0]} to {config.bitrates[-1]} bits per second"
    return f"""# {name}: {config.sample_rate / 1000:g} kHz, {rates} per channel

Trained on {hours:.1f} hours of audio for {format_duration(progress.seconds)}: {progress.step} steps, \
{progress.audio_seconds / 3600:.1f} hours of audio in all of them.

{_figures(results)}"""


def _figures(results: Validation | None) -> str:
    if results is None:
        return "Not measured yet: the training was stopped before its first validation.\n"
    return f"""On held-out segments the latents have {results.effective_dimensions:.1f} effective dimensions, and the \
least used codebook uses {min(results.usage):.0%} of its codewords:

{results.table()}
"""
