"""What packets cost, and what losses of them do: means over clips of log-mel distance, PESQ-WB and ESTOI.

    pip install pesq pystoi
    PYTHONPATH=. python tests/benchmarks/packet_loss.py --codebooks 12 speech/*.flac

The same packets are lost in each run: so many on average, each for itself or in bursts of 3 (Gilbert's model).
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path

import numpy as np
import soundfile
import soxr
from pesq import pesq
from pystoi import stoi

from codec import NumpyCodec, PacketDecoder, PacketEncoder, load
from codec.evaluation.metrics import mel_distance

LOSSES = (
    (0.0, 1),
    (0.05, 1),
    (0.1, 1),
    (0.2, 1),
    (0.05, 3),
    (0.1, 3),
    (0.2, 3),
)  # share, mean length of a burst
SCORED_RATE = 16000  # Hz, of PESQ and ESTOI


def lost_packets(count: int, share: float, burst: float, name: str) -> np.ndarray:
    """Which of the packets are lost, bool [count]; for each name others."""
    draws = np.random.default_rng(zlib.crc32(f"{name} {share} {burst}".encode())).random(count)
    if burst == 1:
        return draws < share
    lost, found = False, np.empty(count, bool)
    for number, draw in enumerate(draws):
        lost = draw >= 1 / burst if lost else draw < share / burst / (1 - share)
        found[number] = lost
    return found


def sent(sound: np.ndarray, rate: int, codec: NumpyCodec, codebooks: int, frames: int) -> list[bytes]:
    """The packets of a sound [time]."""
    encoder = PacketEncoder(codec, rate, 1, codebooks, frames)
    return encoder.push(sound[:, None]) + encoder.flush()


def heard(packets: list[bytes], lost: np.ndarray, rate: int, decoder: PacketDecoder) -> np.ndarray:
    """What is heard of them, [time]."""
    pieces = [decoder.push(None if gone else packet) for packet, gone in zip(packets, lost, strict=True)]
    return np.concatenate([*pieces, decoder.flush()])[:, 0]


def scores(reference: np.ndarray, decoded: np.ndarray, rate: int) -> tuple[float, float, float]:
    """Log-mel distance, PESQ-WB and ESTOI."""
    pair = [soxr.resample(sound, rate, SCORED_RATE) for sound in (reference, decoded)]
    return (
        mel_distance(reference, decoded, rate),
        pesq(SCORED_RATE, *pair, "wb"),
        stoi(*pair, SCORED_RATE, extended=True),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", default="lamella-48k")
    parser.add_argument("--codebooks", type=int, default=12)
    parser.add_argument("--frames", type=int, default=1, help="frames in a packet")
    options = parser.parse_args()
    codec = load(options.model)
    for share, burst in LOSSES:
        found = []
        for clip in options.clips:
            sound, rate = soundfile.read(clip, dtype="float32", always_2d=True)
            packets = sent(sound[:, 0], rate, codec, options.codebooks, options.frames)
            decoder = PacketDecoder(codec, rate, 1, options.codebooks, options.frames)
            lost = lost_packets(len(packets), share, burst, clip.stem)
            found.append(scores(sound[:, 0], heard(packets, lost, rate, decoder)[: len(sound)], rate))
        mel, quality, intelligibility = np.mean(found, axis=0)
        print(f"{share:4.0%} lost, bursts of {burst}: log-mel {mel:.2f}, ", end="")
        print(f"PESQ-WB {quality:.2f}, ESTOI {intelligibility:.3f}", flush=True)


if __name__ == "__main__":
    main()
