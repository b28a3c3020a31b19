"""`lamella decompress`: a .lam file becomes sound again."""

from __future__ import annotations

import functools

import click

from cli import options, several
from cli.backend import use_one_core
from cli.jobs import decompress_file


@click.command()
@options.places
@click.option("--raw", is_flag=True, help="Write 16-bit little-endian PCM without a header.")
@options.part
@click.option("--recover", is_flag=True, help="Make the most of a damaged or cut file; say what is lost.")
@options.model
@options.force
@options.quiet
def decompress(
    places: options.Places,
    raw: bool,
    part: options.Part,
    recover: bool,
    model: str,
    force: bool,
    quiet: bool,
) -> None:
    """Decompress the .lam file IN to the sound file OUT, or each of several to WAV files in a folder.

    It has the length, sample rate and channels of what was compressed. The ending of OUT says the format: .wav, .flac,
    .ogg, .opus, .mp3, .aiff. Either side may be `-`, a pipe; to a pipe it writes WAV.

    \b
    lamella decompress talk.lam talk.wav
    lamella decompress *.lam --output-dir sounds
    lamella decompress --start 1:02.5 --end 1:10 talk.lam part.wav
    """
    use_one_core()
    job = functools.partial(decompress_file, raw=raw, part=part, recover=recover, model=model, force=force)
    several.run(job, places, ".raw" if raw else ".wav", quiet)
