"""One file through the codec, for the verbs that take several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli import files
from cli.options import Pace, Part, Pcm
from cli.progress import progress

if TYPE_CHECKING:
    from codec.coding.rate_control import Quality


def compress_file(
    source: str,
    target: str,
    num_codebooks: int | Quality,
    pcm: Pcm | None,
    pace: Pace,
    model: str,
    force: bool,
    quiet: bool,
) -> str:
    """Compress one file; give what to say of it."""
    output = files.target(target, force)
    with files.open_sound(source, pcm) as reader:
        from codec.coding.compression import compress as run

        codec = files.loaded(model, 2**pace.effort)
        seconds = None if reader.num_samples is None else reader.num_samples / reader.sample_rate
        with progress(seconds, quiet) as tell:
            frames = None if pace.chunk_ms is None else codec.config.frames_in(pace.chunk_ms)
            report = run(reader, output, codec, num_codebooks, tell, frames, pace.live)
    rate = f"{report.bytes} bytes, {report.bitrate / 1000:.2f} kbit/s"
    return f"{target}: {report.seconds:.2f} s in {rate}"


def decompress_file(
    source: str, target: str, raw: bool, part: Part, recover: bool, model: str, force: bool, quiet: bool
) -> str:
    """Decompress one file; tell what is lost, and give what else to say of it."""
    output = files.target(target, force)
    seconds = None if recover else files.stream_seconds(source)
    from codec.audio import AudioWriter, RawWriter
    from codec.coding.compression import decompress as run
    from codec.coding.concealment import Loss

    losses: list[Loss] = []
    codec, writer = files.loaded(model), RawWriter if raw else AudioWriter
    on_loss = losses.append if recover else None
    with progress(part.length_in(seconds), quiet) as tell:
        report = run(files.source(source), output, codec, tell, writer, *part, on_loss)
    for loss in losses:
        click.echo(f"{source}: lost {loss}", err=True)
    clipped = f"; {report.clipped} samples were too loud and clipped" if report.clipped else ""
    shape = f"{report.sample_rate} Hz, {report.channels} channel{'s' * (report.channels > 1)}"
    return f"{target}: {report.seconds:.2f} s, {shape}{clipped}"
