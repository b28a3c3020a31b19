"""Print how coding changes the power of each frequency band, in dB, for each clip and on average.

PYTHONPATH=. python tests/benchmarks/bands.py --codebooks 12 clips/*.flac
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile

from codec import NumpyCodec, load

EDGES = (0, 1000, 4000, 8000, 12000, 16000, 20000)  # Hz
FLOOR = 1e-7  # share of the whole power below which a band counts as empty


def band_powers(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the power of a sound [time] between neighbouring edges, [band]."""
    spectrum = np.abs(np.fft.rfft(sound)) ** 2
    frequencies = np.fft.rfftfreq(len(sound), 1 / sample_rate)
    return np.histogram(frequencies, EDGES, weights=spectrum)[0]


def band_changes(clip: Path, model: NumpyCodec, num_codebooks: int) -> np.ndarray:
    """Return the change of power of each band in dB, [band]; NaN where the source is empty."""
    samples, sample_rate = soundfile.read(clip, dtype="float32", always_2d=True)
    codes = model.encode(samples, sample_rate, num_codebooks=num_codebooks)
    decoded = model.decode(codes, sample_rate)[: len(samples)]
    before, after = (band_powers(sound[:, 0], sample_rate) for sound in (samples, decoded))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(before > FLOOR * before.sum(), 10 * np.log10(after / before), np.nan)


def main() -> None:
    """Print a row for each clip, and the mean."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path, help="sound files of 44.1 kHz or more")
    parser.add_argument("--model", default="lamella-48k")
    parser.add_argument("--codebooks", type=int, default=12)
    options = parser.parse_args()
    model = load(options.model)
    rows = {clip.stem: band_changes(clip, model, options.codebooks) for clip in options.clips}
    rows["mean"] = np.nanmean([*rows.values()], axis=0)
    print("up to kHz ", *(f"{edge / 1000:6.0f}" for edge in EDGES[1:]))
    for name, row in rows.items():
        print(f"{name[:10]:10}", *(f"{value:6.1f}" for value in row))


if __name__ == "__main__":
    main()
