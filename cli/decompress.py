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
@options.part
@click.option("--recover", is_flag=True, help="Make the most of a damaged or cut file; say what is lost.")
@options.model
@options.force
@options.quiet
def decompress(
    source: str,
    target: str,
    raw: bool,
    part: options.Part,
    recover: bool,
    model: str,
    force: bool,
    quiet: bool,
) -> None:
    """Decompress the .lam file IN to the sound file OUT.

    It has the length, sample rate and channels of what was compressed. The ending of OUT says the format: .wav, .flac,
    .ogg, .opus, .mp3, .aiff. Either side may be `-`, a pipe; to a pipe it writes WAV.

    \b
    lamella decompress talk.lam talk.wav
    lamella decompress --start 1:02.5 --end 1:10 talk.lam part.wav
    """
    use_one_core()
    output = files.target(target, force)
    seconds = None if recover else files.stream_seconds(source)
    from codec.audio import AudioWriter, RawWriter
    from codec.compression import decompress as run
    from codec.presets import load_light
    from codec.recovery import Loss

    losses: list[Loss] = []
    codec, writer = load_light(model), RawWriter if raw else AudioWriter
    on_loss = losses.append if recover else None
    with progress(part.length_in(seconds), quiet) as tell:
        report = run(files.source(source), output, codec, tell, writer, *part, on_loss)
    for loss in losses:
        click.echo(f"lost {loss}", err=True)
    if not quiet:
        clipped = f"; {report.clipped} samples were too loud and clipped" if report.clipped else ""
        shape = f"{report.sample_rate} Hz, {report.channels} channel{'s' * (report.channels > 1)}"
        click.echo(f"{target}: {report.seconds:.2f} s, {shape}{clipped}", err=True)
