"""Check for the packages that an export needs."""

from __future__ import annotations

import importlib.util

from codec.errors import CodecError


def require(purpose: str, package: str, extra: str) -> None:
    """Raise CodecError with the pip command if a package is not installed.

    Args:
        purpose: what needs the package, to begin the message.
        package: name under which it is imported.
        extra: of this project, which brings it.
    """
    if importlib.util.find_spec(package) is None:
        raise CodecError(f"{purpose} needs {package}: pip install 'lamella[{extra}]'")
