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
@options.model
@options.force
@options.quiet
def decompress(places: options.Places, raw: bool, model: str, force: bool, quiet: bool) -> None:
    """Decompress the .lam file IN to the sound file OUT, or each of several to WAV files in a folder.

    It has the length, sample rate and channels of what was compressed. The ending of OUT says the format: .wav, .flac,
    .ogg, .opus, .mp3, .aiff. Either side may be `-`, a pipe; to a pipe it writes WAV.

    \b
    lamella decompress talk.lam talk.wav
    lamella decompress *.lam --output-dir sounds
    """
    use_one_core()
    job = functools.partial(decompress_file, raw=raw, model=model, force=force)
    several.run(job, places, ".raw" if raw else ".wav", quiet)
