"""Files decode to the same codes on any machine: numbers of threads and versions of numpy change nothing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.golden_digests import GOLDEN, digests, golden_prior

from codec.bitstream import Reader
from codec.bitstream.format import RANGE_CODED

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parents[1] / "support" / "golden_digests.py"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
OTHER_NUMPY = {"1": "numpy>=2", "2": "numpy<2"}  # by the present major version


def by_the_files() -> list[str]:
    """What `digests` must give: of the codes and the files as they were written once."""
    lines = []
    for path in sorted(GOLDEN.glob("*.lam")):
        codes = np.load(path.with_suffix(".npy"), allow_pickle=False)
        with open(path, "rb") as file:
            sizes = [(one.start_frame, one.frames, one.codebooks) for one in Reader(file).stored_chunks()]
        parts = (codes[:, start : start + frames, :count] for start, frames, count in sizes)
        stored = b"".join(part.astype("<i4").tobytes() for part in parts)
        found = [hashlib.sha256(part).hexdigest() for part in (stored, path.read_bytes())]
        lines.append(" ".join([path.stem, *found]))
    return lines


def lines_of(python: str | Path, **variables: str) -> list[str]:
    done = subprocess.run([python, PROGRAM], env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_golden_files_to_codes_and_back() -> None:
    assert digests() == by_the_files()
    assert [line.split()[0] for line in digests()] == [
        "mono",
        "range-coded",
        "silent",
        "stereo-live",
        "varying",
    ]


def test_the_golden_prior_is_in_use() -> None:
    with open(GOLDEN / "range-coded.lam", "rb") as file:
        assert {chunk.coding for chunk in Reader(file, golden_prior()).stored_chunks()} == {RANGE_CODED}


@pytest.mark.parametrize("threads", ["1", "2"])
def test_whatever_the_number_of_threads(threads: str) -> None:
    assert lines_of(sys.executable, **dict.fromkeys(THREADS, threads)) == by_the_files()


def test_encoding_whatever_the_number_of_threads(tmp_path: Path) -> None:
    clip, files = next(ROOT.glob("assets/samples/1-*")), []
    for threads in ("1", "2"):
        files.append(tmp_path / f"{threads}.lam")
        variables = dict.fromkeys(THREADS, threads)
        command = [sys.executable, "-m", "cli.main", "compress", "--codebooks", "30", clip, files[-1]]
        subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, check=True)
    assert files[0].read_bytes() == files[1].read_bytes()


KERAS_CODES = """
import sys
import numpy as np, soundfile
from codec.presets import load_keras
audio, _ = soundfile.read(sys.argv[1], dtype="float32", frames=4 * 48000)
codec = load_keras("lamella-48k")
codes, _ = codec.encode_step(audio[None, :, None], codec.encoder_state(1), 24)
np.save(sys.argv[2], codes)
"""


@pytest.mark.slow
def test_encoding_by_the_keras_model_with_and_without_onednn(tmp_path: Path) -> None:
    clip, codes = next(ROOT.glob("assets/samples/1-*")), []
    for choice in ("0", "1"):
        variables = {"TF_ENABLE_ONEDNN_OPTS": choice, "KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", KERAS_CODES, clip, tmp_path / f"{choice}.npy"]
        subprocess.run(command, env={**os.environ, **variables}, check=True)
        codes.append(np.load(tmp_path / f"{choice}.npy"))
    assert codes[0].shape == (1, 200, 24)
    assert np.mean(codes[0] != codes[1]) < 1e-3  # none but where two codewords are equally near


@pytest.mark.slow
def test_another_major_version_of_numpy(tmp_path: Path) -> None:
    major = np.__version__.split(".")[0]
    subprocess.run([sys.executable, "-m", "venv", tmp_path], check=True)
    python = tmp_path / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", OTHER_NUMPY[major]], check=True)
    version = subprocess.run(
        [python, "-c", "import numpy; print(numpy.__version__)"], capture_output=True, text=True
    )
    assert version.stdout.split(".")[0] not in ("", major)
    assert lines_of(python) == by_the_files()
