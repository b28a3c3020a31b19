"""The public names of the package `codec`."""

from __future__ import annotations

import pytest

import codec


@pytest.mark.parametrize("name", codec.__all__)
def test_every_public_name_loads(name: str) -> None:
    assert getattr(codec, name) is not None
    assert name in dir(codec)


def test_functions_do_not_share_a_name_with_a_module() -> None:
    assert callable(codec.compress)
    assert callable(codec.decompress)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        codec.nothing  # noqa: B018
