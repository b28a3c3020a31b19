"""Looks for bytes that break the reader, guided by what they reach; README.md beside this says how to run it."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent), str(HERE)]

with atheris.instrument_imports(include=["codec.bitstream"]):
    import target

    from codec.bitstream import recovery

recovery._MISSING = 2  # fewer numbers are tried in vain: the same code in a fraction of the time


def main() -> None:
    folders = [Path(word) for word in sys.argv[1:] if not word.startswith("-")]
    if not folders:
        sys.exit("say in which folder to keep what was found: python tests/fuzz/fuzz_bitstream.py FOLDER")
    folders[0].mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        mode = seed[0] | 16 * (number % 8)  # mostly without reading a sound stream afterwards, for speed
        (folders[0] / f"seed-{number:03}").write_bytes(bytes([mode]) + seed[1:])
    atheris.Setup(sys.argv, target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
