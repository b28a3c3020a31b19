"""The errors that data from outside cause: files, bytes, audio, models.

A caller's wrong argument is a `ValueError` instead. Every message is one line: what was found, what was expected and
where.
"""

from __future__ import annotations


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
