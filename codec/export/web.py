"""The page that plays and makes .lam files in a browser, with the files of a model: ready for any static host.

index.html, page/         the page and its modules
lamella.js, lamella/      the JavaScript library, see assets/docs/web.md
model/                    encoder.onnx, decoder.onnx and manifest.json (see `codec.export.onnx`), prior.safetensors
runtime/                  onnxruntime-web, if its folder was given; else the page fetches it from a public server
page.json                 {"models": folders, "runtime": folder or null, "files": [{"name", "url", "bytes"}] to list}
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

from codec.errors import CodecError, PresetError
from codec.export.directory import replacing_export
from codec.export.manifest import MANIFEST
from codec.export.onnx.export import write_onnx
from codec.files import PathLike
from codec.presets import find_by_identity, find_preset, identity_of, web_page
from codec.presets.catalog import PRIOR
from codec.presets.identity import EARLIER_IDENTITIES

SETTINGS = "page.json"
MODEL, RUNTIME = "model", "runtime"  # folders
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
NOT_PAGE = ("*.md", "*.png", "package.json")  # of the folder of the page


def export_web(
    model: PathLike, directory: PathLike, force: bool = False, runtime: PathLike | None = None
) -> None:
    """Write the page with the files of a model.

    Args:
        model: a preset, or the folder of a model.
        directory: where the page goes; a new folder, or an earlier page if `force` is true.
        force: replace an earlier page.
        runtime: folder of the npm package onnxruntime-web, whose files are copied. By default, the page fetches them
            from the public server that `lamella.js` names, in a fixed version.

    Raises:
        PresetError: there is no such model, or it is damaged.
        CodecError: the package `onnx` or a file of the runtime is missing, or a file cannot be written.
    """
    folder = find_preset(model)
    runtime_files = [] if runtime is None else _find_runtime(Path(runtime))
    with replacing_export(directory, force, marker=SETTINGS) as new:
        shutil.copytree(web_page(), new, ignore=shutil.ignore_patterns(*NOT_PAGE), dirs_exist_ok=True)
        _write_model(folder, new / MODEL)
        _copy_runtime(runtime_files, new / RUNTIME)
        settings = {"models": [f"{MODEL}/"], "runtime": f"{RUNTIME}/" if runtime_files else None, "files": []}
        (new / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _write_model(folder: Path, target: Path) -> None:
    """Write the graphs and the prior; the manifest also names the prior and earlier identities of the model."""
    target.mkdir()
    write_onnx(folder, target)
    has_prior = (folder / PRIOR).is_file()
    if has_prior:
        shutil.copyfile(folder / PRIOR, target / PRIOR)
    manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
    manifest["prior"] = PRIOR if has_prior else None
    manifest["earlier_model_ids"] = _earlier_identities(folder)
    (target / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _earlier_identities(folder: Path) -> list[str]:
    """Return the identities in files of earlier releases that this model decodes too."""
    identities = []
    for earlier in EARLIER_IDENTITIES:
        with contextlib.suppress(PresetError):
            if identity_of(find_by_identity(bytes.fromhex(earlier))) == identity_of(folder):
                identities.append(earlier)
    return identities


def _find_runtime(folder: Path) -> list[Path]:
    """Return the files of onnxruntime-web in the folder of the package, or in its folder `dist`."""
    place = folder / "dist" if (folder / "dist").is_dir() else folder
    files = [place / name for name in RUNTIME_FILES]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise CodecError(
            f"{folder}: {', '.join(missing)} not found; name the folder of the npm package onnxruntime-web"
        )
    return files


def _copy_runtime(files: list[Path], target: Path) -> None:
    if files:
        target.mkdir()
    for file in files:
        shutil.copyfile(file, target / file.name)
