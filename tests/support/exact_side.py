"""Prints what the golden files decode to and what their codes are written as: one line each, digests of SHA-256.

test_exact.py runs this program with other numbers of threads and other versions of numpy; it needs numpy alone.
"""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from codec.bitstream import Prior, Reader, Writer

GOLDEN = Path(__file__).parents[1] / "golden" / "v1"


def golden_prior() -> Prior:
    """That of range-coded.lam."""
    with np.load(GOLDEN / "range-coded-prior.npz", allow_pickle=False) as arrays:
        return Prior(dict(arrays))


def digests() -> list[str]:
    """A line for each golden file: its name, the digest of its codes, that of the file they are written as."""
    lines = []
    for path in sorted(GOLDEN.glob("*.lam")):
        prior = golden_prior() if path.stem == "range-coded" else None
        with open(path, "rb") as file:
            reader = Reader(file, prior)
            codes = [chunk.codes for chunk in reader]
        again = io.BytesIO()
        writer = Writer(again, reader.header, prior)
        for chunk in codes:
            writer.write_chunk(chunk)
        writer.close(reader.num_samples)
        parts = [b"".join(chunk.astype("<i4").tobytes() for chunk in codes), again.getvalue()]
        lines.append(" ".join([path.stem, *(hashlib.sha256(part).hexdigest() for part in parts)]))
    return lines


if __name__ == "__main__":
    print("\n".join(digests()))
