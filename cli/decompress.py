"""`lamella decompress`: a .lam file becomes sound again."""

from __future__ import annotations

import click

from cli import files, options
from cli.backend import use_one_core
from cli.progress import progress


@click.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option("--raw", is_flag=True, help="Write 16-bit little-endian PCM without a header.")
@options.model
@options.force
@options.quiet
def decompress(source: str, target: str, raw: bool, model: str, force: bool, quiet: bool) -> None:
    """Decompress the .lam file IN to the sound file OUT.

    It has the length, sample rate and channels of what was compressed. The ending of OUT says the format: .wav, .flac,
    .ogg, .opus, .mp3, .aiff. Either side may be `-`, a pipe; to a pipe it writes WAV.

    \b
    lamella decompress talk.lam talk.wav
    """
    use_one_core()
    output = files.target(target, force)
    seconds = files.stream_seconds(source)
    from codec.audio import AudioWriter, RawWriter
    from codec.compression import decompress as run
    from codec.presets import load_light

    codec = load_light(model)
    with progress(seconds, quiet) as tell:
        report = run(files.source(source), output, codec, tell, RawWriter if raw else AudioWriter)
    if not quiet:
        clipped = f"; {report.clipped} samples were too loud and clipped" if report.clipped else ""
        shape = f"{report.sample_rate} Hz, {report.channels} channel{'s' * (report.channels > 1)}"
        click.echo(f"{target}: {report.seconds:.2f} s, {shape}{clipped}", err=True)
