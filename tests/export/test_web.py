"""`lamella export --format web`: a folder that any static host can serve."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from codec.errors import CodecError
from codec.export.web import RUNTIME_FILES, export_web
from codec.presets import identity_of, web_page

pytest.importorskip("onnx", reason="pip install 'lamella[onnx]'")


@pytest.fixture(scope="module")
def page(tiny_preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with the tiny model. Do not write to it."""
    page = tmp_path_factory.mktemp("web") / "page"
    export_web(tiny_preset, page)
    return page


def test_the_page_has_the_model_and_says_where(page: Path, tiny_preset: Path) -> None:
    settings = json.loads((page / "page.json").read_text())
    assert settings == {"models": ["model/"], "runtime": None, "files": []}
    manifest = json.loads((page / "model" / "manifest.json").read_text())
    assert manifest["model_id"] == identity_of(tiny_preset).hex()
    assert (page / "model" / "encoder.onnx").is_file() and (page / "model" / "decoder.onnx").is_file()


def test_all_that_the_page_refers_to_is_there(page: Path) -> None:
    references = re.findall(r'(?:src|href)="([^"#]+)"', (page / "index.html").read_text())
    assert references
    for name in references:
        assert (page / name).is_file(), name
    for script in page.rglob("*.js"):
        for name in re.findall(r'^(?:import|export) .*?from "(\.[^"]+)"', script.read_text(), re.MULTILINE):
            assert (script.parent / name).is_file(), (script, name)


def test_the_page_needs_no_other_server_but_for_the_runtime(page: Path) -> None:
    for path in (page / "index.html", *page.glob("page/*")):
        addresses = re.findall(r"https?://(?!www\.w3\.org)[^\s\"'`]+", path.read_text())
        assert addresses == [], path


def test_a_shipped_model_decodes_files_of_earlier_releases(tmp_path: Path) -> None:
    export_web("lamella-48k", tmp_path / "page")
    manifest = json.loads((tmp_path / "page" / "model" / "manifest.json").read_text())
    assert manifest["earlier_model_ids"] == ["b9cfd9d3245dccac"]
    assert (tmp_path / "page" / "model" / "prior.safetensors").is_file()


@pytest.mark.parametrize("place", [".", "dist"])
def test_the_runtime_is_copied_from_the_folder_of_its_package(
    tiny_preset: Path, tmp_path: Path, place: str
) -> None:
    package = tmp_path / "package" / place
    package.mkdir(parents=True)
    for name in (*RUNTIME_FILES, "ort.webgpu.mjs"):
        (package / name).write_bytes(name.encode())
    export_web(tiny_preset, tmp_path / "page", runtime=tmp_path / "package")
    runtime = tmp_path / "page" / "runtime"
    assert {file.name: file.read_bytes() for file in runtime.iterdir()} == {
        name: name.encode() for name in RUNTIME_FILES
    }
    assert json.loads((tmp_path / "page" / "page.json").read_text())["runtime"] == "runtime/"


def test_a_folder_without_the_runtime_is_refused(tiny_preset: Path, tmp_path: Path) -> None:
    with pytest.raises(
        CodecError, match=r"ort\.wasm\.min\.mjs.* not found; name the folder of the npm package"
    ):
        export_web(tiny_preset, tmp_path / "page", runtime=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_replaced_only_by_force_and_nothing_else_ever(
    page: Path, tiny_preset: Path, tmp_path: Path
) -> None:
    export_web(tiny_preset, tmp_path / "page")
    with pytest.raises(CodecError, match="exists; --force overwrites it"):
        export_web(tiny_preset, tmp_path / "page")
    export_web(tiny_preset, tmp_path / "page", force=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(CodecError, match="exists and is not an export"):
        export_web(tiny_preset, tmp_path / "other", force=True)
    assert (tmp_path / "other" / "letter.txt").read_text() == "dear"


def test_the_page_is_copied_without_pictures_and_texts(page: Path) -> None:
    assert {path.suffix for path in web_page().rglob("*") if path.is_file()} >= {
        ".html",
        ".css",
        ".js",
        ".svg",
    }
    assert [path for path in page.rglob("*") if path.suffix in (".md", ".png")] == []
