"""Search for bytes that break the WAV reader, guided by the code they reach; README.md says how to run it."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["codec.audio"]):
    from fuzz import wav_target

sys.modules["av"] = None  # type: ignore[assignment]  # FFmpeg's own search for a format would take most of the time


def main() -> None:
    folders = [Path(word) for word in sys.argv[1:] if not word.startswith("-")]
    if not folders:
        sys.exit("name the folder for the inputs: python tests/fuzz/fuzz_wav.py FOLDER")
    folders[0].mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(wav_target.seeds()):
        mode = seed[0] | 16 * (number % 8)  # for speed, most inputs do not go to libsndfile
        (folders[0] / f"seed-{number:03}").write_bytes(bytes([mode]) + seed[1:])
    atheris.Setup(sys.argv, wav_target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
