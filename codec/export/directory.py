"""Write an export as a whole directory, or leave what was there."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from codec.errors import CodecError
from codec.export.manifest import MANIFEST
from codec.files import PathLike, hidden_beside, naming_errors, unfinished


@contextlib.contextmanager
def replacing_export(directory: PathLike, force: bool, marker: str = MANIFEST) -> Iterator[Path]:
    """Yield a new directory beside `directory`, and rename it to `directory` at the end.

    After an error the new directory is removed, and `directory` holds what it held before.

    Args:
        directory: where the export goes.
        force: replace an earlier export. Nothing else is ever replaced.
        marker: a file that only an earlier export of this kind has.

    Raises:
        CodecError: `directory` exists and may not be replaced, or the new one cannot be written.
    """
    target = Path(os.path.realpath(directory))
    if os.path.lexists(target):
        if not (target / marker).is_file():
            raise CodecError(f"{directory} exists and is not an export; name a new directory")
        if not force:
            raise CodecError(f"{directory} exists; --force overwrites it")
    hidden = hidden_beside(target)
    with naming_errors(directory), unfinished(hidden) as new:
        new.mkdir()
        yield new
        _exchange(target, new, hidden.with_suffix(".old"))


def _exchange(target: Path, new: Path, old: Path) -> None:
    """Rename `new` to `target`. If that fails, a directory that was at `target` stays."""
    try:
        if target.exists():
            target.rename(old)
        new.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
