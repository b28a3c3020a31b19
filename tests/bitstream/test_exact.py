"""Files decode to the same codes with any number of threads and any version of numpy.

Encoding computes in floats, whose rounding depends on the number of threads. So a code may differ where two codewords
are equally near, and then the codes after it in the same frame.
"""

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
OTHER_NUMPY = {"1": "numpy>=2", "2": "numpy<2"}  # by the installed major version


def expected_digests() -> list[str]:
    """Return what `digests` must give, from the stored codes and the bytes of the golden files."""
    lines = []
    for path in sorted(GOLDEN.glob("*.lam")):
        codes = np.load(path.with_suffix(".npy"), allow_pickle=False)
        with open(path, "rb") as file:
            chunks = list(Reader(file).stored_chunks())
        parts = [codes[:, one.start_frame :][:, : one.frames, : one.codebooks] for one in chunks]
        stored = b"".join(part.astype("<i4").tobytes() for part in parts)
        hashes = [hashlib.sha256(data).hexdigest() for data in (stored, path.read_bytes())]
        lines.append(" ".join([path.stem, *hashes]))
    return lines


def digests_by(python: str | Path, **variables: str) -> list[str]:
    done = subprocess.run([python, PROGRAM], env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_golden_files_decode_to_their_codes_and_encode_to_their_bytes() -> None:
    assert digests() == expected_digests()
    assert [line.split()[0] for line in digests()] == [
        "header-copy",
        "mono",
        "range-coded",
        "silent",
        "stereo-live",
        "varying",
    ]


def test_the_golden_file_uses_its_prior() -> None:
    with open(GOLDEN / "range-coded.lam", "rb") as file:
        assert {chunk.coding for chunk in Reader(file, golden_prior()).stored_chunks()} == {RANGE_CODED}


@pytest.mark.parametrize("threads", ["1", "2"])
def test_digests_do_not_depend_on_the_number_of_threads(threads: str) -> None:
    assert digests_by(sys.executable, **dict.fromkeys(THREADS, threads)) == expected_digests()


NUMPY_CODES = """
import sys
import numpy as np, soundfile
from codec.presets import load
audio, rate = soundfile.read(sys.argv[1], dtype="float32", frames=3 * 48000, always_2d=True)
np.save(sys.argv[2], load().encode(audio, rate, num_codebooks=24))
"""


def test_encoding_hardly_depends_on_the_number_of_threads(tmp_path: Path) -> None:
    clip, codes = next(ROOT.glob("assets/samples/1-*")), []
    for threads in ("1", "2"):
        variables = {**dict.fromkeys(THREADS, threads), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", NUMPY_CODES, clip, tmp_path / f"{threads}.npy"]
        subprocess.run(command, env={**os.environ, **variables}, check=True)
        codes.append(np.load(tmp_path / f"{threads}.npy"))
    differing_frames = (codes[0] != codes[1]).any(axis=(0, 2))
    assert differing_frames.mean() < 0.02


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
def test_the_keras_model_encodes_the_same_with_and_without_onednn(tmp_path: Path) -> None:
    clip, codes = next(ROOT.glob("assets/samples/1-*")), []
    for choice in ("0", "1"):
        variables = {"TF_ENABLE_ONEDNN_OPTS": choice, "KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", KERAS_CODES, clip, tmp_path / f"{choice}.npy"]
        subprocess.run(command, env={**os.environ, **variables}, check=True)
        codes.append(np.load(tmp_path / f"{choice}.npy"))
    assert codes[0].shape == (1, 200, 24)
    assert np.mean(codes[0] != codes[1]) < 1e-3  # only where two codewords are equally near


@pytest.mark.slow
def test_digests_do_not_depend_on_the_version_of_numpy(tmp_path: Path) -> None:
    major = np.__version__.split(".")[0]
    subprocess.run([sys.executable, "-m", "venv", tmp_path], check=True)
    python = tmp_path / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", OTHER_NUMPY[major]], check=True)
    version = subprocess.run(
        [python, "-c", "import numpy; print(numpy.__version__)"], capture_output=True, text=True
    )
    assert version.stdout.split(".")[0] not in ("", major)
    assert digests_by(python) == expected_digests()
