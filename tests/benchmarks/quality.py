"""Compare variable rate with a constant rate of as many bits: mean log-mel distance, PESQ-WB and ESTOI.

    pip install pesq pystoi
    PYTHONPATH=. python tests/benchmarks/quality.py --quality 6 speech/*.flac

The brackets hold the scores of the constant rate, interpolated between the two nearest numbers of codebooks.
With --pauses, clips are joined in pairs, in halves, with .7 to 3 seconds of noise at -75 dB after each half.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from scores import Scores, mean, score

from codec import DecoderStream, EncoderStream, NumpyCodec, load


class Comparison(NamedTuple):
    """A sound at variable rate and at a constant rate of as many bits."""

    codebooks: float  # of the variable rate, on average
    variable: Scores
    constant: Scores


def with_pauses(sounds: list[np.ndarray], sample_rate: int) -> list[np.ndarray]:
    """Join sounds [time] in pairs, with a pause of noise after each half."""
    generator = np.random.default_rng(0)
    joined = []
    for pair in zip(sounds[::2], sounds[1::2], strict=False):
        halves = [half for sound in pair for half in np.array_split(sound, 2)]
        padded = [np.pad(half, (0, int(generator.uniform(0.7, 3) * sample_rate))) for half in halves]
        noise = 10 ** (-75 / 20) * generator.standard_normal(sum(map(len, padded)))
        joined.append((np.concatenate(padded) + noise).astype(np.float32))
    return joined


def encode(sound: np.ndarray, sample_rate: int, model: NumpyCodec, **rate: float) -> list[np.ndarray]:
    """Return the codes of a sound [time] in chunks of a second."""
    encoder = EncoderStream(model, sample_rate, 1, frames_per_chunk=model.config.reset_interval, **rate)
    return [*encoder.push(sound[:, None]), *encoder.flush()]


def decode(chunks: list[np.ndarray], sample_rate: int, model: NumpyCodec) -> np.ndarray:
    """Return the sound of chunks of codes, [time]."""
    decoder = DecoderStream(model, sample_rate, 1)
    return np.concatenate([*map(decoder.push, chunks), decoder.flush()])[:, 0]


def compare(sound: np.ndarray, sample_rate: int, quality: float, model: NumpyCodec) -> Comparison:
    """Code a sound at both kinds of rate and score the results."""

    def score_chunks(chunks: list[np.ndarray]) -> Scores:
        return score(sound, decode(chunks, sample_rate, model), sample_rate)

    most = model.config.num_codebooks
    varying = encode(sound, sample_rate, model, quality=quality)
    full = encode(sound, sample_rate, model, num_codebooks=most)
    codebooks = sum(codes.size for codes in varying) / sum(codes.shape[1] for codes in full)
    low = min(int(codebooks), most - 1)
    below, above = (
        np.array(score_chunks([codes[..., :count] for codes in full])) for count in (low, low + 1)
    )
    constant = Scores(*(below + (codebooks - low) * (above - below)))
    return Comparison(codebooks, score_chunks(varying), constant)


def main() -> None:
    """Print the bitrate and the scores, those of the constant rate in brackets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path, help="sound files of one sample rate")
    parser.add_argument("--model", default="lamella-48k")
    parser.add_argument("--quality", type=float, default=6)
    parser.add_argument("--pauses", action="store_true")
    options = parser.parse_args()
    model, sample_rate = load(options.model), soundfile.info(options.clips[0]).samplerate
    sounds = [soundfile.read(clip, dtype="float32", always_2d=True)[0][:, 0] for clip in options.clips]
    sounds = with_pauses(sounds, sample_rate) if options.pauses else sounds
    comparisons = [compare(sound, sample_rate, options.quality, model) for sound in sounds]
    codebooks = np.mean([comparison.codebooks for comparison in comparisons])
    variable, constant = (mean([one[kind] for one in comparisons]) for kind in (1, 2))
    print(f"{model.config.bitrate_of(1) / 1000 * codebooks:.2f} kbit/s: {variable} ({constant})")


if __name__ == "__main__":
    main()
