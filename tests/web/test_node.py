"""The tests of lamella.js, which run in Node; what they encode is read by the Python code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.browser import runtime_folder
from support.command_line import ROOT, works
from support.web_cases import write_cases
from support.web_sounds import write_sounds

from codec.bitstream import Reader
from codec.presets import load

WEB = ROOT / "tests" / "web"
OLDEST = 20  # version of Node


def missing() -> str:
    """Return what is missing on this machine, or an empty string."""
    if not shutil.which("node"):
        return "apt-get install nodejs"
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < OLDEST:
        return f"Node {version}, expected {OLDEST} or later"
    return ""


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


def run_node(*arguments: object, **variables: object) -> str:
    """Run Node; return what it prints after checking that it succeeds."""
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    done = subprocess.run(
        ["node", *map(str, arguments)], env=environment, capture_output=True, text=True, cwd=WEB, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_bitstream_of_lamella_js_is_that_of_python(tmp_path: Path) -> None:
    write_cases(tmp_path)
    output = run_node("--test", WEB / "bitstream.test.js", WEB / "fuzz.test.js", LAMELLA_CASES=tmp_path)
    assert re.search(r"\bskipped 0\b", output), output


@pytest.mark.skipif(
    not runtime_folder().is_dir(),
    reason="npm pack onnxruntime-web, and set ONNXRUNTIME_WEB to the folder of the unpacked package",
)
def test_the_sound_of_lamella_js_is_that_of_python(tiny_preset: Path, tmp_path: Path) -> None:
    write_sounds(tmp_path, tiny_preset)
    output = run_node(
        "--test", WEB / "sound.test.js", LAMELLA_SOUNDS=tmp_path, ONNXRUNTIME_WEB=runtime_folder()
    )
    assert re.search(r"\bskipped 0\b", output), output
    check_encoded(tmp_path, tiny_preset)


def check_encoded(folder: Path, preset: Path) -> None:
    """Check the files that JavaScript wrote: the codes are those of the Python encoder, and they decompress."""
    model = load(preset, effort=0)
    files = sorted(folder.glob("encoded-*.lam"))
    assert len(files) == 4
    for path in files:
        _, channels, bitrate = path.stem.split("-")
        source = np.fromfile(folder / f"source-{channels}.f32", "<f4").reshape(int(channels), -1).T
        with open(path, "rb") as file:
            codes = np.concatenate([chunk.codes for chunk in Reader(file, model.prior)], axis=1)
        expected = model.encode(source, model.config.sample_rate, bitrate=int(bitrate))
        assert codes.shape == expected.shape
        assert np.mean(codes != expected) < 0.01  # near ties
        works("decompress", "--model", preset, path, path.with_suffix(".wav"))
        assert soundfile.info(path.with_suffix(".wav")).frames == len(source)
