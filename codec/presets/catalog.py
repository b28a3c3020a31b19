"""Names and folders of models: those in the package, those in the folders of LAMELLA_MODELS, and any folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from codec.errors import PresetError, printable
from codec.files import PathLike

DEFAULT_PRESET = "lamella-48k"
MODELS_VARIABLE = "LAMELLA_MODELS"  # environment variable: folders of models, separated as in PATH
CONFIG, PRIOR, CARD = "config.json", "prior.safetensors", "card.md"
MAX_CARD_START = 2**16  # bytes of a card in which its first line is looked for


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
    if _is_model(Path(name)):
        return Path(name)
    listed = ", ".join(sorted(known)) or "none"
    shown = printable(os.fspath(name), 200)
    raise PresetError(f"no model '{shown}': neither a folder with a {CONFIG} nor a known model ({listed})")


def has_prior(folder: Path) -> bool:
    """Return True if a folder of a model has a file, or anything else, in the place of a prior."""
    return os.path.lexists(folder / PRIOR)


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
        if _is_model(path):
            yield Preset(path.name, path, _first_line(path / CARD))


def _is_model(folder: Path) -> bool:
    """Return True if a folder holds a config. A name that is too long, or a folder without permission, does not."""
    try:
        return (folder / CONFIG).is_file()
    except OSError:
        return False


def _first_line(card: Path) -> str:
    try:
        if not card.is_file():  # opening a named pipe would wait for ever
            return ""
        with open(card, "rb") as file:
            lines = file.read(MAX_CARD_START).decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.lstrip("# ").strip() for line in lines if line.strip()), "")
