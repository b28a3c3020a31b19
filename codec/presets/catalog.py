"""Names and folders of models: those in the package, those in the folders of LAMELLA_MODELS, and any folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from codec.errors import PresetError
from codec.files import PathLike

DEFAULT_PRESET = "lamella-48k"
MODELS_VARIABLE = "LAMELLA_MODELS"  # environment variable: folders of models, separated as in PATH
CONFIG, PRIOR, CARD = "config.json", "prior.safetensors", "card.md"


class Preset(NamedTuple):
    """A model on disk.

    Attributes:
        name: the name of its folder.
        path: the folder.
        description: the first line of its card, or an empty string.
    """

    name: str
    path: Path
    description: str


def list_presets() -> list[Preset]:
    """Return the models that came with this installation, by name."""
    return list(_models_in(_assets()))


def list_models() -> list[Preset]:
    """Return the models that are known by name: those of the installation, then those of LAMELLA_MODELS."""
    folders = filter(None, os.environ.get(MODELS_VARIABLE, "").split(os.pathsep))
    return [*list_presets(), *(model for folder in folders for model in _models_in(Path(folder)))]


def find_preset(name: PathLike) -> Path:
    """Return the folder of a model given by name or path.

    A name of a known model means that model, whatever the current directory holds: a folder with the same name is
    written with a separator, as in `./lamella-48k`.

    Raises:
        PresetError: there is no such model; says which names are known.
    """
    known = {model.name: model.path for model in reversed(list_models())}  # the first of a name wins
    if os.fspath(name) in known:
        return known[os.fspath(name)]
    if Path(name).joinpath(CONFIG).is_file():
        return Path(name)
    listed = ", ".join(sorted(known)) or "none"
    raise PresetError(f"no model '{name}': neither a folder with a {CONFIG} nor a known model ({listed})")


def samples() -> Path:
    """Return the folder of the audio clips that came with this installation."""
    return _assets() / "samples"


def web_page() -> Path:
    """Return the folder of the web page that came with this installation."""
    return _assets() / "web"


def _assets() -> Path:
    """Return the folder of the models in this installation: inside the package, or beside it in a checkout."""
    installed = Path(__file__).parents[1] / "assets"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "assets"


def _models_in(folder: Path) -> Iterator[Preset]:
    """Yield the models whose folders are in a folder, by name, after itself if it is one."""
    for path in (folder, *sorted(folder.glob("*"))):
        if path.joinpath(CONFIG).is_file():
            yield Preset(path.name, path, _first_line(path / CARD))


def _first_line(card: Path) -> str:
    lines = card.read_text(encoding="utf-8", errors="replace").splitlines() if card.is_file() else []
    return next((line.lstrip("# ").strip() for line in lines if line.strip()), "")
