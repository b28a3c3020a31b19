"""Files take their place only when they are whole; and what they are called."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from codec.errors import CodecError
from codec.files import name_of, replacing


def test_replacing_follows_links_and_keeps_devices(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    with replacing(link) as beside:
        beside.write_bytes(b"new")
    assert link.is_symlink() and real.read_bytes() == b"new"
    with replacing("/dev/null") as beside:
        assert beside == Path("/dev/null")
    with pytest.raises(CodecError, match="directory"), replacing(tmp_path):
        raise AssertionError("not reached")
    with pytest.raises(CodecError, match="No such file"), replacing(tmp_path / "no" / "a") as beside:
        beside.write_bytes(b"")


def test_names_of_streams() -> None:
    assert name_of(Path("a.wav")) == "a.wav"
    assert name_of(io.BytesIO()) == "the stream"
    with open(0, "rb", closefd=False) as stdin:
        assert name_of(stdin) == "standard input"
