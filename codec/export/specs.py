"""What the functions of an export take and return."""

from __future__ import annotations

from typing import NamedTuple


class ArraySpec(NamedTuple):
    """Shape and type of an array; a dimension is a number, or a name if it may vary."""

    shape: tuple[int | str, ...]
    dtype: str


class FunctionSpec(NamedTuple):
    """The arrays of a function by name. The state is both input and output; `file` holds a function of its own."""

    inputs: dict[str, ArraySpec]
    state: dict[str, ArraySpec]
    outputs: dict[str, ArraySpec]
    file: str = ""
