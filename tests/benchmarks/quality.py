"""Variable rate against as many bits at a constant one: means over clips of log-mel distance, PESQ-WB and ESTOI.

    pip install pesq pystoi
    PYTHONPATH=.:tests/benchmarks python tests/benchmarks/quality.py --quality 6 speech/*.flac

What stands in brackets lies between the two constant numbers of codebooks nearest to the average. With `--pauses` it is
the same of clips two by two, in halves, with .7 to 3 seconds of noise at -75 dB of full scale behind each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile
from packet_loss import scores

from codec import DecoderStream, EncoderStream, NumpyCodec, Quality, load


def with_pauses(sounds: list[np.ndarray], rate: int) -> list[np.ndarray]:
    """Sounds [time], two by two."""
    generator, found = np.random.default_rng(0), []
    for pair in zip(sounds[::2], sounds[1::2], strict=False):
        halves = [half for sound in pair for half in np.array_split(sound, 2)]
        parts = [np.pad(half, (0, int(generator.uniform(0.7, 3) * rate))) for half in halves]
        noise = 10 ** (-75 / 20) * generator.standard_normal(sum(map(len, parts)))
        found.append((np.concatenate(parts) + noise).astype(np.float32))
    return found


def heard(chunks: list[np.ndarray], rate: int, codec: NumpyCodec) -> np.ndarray:
    """The sound of chunks of codes, [time]."""
    decoder = DecoderStream(codec, rate, 1)
    return np.concatenate([*map(decoder.push, chunks), decoder.flush()])[:, 0]


def compared(sound: np.ndarray, rate: int, quality: Quality, codec: NumpyCodec) -> tuple[float, ...]:
    """Codebooks on average, and of variable and of constant rate the three scores."""
    chunks = {}
    for kind in (quality, codec.config.num_codebooks):
        encoder = EncoderStream(codec, rate, 1, kind, codec.config.reset_interval)
        chunks[kind] = encoder.push(sound[:, None]) + encoder.flush()
    varying, whole = chunks.values()
    count = sum(codes.size for codes in varying) / sum(codes.shape[1] for codes in whole)
    low = min(int(count), codec.config.num_codebooks - 1)
    below, above = (
        scores(sound, heard([codes[..., :number] for codes in whole], rate, codec)[: len(sound)], rate)
        for number in (low, low + 1)
    )
    constant = np.asarray(below) + (count - low) * np.subtract(above, below)
    return count, *scores(sound, heard(varying, rate, codec)[: len(sound)], rate), *constant


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path, help="of one sample rate")
    parser.add_argument("--model", default="lamella-48k")
    parser.add_argument("--quality", type=float, default=6)
    parser.add_argument("--pauses", action="store_true")
    options = parser.parse_args()
    codec, rate = load(options.model), soundfile.info(options.clips[0]).samplerate
    sounds = [soundfile.read(clip, dtype="float32", always_2d=True)[0][:, 0] for clip in options.clips]
    sounds = with_pauses(sounds, rate) if options.pauses else sounds
    found = np.mean([compared(sound, rate, Quality(options.quality), codec) for sound in sounds], axis=0)
    print(f"{codec.config.bitrate_of(1) / 1000 * found[0]:.2f} kbit/s: ", end="")
    for name, mine, other in zip(("log-mel", "PESQ-WB", "ESTOI"), found[1:4], found[4:], strict=True):
        print(f"{name} {mine:.3f} ({other:.3f})", end="  ")
    print()


if __name__ == "__main__":
    main()
