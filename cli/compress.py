"""`lamella compress`: a sound file becomes a .lam file."""

from __future__ import annotations

import dataclasses

import click

from cli import options
from cli.backend import use_one_core
from cli.files import load_once, open_sound, resolve_output
from cli.parallel import run_job
from cli.progress import progress_bar


@dataclasses.dataclass(frozen=True)
class CompressJob:
    """Compress one file with the options of the command line."""

    rate: options.RateOptions
    raw_format: options.RawFormat | None
    chunking: options.Chunking
    recover: bool
    effort: int
    model: str
    force: bool

    def __call__(self, source: str, target: str, quiet: bool) -> str:
        """Compress `source` to `target` and print what is lost; return the line to print."""
        output = resolve_output(target, self.force)
        with open_sound(source, self.raw_format, self.recover) as reader:
            from codec.coding.compression import compress

            codec = load_once(self.model, self.effort)
            seconds = None if reader.num_samples is None else reader.num_samples / reader.sample_rate
            with progress_bar(seconds, quiet) as progress:
                report = compress(
                    reader,
                    output,
                    model=codec,
                    bitrate=self.rate.bitrate,
                    quality=self.rate.quality,
                    num_codebooks=self.rate.num_codebooks,
                    frames_per_chunk=self.chunking.frames_per_chunk(codec.config),
                    live=self.chunking.live,
                    progress=progress,
                )
        if report.damage:
            click.echo(f"{source}: {report.damage}", err=True)
        size = f"{report.bytes} bytes, {report.bitrate / 1000:.2f} kbit/s"
        return f"{target}: {report.seconds:.2f} s in {size}"


@click.command(
    epilog=options.examples(
        "lamella compress --bitrate 3k talk.wav talk.lam",
        "lamella compress --quality 6 talk.wav talk.lam",
        "lamella compress *.wav --output-dir small",
        "arecord -t raw -f S16_LE -r 16000 -c 1 | lamella compress --raw --rate 16000 --channels 1 --live - -",
    )
)
@options.file_arguments
@options.rate
@options.raw_input
@options.chunking
@click.option(
    "--recover",
    is_flag=True,
    help="Compress what is left of a cut or damaged sound file, and print how much that is.",
)
@options.effort
@options.model
@options.force
@options.quiet
def compress(  # noqa: PLR0913
    files: options.FileArguments,
    rate: options.RateOptions,
    raw_format: options.RawFormat | None,
    chunking: options.Chunking,
    recover: bool,
    effort: int,
    model: str,
    force: bool,
    quiet: bool,
) -> None:
    """Compress sound files to .lam files.

    Reads WAV, FLAC, OGG, Opus, MP3 and more, with 1 to 8 channels at 8000 to 192000 Hz. IN or OUT may be `-`, a pipe.
    """
    use_one_core()
    from codec.presets import read_config

    rate.check(read_config(model))
    job = CompressJob(rate, raw_format, chunking, recover, effort, model, force)
    run_job(job, files, ".lam", quiet)
