"""The files of a training run: the preset, and in `training/` the checkpoint, the audio cache and TensorBoard's events.

`training/` may be deleted when the training is over.
"""

from __future__ import annotations

from pathlib import Path

from codec.config import CodecConfig
from codec.network.codec import Codec
from codec.presets import save_preset
from codec.presets.catalog import PRIOR
from codec.training.card import model_card
from codec.training.checkpoint import NAME, load_checkpoint, read_progress, save_checkpoint
from codec.training.progress import Progress
from codec.training.recipe import Recipe
from codec.training.steps import Stage
from codec.training.validation import Validation


class RunFolder:
    """Reads and writes the files of a run; with several processes only the chief writes.

    Attributes:
        output: the folder of the preset.
        state: the folder of everything else.
    """

    def __init__(self, output: Path, recipe: Recipe, is_chief: bool) -> None:
        self.output, self.state = output, output / "training"
        self.cache, self.events = self.state / "cache", self.state / "tensorboard"
        self.segments = self.state / "segments"
        self._recipe, self._is_chief = recipe, is_chief
        self._saved_at = 0.0  # `Progress.seconds` of the last checkpoint

    def read_progress(self) -> tuple[Progress, CodecConfig] | None:
        """Return how far the run is, and its model's config; None if there is none; raises PresetError."""
        found = read_progress(self.state)
        self._saved_at = found[0].seconds if found else 0.0
        return found

    def has_prior(self) -> bool:
        """Return True if the preset has a prior, which is the last thing a run writes."""
        return (self.output / PRIOR).is_file()

    def has_checkpoint(self) -> bool:
        """Return True if there is a state to go back to."""
        return (self.state / NAME).is_file()

    def is_checkpoint_due(self, progress: Progress) -> bool:
        """Return True if the last checkpoint is older than the recipe allows."""
        return progress.seconds - self._saved_at >= 60 * self._recipe.checkpoint_minutes

    def save_checkpoint(self, stage: Stage, config: CodecConfig, progress: Progress) -> None:
        """Write the state of the run."""
        if self._is_chief:
            save_checkpoint(self.state, stage, config, progress, self._recipe)
        self._saved_at = progress.seconds

    def load_checkpoint(self, stage: Stage) -> None:
        """Set the variables of a stage to the state of the last checkpoint."""
        load_checkpoint(self.state, stage)

    def save_preset(self, codec: Codec, hours: float, progress: Progress, results: Validation | None) -> None:
        """Write the codec as a preset; its card says how it was trained on `hours` of audio."""
        if self._is_chief:
            card = model_card(self.output.name, codec.config, hours, progress, results)
            save_preset(codec, self.output, card)

    def remove_leftovers(self) -> None:
        """Delete incomplete files of a run that was killed while writing."""
        if self._is_chief:
            for path in self.state.rglob(".*.part"):
                path.unlink(missing_ok=True)
