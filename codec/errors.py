"""What can go wrong in the world outside: files, bytes, audio, models.

A caller's wrong argument is a `ValueError`; everything below is about data that came from somewhere else.
Every message says what was found, what was expected, and where, and fits on one line.
"""

from __future__ import annotations


class CodecError(Exception):
    """The root of all errors that the data, and not the caller, is to blame for."""


class BitstreamError(CodecError):
    """Bytes that are not a valid Lamella stream. Raised itself for what none of its children names."""


class Truncated(BitstreamError):
    """The stream ends before its end marker and index."""


class ChecksumMismatch(BitstreamError):
    """A CRC-32 does not match the bytes it protects: they were damaged."""


class UnsupportedVersion(BitstreamError):
    """A valid stream that uses a format version, a flag or a coding that this release does not know."""


class WrongModel(BitstreamError):
    """The stream was made by another model than the one that should decode it."""


class AudioError(CodecError):
    """Audio that cannot be read, written or coded."""


class PresetError(CodecError):
    """A model that is not known, not complete or not readable."""
