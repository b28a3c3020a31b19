"""How loud each band of the spectrum is after coding, in dB of what it was; a line a clip, and the mean.

python tests/benchmarks/bands.py --codebooks 12 clips/*.flac
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile

from codec import DecoderStream, EncoderStream, NumpyCodec, load

EDGES = (0, 1000, 4000, 8000, 12000, 16000, 20000)  # Hz
FLOOR = 1e-7  # of the whole power: what has less in a band has nothing there


def band_powers(sound: np.ndarray, rate: int) -> np.ndarray:
    """Power of [time] between neighbouring edges, [band]."""
    spectrum = np.abs(np.fft.rfft(sound)) ** 2
    frequencies = np.fft.rfftfreq(len(sound), 1 / rate)
    return np.histogram(frequencies, EDGES, weights=spectrum)[0]


def change(clip: Path, codec: NumpyCodec, codebooks: int) -> np.ndarray:
    """Of each band of a clip, dB; no number where it had nothing."""
    samples, rate = soundfile.read(clip, dtype="float32", always_2d=True)
    encoder = EncoderStream(codec, rate, samples.shape[1], num_codebooks=codebooks)
    decoder = DecoderStream(codec, rate, samples.shape[1])
    codes = [*encoder.push(samples), *encoder.flush()]
    decoded = np.concatenate([*map(decoder.push, codes), decoder.flush()])
    before, after = (band_powers(sound[: len(samples), 0], rate) for sound in (samples, decoded))
    there = before > FLOOR * before.sum()
    return np.where(there, 10 * np.log10(np.where(there, after / np.maximum(before, 1e-20), 1)), np.nan)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path, help="of 44.1 kHz or more")
    parser.add_argument("--model", default="lamella-48k")
    parser.add_argument("--codebooks", type=int, default=12)
    options = parser.parse_args()
    print("up to kHz ", *(f"{edge / 1000:6.0f}" for edge in EDGES[1:]))
    codec = load(options.model)
    rows = {clip.stem: change(clip, codec, options.codebooks) for clip in options.clips}
    for name, row in {**rows, "mean": np.nanmean([*rows.values()], axis=0)}.items():
        print(f"{name[:10]:10}", *(f"{value:6.1f}" for value in row))


if __name__ == "__main__":
    main()
