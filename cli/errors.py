"""Errors as one line for people."""

from __future__ import annotations

import errno

import click

from codec.errors import CodecError


def one_line(error: BaseException) -> str:
    """Return a description of the error without line breaks."""
    if isinstance(error, KeyboardInterrupt | click.Abort):
        text = "interrupted"
    elif isinstance(error, click.ClickException):
        text = error.format_message()
    elif isinstance(error, OSError) and error.errno == errno.EPIPE:
        text = "the program that reads the output has ended"
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif isinstance(error, CodecError | OSError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = "not enough memory"
    else:
        text = f"internal error, please report it: {type(error).__name__}: {error}"
    return " ".join(text.split())
