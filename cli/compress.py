"""`lamella compress`: a sound file becomes a .lam file."""

from __future__ import annotations

import functools

import click

from cli import options, several
from cli.backend import use_one_core
from cli.jobs import compress_file


@click.command()
@options.places
@options.rate
@options.quality
@options.raw_input
@options.pace
@options.model
@options.force
@options.quiet
def compress(
    places: options.Places,
    bits: options.Rate,
    level: float | None,
    pcm: options.Pcm | None,
    pace: options.Pace,
    model: str,
    force: bool,
    quiet: bool,
) -> None:
    """Compress the sound file IN to the .lam file OUT, or each of several to a folder.

    Takes WAV, FLAC, OGG, Opus, MP3 and more, 1 to 8 channels, 8000 to 192000 Hz. Either side may be `-`, a pipe.
    Without --bitrate, --codebooks or --quality it is 6k, or of a model's own rates the nearest.

    \b
    lamella compress --bitrate 3k talk.wav talk.lam
    lamella compress --quality 6 talk.wav talk.lam
    lamella compress *.wav --output-dir small
    arecord -t raw -f S16_LE -r 16000 -c 1 | lamella compress --raw --rate 16000 --channels 1 --live - -
    """
    use_one_core()
    num_codebooks = options.choose_rate(options.config_of(model), bits, level)
    job = functools.partial(
        compress_file, num_codebooks=num_codebooks, pcm=pcm, pace=pace, model=model, force=force
    )
    several.run(job, places, ".lam", quiet)
