"""The model card that a training run writes: how the model came to be, and its last figures."""

from __future__ import annotations

from codec.config import CodecConfig
from codec.training.checkpoint import Progress
from codec.training.validation import Validation, table


def model_card(
    name: str, config: CodecConfig, hours: float, progress: Progress, results: Validation | None
) -> str:
    """A card in Markdown; `hours` of audio to learn from, `results` of the last validation if there was one."""
    rates = f"{config.bitrates[0]} to {config.bitrates[-1]} bits per second"
    return f"""# {name}: {config.sample_rate / 1000:g} kHz, {rates} and channel

Trained on {hours:.1f} hours of audio for {clock(progress.seconds)}: {progress.step} steps, \
{progress.audio_seconds / 3600:.1f} hours of audio seen.

{_figures(results)}"""


def _figures(results: Validation | None) -> str:
    if results is None:
        return "Not measured yet: the training was stopped before its first figures.\n"
    return f"""On held-out segments the latents have {results.effective_dimensions:.1f} effective dimensions, \
the least used codebook uses {min(results.usage):.0%} of its codewords:

{table(results)}
"""


def amount(progress: Progress) -> str:
    """How far a run is, in words."""
    return f"{progress.step} steps, {clock(progress.seconds)} of training"


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, such as 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
