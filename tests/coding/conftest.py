"""Fixtures of the tests of coding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from codec.protocol import StreamingCodec


@pytest.fixture
def samples_as_codes() -> StreamingCodec:
    """A codec whose codes are the samples themselves."""
    from support.coding import sample_codec

    return sample_codec()
