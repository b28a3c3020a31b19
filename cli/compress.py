"""`lamella compress`: a sound file becomes a .lam file."""

from __future__ import annotations

import click

from cli import files, options
from cli.backend import use_one_core
from cli.progress import progress


@click.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@options.rate
@click.option(
    "--effort",
    type=click.IntRange(0, 3),
    default=0,
    show_default=True,
    help="Search 2, 4 or 8 times as long for codes, for a little better sound.",
)
@options.raw_input
@options.model
@options.force
@options.quiet
def compress(
    source: str,
    target: str,
    bits: options.Rate,
    effort: int,
    pcm: options.Pcm | None,
    model: str,
    force: bool,
    quiet: bool,
) -> None:
    """Compress the sound file IN to the .lam file OUT.

    Takes WAV, FLAC, OGG, Opus, MP3 and more, 1 to 8 channels, 8000 to 192000 Hz. Either side may be `-`, a pipe.
    Without --bitrate or --codebooks it is 6k.

    \b
    lamella compress --bitrate 3k talk.wav talk.lam
    """
    use_one_core()
    output = files.target(target, force)
    num_codebooks = options.choose_codebooks(options.config_of(model), bits)
    with files.open_sound(source, pcm) as reader:
        from codec.compression import compress as run
        from codec.presets import load_light

        codec = load_light(model, candidates=2**effort)
        seconds = None if reader.num_samples is None else reader.num_samples / reader.sample_rate
        with progress(seconds, quiet) as tell:
            report = run(reader, output, codec, num_codebooks, tell)
    if not quiet:
        size = f"{report.bytes} bytes, {report.bitrate / 1000:.2f} kbit/s"
        click.echo(f"{target}: {report.seconds:.2f} s in {size}", err=True)
