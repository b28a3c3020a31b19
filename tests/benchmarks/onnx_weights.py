"""Compare ONNX exports with the codec in numpy: codes, samples and scores for each way to store the weights.

    pip install onnx onnxruntime pesq pystoi
    PYTHONPATH=.:tests python tests/benchmarks/onnx_weights.py assets/samples/*.flac

The first channel of each clip is coded, as with `--effort 0`.

"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from scores import Scores, mean, score
from support.onnx_export import OnnxExport

from codec import NumpyCodec, load
from codec.export import export_onnx
from codec.export.onnx import WEIGHTS

BITRATES = (3000, 6000, 12000)  # bits per second
FRAMES = 100  # in a call


class Result(NamedTuple):
    """A clip, coded and decoded at one bitrate."""

    different: float  # share of codes that are not those of numpy
    error: float  # the largest difference of samples, decoded from the codes of numpy
    scores: Scores  # of what was coded and decoded by the export


def read(clip: Path, sample_rate: int) -> np.ndarray:
    """Return the first channel of a sound file, [time], at a sample rate."""
    sound, rate = soundfile.read(clip, dtype="float32", always_2d=True)
    resampled: np.ndarray = soxr.resample(sound[:, 0], rate, sample_rate)
    return resampled


def padded(sound: np.ndarray, model: NumpyCodec) -> np.ndarray:
    """Return sound [time] as [1, time, 1], with what the latency and the last frame need."""
    hop = model.config.hop_length
    frames = -(-(len(sound) + model.latency) // hop)
    return np.pad(sound, (0, frames * hop - len(sound)))[None, :, None]


def in_numpy(model: NumpyCodec, sound: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes of a sound in numpy, and the decoded samples."""
    codes, _ = model.encode_step(padded(sound, model), model.encoder_state(1), count)
    return codes, model.decode_step(codes, model.decoder_state(1))[0]


def compare(export: OnnxExport, model: NumpyCodec, sound: np.ndarray, bitrate: int) -> Result:
    """Code a sound in numpy and with an export."""
    config = model.config
    count = config.num_codebooks_for(bitrate)
    codes, audio = in_numpy(model, sound, count)
    made = export.encode(padded(sound, model), count, FRAMES)[..., :count]
    decoded = export.decode(made, FRAMES)[0, model.latency :, 0]
    return Result(
        float(np.mean(made != codes)),
        float(np.abs(export.decode(codes, FRAMES) - audio).max()),
        score(sound, decoded, config.sample_rate),
    )


def numpy_scores(model: NumpyCodec, sound: np.ndarray, bitrate: int) -> Scores:
    """Return the scores of a sound that numpy coded and decoded."""
    _, audio = in_numpy(model, sound, model.config.num_codebooks_for(bitrate))
    return score(sound, audio[0, model.latency :, 0], model.config.sample_rate)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path, help="sound files")
    parser.add_argument("--model", default="lamella-48k")
    options = parser.parse_args()
    model = load(options.model, effort=0)
    sounds = [read(clip, model.config.sample_rate) for clip in options.clips]
    print(
        "| weights | encoder, decoder | kbit/s | other codes | samples differ by | scores |\n"
        + "|---" * 6
        + "|"
    )
    for bitrate in BITRATES:
        scores = mean([numpy_scores(model, sound, bitrate) for sound in sounds])
        print(f"| numpy | | {bitrate / 1000:g} | | | {scores} |", flush=True)
    with tempfile.TemporaryDirectory() as name:
        for weights in WEIGHTS:
            folder = Path(name, weights)
            export_onnx(options.model, folder, weights=weights)
            export = OnnxExport(folder)
            sizes = [(folder / f"{part}.onnx").stat().st_size / 1e6 for part in ("encoder", "decoder")]
            for bitrate in BITRATES:
                results = [compare(export, model, sound, bitrate) for sound in sounds]
                cells = (
                    weights,
                    f"{sizes[0]:.1f}, {sizes[1]:.1f} MB",
                    f"{bitrate / 1000:g}",
                    f"{100 * np.mean([result.different for result in results]):.3f} %",
                    f"{max(result.error for result in results):.1e}",
                    str(mean([result.scores for result in results])),
                )
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
