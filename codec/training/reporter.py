"""Report the steps of a run: as a status line, and to TensorBoard."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from codec.training.progress import Progress, format_duration
from codec.training.recipe import Recipe
from codec.training.schedule import fraction_done
from codec.training.steps import StepResult
from codec.training.tensorboard import EventWriter

REPORT_SECONDS = 20.0


class StepReporter:
    """Shows every step if there is a place to show it; otherwise says one every REPORT_SECONDS.

    Args:
        recipe: for the share of the stage that is done.
        events: receives one step every REPORT_SECONDS.
        say: receives lines that stay.
        show: receives a status that replaces the last one, or None.
    """

    def __init__(
        self,
        recipe: Recipe,
        events: EventWriter,
        say: Callable[[str], None],
        show: Callable[[str], None] | None,
    ) -> None:
        self._recipe, self._events, self._say, self._show = recipe, events, say, show
        self._reported_at = -math.inf

    def begin_stage(self, progress: Progress) -> None:
        """Announce the stage; its first step is reported without delay."""
        self._say(f"{progress.stage}: building the graph first, about a minute")
        self._reported_at = -math.inf

    def report(self, progress: Progress, result: StepResult, learning_rate: float) -> None:
        """Report a step that has been taken; `progress` includes it."""
        if self._show:
            self._show(self._status(progress, result))
        if time.monotonic() - self._reported_at >= REPORT_SECONDS:
            self._reported_at = time.monotonic()
            self._events.write_step(progress.step, result, learning_rate)
            if not self._show:
                self._say(self._status(progress, result))

    def _status(self, progress: Progress, result: StepResult) -> str:
        losses = "".join(f"{name} {float(value):.3f}, " for name, value in result.losses.items())
        speed = progress.audio_seconds / max(progress.seconds, 1)
        return (
            f"step {progress.step}, {self._remaining(progress)}: {losses}"
            f"gradient {float(result.gradient_norm):.2f}, {speed:.1f} s of audio per second"
        )

    def _remaining(self, progress: Progress) -> str:
        done = fraction_done(self._recipe, progress)
        if done <= 0.01:
            return progress.stage
        seconds = (1 - done) / done * (progress.seconds - progress.stage_start_seconds)
        return f"{progress.stage} {done:.0%}, {format_duration(seconds)} left"
