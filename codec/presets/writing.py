"""Save models so that a folder holds either all of the old model, all of the new one, or none."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from codec.files import PathLike, replacing, write_atomically
from codec.presets.catalog import CARD, CONFIG, PRIOR
from codec.presets.parts import part_path, stored, weights_of

if TYPE_CHECKING:
    from codec.protocol import StreamingCodec


def save_preset(model: StreamingCodec, directory: PathLike, card: str) -> None:
    """Write a model to a folder, which may hold an older one.

    All files are written beside the old ones first, then renamed. The config is removed before and written last:
    a folder without it is no model, so an interruption never leaves a mixture of two.

    Args:
        model: with its prior, if it has one.
        directory: the folder; it is made if necessary.
        card: Markdown whose first line describes the model.

    Raises:
        CodecError: a file cannot be written; the folder is as before.
    """
    from safetensors.numpy import save

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    files = {directory / CONFIG: model.config.to_json().encode(), directory / CARD: card.encode()}
    if model.prior is not None:
        files[directory / PRIOR] = save(dict(model.prior.arrays))
    files |= {
        part_path(directory, part): save(stored(weights)) for part, weights in weights_of(model).items()
    }
    with contextlib.ExitStack() as stack:
        for path, content in files.items():  # left in reverse order: the config is renamed last
            stack.enter_context(replacing(path)).write_bytes(content)
        (directory / CONFIG).unlink(missing_ok=True)
        if model.prior is None:
            (directory / PRIOR).unlink(missing_ok=True)


def save_prior(arrays: Mapping[str, np.ndarray], directory: PathLike) -> None:
    """Give a saved model its prior, which is part of its identity from then on."""
    from safetensors.numpy import save

    write_atomically(Path(directory) / PRIOR, save(dict(arrays)))
