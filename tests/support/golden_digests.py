"""Print the SHA-256 digests of the golden files: of their codes, and of these codes written again.

`bitstream/test_exact.py` runs this program with other numbers of threads and other versions of numpy. It needs only
numpy.
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
    """Return the prior that `range-coded.lam` was made with."""
    with np.load(GOLDEN / "range-coded-prior.npz", allow_pickle=False) as arrays:
        return Prior(dict(arrays))


def digests() -> list[str]:
    """Return a line for each golden file: its name, the digest of its codes, and that of the file written again."""
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
