"""The errors that data from outside cause: files, bytes, audio, models.

A caller's wrong argument is a `ValueError` instead. Every message is one line: what was found, what was expected and
where.
"""

from __future__ import annotations

from collections.abc import Collection


def printable(text: str, most: int = 64) -> str:
    """Return a text from outside as one line for a message: control characters as escapes, and cut if it is long."""
    shown = text if text.isprintable() else ascii(text)
    return shown if len(shown) <= most else shown[:most] + ".."


def shortened(names: Collection[str]) -> str:
    """Return the first three names in the order of the alphabet, and how many more there are, for a message."""
    shown = ", ".join(printable(name) for name in sorted(names)[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


class CodecError(Exception):
    """The base of all errors caused by data from outside, not by the caller."""


class BitstreamError(CodecError):
    """Bytes that are not a valid Lamella stream. Raised itself where no subclass names the fault."""


class Truncated(BitstreamError):
    """The stream ends before its end marker and index."""


class ChecksumMismatch(BitstreamError):
    """Damaged bytes: their CRC-32 is not the one stored with them."""


class UnsupportedVersion(BitstreamError):
    """A valid stream with a format version, a flag or a coding that this release does not support."""


class TooLong(BitstreamError):
    """A stream for more sound than its size lets expect, than there is space for, or than the caller allows."""


class WrongModel(BitstreamError):
    """A stream made by another model than the one that should decode it."""


class AudioError(CodecError):
    """Audio that cannot be read, written or coded."""


class PresetError(CodecError):
    """A model that is unknown, incomplete or unreadable."""
