"""`lamella compress`: a sound file becomes a .lam file."""

from __future__ import annotations

import click

from cli import files, options
from cli.backend import use_one_core
from cli.progress import progress


@click.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option(
    "--bitrate",
    "-b",
    metavar="RATE",
    type=options.parse_bitrate,
    help="Bits per second and channel: 1.5k, 3k, 6k or 12k.  [default: 6k]",
)
@click.option(
    "--codebooks", type=int, metavar="N", help="In place of --bitrate: N times 500 bits per second."
)
@options.raw_input
@options.model
@options.force
@options.quiet
def compress(
    source: str,
    target: str,
    bitrate: int | None,
    codebooks: int | None,
    pcm: options.Pcm | None,
    model: str,
    force: bool,
    quiet: bool,
) -> None:
    """Compress the sound file IN to the .lam file OUT.

    Takes WAV, FLAC, OGG, Opus, MP3 and more, 1 to 8 channels, 8000 to 192000 Hz. Either side may be `-`, a pipe.

    \b
    lamella compress --bitrate 3k talk.wav talk.lam
    """
    use_one_core()
    output = files.target(target, force)
    num_codebooks = options.choose_codebooks(options.config_of(model), bitrate, codebooks)
    with files.open_sound(source, pcm) as reader:
        from codec.compression import compress as run
        from codec.presets import load_light

        codec = load_light(model)
        seconds = None if reader.num_samples is None else reader.num_samples / reader.sample_rate
        with progress(seconds, quiet) as tell:
            report = run(reader, output, codec, num_codebooks, tell)
    if not quiet:
        rate = f"{report.bytes} bytes, {report.bitrate / 1000:.2f} kbit/s"
        click.echo(f"{target}: {report.seconds:.2f} s in {rate}", err=True)
