"""Measure what packets and their losses cost: mean log-mel distance, PESQ-WB and ESTOI over clips.

    pip install pesq pystoi
    PYTHONPATH=. python tests/benchmarks/packet_loss.py --codebooks 12 speech/*.flac

The same packets are lost in each run, independently or in bursts (Gilbert's model).
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path

import numpy as np
import soundfile
from scores import Scores, mean, score

from codec import NumpyCodec, PacketDecoder, PacketEncoder, load

# Share of lost packets, and the mean length of a burst.
LOSSES = ((0.0, 1), (0.05, 1), (0.1, 1), (0.2, 1), (0.05, 3), (0.1, 3), (0.2, 3))


def lost_packets(count: int, share: float, burst: float, name: str) -> np.ndarray:
    """Return which of the packets are lost, bool [count]; each name has its own draw."""
    draws = np.random.default_rng(zlib.crc32(f"{name} {share} {burst}".encode())).random(count)
    if burst == 1:
        return draws < share
    lost, losses = False, np.empty(count, bool)
    for number, draw in enumerate(draws):
        lost = draw >= 1 / burst if lost else draw < share / burst / (1 - share)
        losses[number] = lost
    return losses


def score_clip(clip: Path, model: NumpyCodec, packets: tuple[int, int], loss: tuple[float, int]) -> Scores:
    """Send a clip in packets of (codebooks, frames), lose some, and score what is decoded."""
    num_codebooks, frames = packets
    sound, sample_rate = soundfile.read(clip, dtype="float32", always_2d=True)
    sound = sound[:, :1]
    format_of_packets = {"num_codebooks": num_codebooks, "frames_per_packet": frames}
    encoder = PacketEncoder(model, sample_rate, 1, **format_of_packets)
    decoder = PacketDecoder(model, sample_rate, 1, **format_of_packets)
    sent = [*encoder.push(sound), *encoder.flush()]
    losses = lost_packets(len(sent), *loss, clip.stem)
    blocks = [decoder.push(None if lost else packet) for packet, lost in zip(sent, losses, strict=True)]
    return score(sound[:, 0], np.concatenate([*blocks, decoder.flush()])[:, 0], sample_rate)


def main() -> None:
    """Print a line for each kind of loss."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", default="lamella-48k")
    parser.add_argument("--codebooks", type=int, default=12)
    parser.add_argument("--frames", type=int, default=1, help="frames in a packet")
    options = parser.parse_args()
    model, packets = load(options.model), (options.codebooks, options.frames)
    for share, burst in LOSSES:
        scores = mean([score_clip(clip, model, packets, (share, burst)) for clip in options.clips])
        print(f"{share:4.0%} lost, bursts of {burst}: {scores}", flush=True)


if __name__ == "__main__":
    main()
