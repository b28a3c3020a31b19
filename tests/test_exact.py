"""Files decode to the same codes on any machine: numbers of threads and versions of numpy change nothing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from exact_side import GOLDEN, digests, golden_prior

from codec.bitstream import Reader
from codec.bitstream.format import RANGE_CODED

SIDE = Path(__file__).with_name("exact_side.py")
OTHER_NUMPY = {"1": "numpy>=2", "2": "numpy<2"}  # by the present major version


def by_the_files() -> list[str]:
    """What `digests` must give: of the codes and the files as they were written once."""
    lines = []
    for path in sorted(GOLDEN.glob("*.lam")):
        codes = np.load(path.with_suffix(".npy"), allow_pickle=False)
        with open(path, "rb") as file:
            frames = Reader(file).header.frames_per_chunk
        starts = range(0, codes.shape[1], frames)
        stored = b"".join(codes[:, start : start + frames].astype("<i4").tobytes() for start in starts)
        found = [hashlib.sha256(part).hexdigest() for part in (stored, path.read_bytes())]
        lines.append(" ".join([path.stem, *found]))
    return lines


def lines_of(python: str | Path, **variables: str) -> list[str]:
    done = subprocess.run([python, SIDE], env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_golden_files_to_codes_and_back() -> None:
    assert digests() == by_the_files()
    assert [line.split()[0] for line in digests()] == ["mono", "range-coded", "silent", "stereo-live"]


def test_the_golden_prior_is_in_use() -> None:
    with open(GOLDEN / "range-coded.lam", "rb") as file:
        assert {packet.coding for packet in Reader(file, golden_prior()).packets()} == {RANGE_CODED}


@pytest.mark.parametrize("threads", ["1", "2"])
def test_whatever_the_number_of_threads(threads: str) -> None:
    variables = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    assert lines_of(sys.executable, **variables) == by_the_files()


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
