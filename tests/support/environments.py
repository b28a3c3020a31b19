"""Python environments that have only some of the installed packages."""

from __future__ import annotations

import os
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
FIVE_PACKAGES = ("click", "numpy", "safetensors", "soundfile", "soxr")  # that coding needs


class Environment:
    """A folder of links to some installed packages and to what they require.

    Python runs without the usual folder of packages, so all other packages are missing.

    Args:
        folder: a new folder for the links.
        packages: names of distributions, such as "numpy".
    """

    def __init__(self, folder: Path, *packages: str) -> None:
        folder.mkdir()
        for installed in with_requirements(*packages):
            for name in top_level(installed):
                if not (folder / name).is_symlink():
                    (folder / name).symlink_to(Path(str(installed.locate_file(name))).resolve())
        self.command = [sys.executable, "-S"]
        inherited = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
        path = os.pathsep.join(map(str, (folder, ROOT, ROOT / "tests")))
        self.variables = {**inherited, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def with_requirements(*packages: str) -> list[Distribution]:
    """Return the distributions with these names, and those that they require on this machine."""
    distributions: dict[str, Distribution] = {}
    waiting = list(packages)
    while waiting:
        name = waiting.pop()
        if name in distributions:
            continue
        distributions[name] = distribution(name)
        requirements = map(Requirement, distributions[name].requires or [])
        waiting += [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    return list(distributions.values())


def top_level(installed: Distribution) -> set[str]:
    """Return the names of the files and folders that a distribution puts into the folder of packages."""
    names = {file.parts[0] for file in installed.files or []}
    return names - {"..", "__pycache__"}
