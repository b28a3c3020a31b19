"""Search for files that break the reader of models, guided by the code they reach; README.md says how to run it."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["codec.presets", "codec.config", "codec.bitstream.prior_arrays"]):
    from fuzz.model_target import Models


def main() -> None:
    folders = [Path(word) for word in sys.argv[1:] if not word.startswith("-")]
    if not folders:
        sys.exit("name the folder for the inputs: python tests/fuzz/fuzz_models.py FOLDER")
    models = Models()
    if not folders[0].is_file():
        folders[0].mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(models.seeds()):
            (folders[0] / f"seed-{number:03}").write_bytes(seed)
            without_coding = bytes([seed[0] | 16]) + seed[1:]  # for speed
            (folders[0] / f"seed-{number:03}-loaded").write_bytes(without_coding)
    atheris.Setup(sys.argv, models.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
