"""Make the golden files of a preset: `PYTHONPATH=.:tests python tests/support/make_golden.py lamella-48k`.

For each bitrate it writes a .lam file, its codes and its decoded sound to `tests/golden/PRESET/`. It never overwrites a
.lam file: what a later version decodes from it must be the same. `--sound` writes the sound of existing files again,
after the decoder of the preset was improved on purpose.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from support.coding import wav_of

from codec.audio import AudioReader
from codec.bitstream import Reader
from codec.coding.compression import compress
from codec.coding.decompression import decompress
from codec.presets import load, samples
from codec.runtime import NumpyCodec

GOLDEN = Path(__file__).parents[1] / "golden"
BITRATES = (1500, 3000, 6000)
START, SECONDS = 0.5, 1.5  # of the shipped clip of speech


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset")
    parser.add_argument("--sound", action="store_true", help="only write the sound again")
    options = parser.parse_args()
    model, folder = load(options.preset), GOLDEN / options.preset
    folder.mkdir(exist_ok=True)
    for bitrate in BITRATES:
        lam = folder / f"{bitrate}.lam"
        if not options.sound:
            write_codes(model, bitrate, lam)
        decompress(lam, lam.with_suffix(".flac"), model=model)


def write_codes(model: NumpyCodec, bitrate: int, lam: Path) -> None:
    """Compress the clip to a new .lam file, and write its codes beside it."""
    with AudioReader(next(samples().glob("1-speech.*"))) as reader:
        rate = reader.sample_rate
        sound = reader.read(round((START + SECONDS) * rate))[round(START * rate) :]
    with open(lam, "xb") as target:
        compress(io.BytesIO(wav_of(sound, rate)), target, model=model, bitrate=bitrate)
    with open(lam, "rb") as file:
        codes = np.concatenate([chunk.codes for chunk in Reader(file, model.prior)], axis=1)
    np.save(lam.with_suffix(".npy"), codes)


if __name__ == "__main__":
    main()
