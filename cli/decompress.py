"""`lamella decompress`: a .lam file becomes a sound file."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import click

from cli import options
from cli.backend import use_one_core
from cli.files import STANDARD, load_for_file, read_facts, resolve_input, resolve_output
from cli.parallel import run_job
from cli.progress import progress_bar
from codec.files import is_special

if TYPE_CHECKING:
    from codec.coding.decompression import DecompressionReport
    from codec.protocol import StreamingCodec


@dataclasses.dataclass(frozen=True)
class DecompressJob:
    """Decompress one file with the options of the command line."""

    raw: bool
    excerpt: options.Excerpt
    recover: bool
    max_duration: float | None  # seconds
    model: str | None
    force: bool

    def __call__(self, source: str, target: str, quiet: bool) -> str:
        """Decompress `source` to `target` and print what is lost; return the line to print."""
        output = resolve_output(target, self.force)
        model: str | StreamingCodec | None = self.model
        seconds = None
        if source != STANDARD and not is_special(source) and not self.recover:
            model_id, seconds = read_facts(source)
            model = load_for_file(model_id, self.model, source)
        from codec.audio import AudioWriter, RawWriter
        from codec.coding.decompression import decompress

        with progress_bar(self.excerpt.length_in(seconds), quiet) as progress:
            report = decompress(
                resolve_input(source),
                output,
                model=model,
                start=self.excerpt.start,
                end=self.excerpt.end,
                recover=self.recover,
                max_duration=math.inf if self.force and self.max_duration is None else self.max_duration,
                progress=progress,
                open_writer=RawWriter if self.raw else AudioWriter,
            )
        if report.header_repaired:
            click.echo(f"{source}: repaired the damaged header", err=True)
        for loss in report.losses:
            click.echo(f"{source}: lost {loss}", err=True)
        return f"{target}: {describe(report)}"


def parse_duration(text: str) -> float:
    """Return seconds for `90` or `2:00:00`; raise BadParameter for anything else, and for 0."""
    seconds = options.parse_time(text)
    if not seconds:
        raise click.BadParameter("0 is no duration; write 90 or 1:30 for a minute and a half")
    return seconds


def describe(report: DecompressionReport) -> str:
    """Return the length and the format of a sound, and a remedy if its clipping is audible."""
    plural = "s" if report.channels > 1 else ""
    text = f"{report.seconds:.2f} s, {report.sample_rate} Hz, {report.channels} channel{plural}"
    if not report.clipping_is_audible:
        return text
    excess = f"{math.ceil(20 * math.log10(report.peak) * 10) / 10:.1f} dB"
    remedy = f"lower the original by {excess} and compress it again"
    return f"{text}; clipped because it is up to {excess} too loud: to avoid this, {remedy}"


@click.command(
    epilog=options.examples(
        "lamella decompress talk.lam talk.wav",
        "lamella decompress *.lam --output-dir sounds",
        "lamella decompress --start 1:02.5 --end 1:10 talk.lam part.wav",
    )
)
@options.file_arguments
@click.option("--raw", is_flag=True, help="Write 16-bit little-endian PCM without a header.")
@options.excerpt
@click.option(
    "--recover",
    is_flag=True,
    help="Repair the header of a damaged file, decode what is left, conceal the rest, and print what is lost.",
)
@click.option(
    "--max-duration",
    metavar="TIME",
    type=parse_duration,
    help="Refuse longer sounds.  [default: an hour of one channel and 5.3 s more for each byte of IN, in at most 95 % "
    "of the free space; with --force any length]",
)
@options.model_of_file
@options.force
@options.quiet
def decompress(
    files: options.FileArguments,
    raw: bool,
    excerpt: options.Excerpt,
    recover: bool,
    max_duration: float | None,
    model: str | None,
    force: bool,
    quiet: bool,
) -> None:
    """Decompress .lam files to sound files.

    The sound has the length, sample rate and channels of the original. The ending of OUT sets the format: .wav,
    .flac, .ogg, .opus, .mp3 or .aiff. IN or OUT may be `-`, a pipe; a pipe gets WAV. The model is found by the
    identity in the file.
    """
    use_one_core()
    job = DecompressJob(raw, excerpt, recover, max_duration, model, force)
    run_job(job, files, ".raw" if raw else ".wav", quiet)
