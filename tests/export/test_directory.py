"""An export appears only once it is complete, and replaces only an earlier export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from codec.errors import CodecError
from codec.export.directory import replacing_export
from codec.export.manifest import MANIFEST


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """No hidden directory may stay, whatever a test does."""
    yield
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def write_export(target: Path, content: str, force: bool = False) -> None:
    with replacing_export(target, force) as new:
        assert not (new / MANIFEST).exists()
        (new / MANIFEST).write_text(content)


def test_the_directory_appears_at_the_end(tmp_path: Path) -> None:
    with replacing_export(tmp_path / "model", force=False) as new:
        (new / MANIFEST).write_text("new")
        assert not (tmp_path / "model").exists()
    assert (tmp_path / "model" / MANIFEST).read_text() == "new"


def test_an_earlier_export_is_replaced_only_with_force(tmp_path: Path) -> None:
    target = tmp_path / "model"
    write_export(target, "old")
    (target / "weights").touch()
    with pytest.raises(CodecError, match=r"model exists; --force overwrites it"):
        write_export(target, "new")
    assert (target / MANIFEST).read_text() == "old"
    write_export(target, "new", force=True)
    assert [path.name for path in target.iterdir()] == [MANIFEST]
    assert (target / MANIFEST).read_text() == "new"


@pytest.mark.parametrize("is_directory", [False, True])
def test_nothing_but_an_export_is_replaced(is_directory: bool, tmp_path: Path) -> None:
    target = tmp_path / "other"
    if is_directory:
        (target / "letters").mkdir(parents=True)
    else:
        target.write_text("letter")
    with pytest.raises(CodecError, match="is not an export; name a new directory"):
        write_export(target, "new", force=True)
    assert target.exists() and not (target / MANIFEST).exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_an_error_leaves_the_earlier_export(error: BaseException, tmp_path: Path) -> None:
    target = tmp_path / "model"
    write_export(target, "old")
    with (
        pytest.raises((CodecError, KeyboardInterrupt)) as raised,
        replacing_export(target, force=True) as new,
    ):
        (new / MANIFEST).write_text("half")
        raise error
    assert (target / MANIFEST).read_text() == "old"
    if isinstance(error, OSError):
        assert str(raised.value) == f"{target}: cannot be written: No space left"


def test_the_earlier_export_returns_if_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, rename = tmp_path / "model", Path.rename
    write_export(target, "old")

    def failing(path: Path, to: Path) -> Path:
        if path.name.endswith(".part"):
            raise OSError(5, "Input/output error")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(CodecError, match="cannot be written: Input/output error"):
        write_export(target, "new", force=True)
    assert (target / MANIFEST).read_text() == "old"


def test_a_missing_parent_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"none/model: cannot be written: No such file or directory"):
        write_export(tmp_path / "none" / "model", "new")
