"""How far a training run is."""

from __future__ import annotations

import dataclasses

WARM_UP, JOINT, ADVERSARIAL = "warm-up", "joint", "adversarial"


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run is: its stage, the next step, and the time spent.

    Attributes:
        stage: WARM_UP, JOINT or ADVERSARIAL.
        step: number of the next step, counted over all stages.
        seconds: time spent training, over all parts of the run.
        stage_start_seconds: value of `seconds` when the stage began.
        stage_start_step: value of `step` when the stage began.
        audio_seconds: length of the audio in all batches so far.
        distance_before: held-out log-mel distance before the adversarial stage, mean over the bitrates.
    """

    stage: str = WARM_UP
    step: int = 0
    seconds: float = 0.0
    stage_start_seconds: float = 0.0
    stage_start_step: int = 0
    audio_seconds: float = 0.0
    distance_before: float = 0.0

    def __str__(self) -> str:
        return f"{self.step} steps, {format_duration(self.seconds)} of training"

    def advance(self, steps: int, seconds: float, audio_seconds: float) -> Progress:
        """Return the progress after more steps."""
        return dataclasses.replace(
            self,
            step=self.step + steps,
            seconds=self.seconds + seconds,
            audio_seconds=self.audio_seconds + audio_seconds,
        )

    def enter(self, stage: str, distance_before: float = 0.0) -> Progress:
        """Return the progress at the beginning of another stage."""
        return dataclasses.replace(
            self,
            stage=stage,
            stage_start_seconds=self.seconds,
            stage_start_step=self.step,
            distance_before=distance_before,
        )


def format_duration(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds, such as 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
