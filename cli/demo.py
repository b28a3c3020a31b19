"""`lamella demo`: hear and see what every bitrate does to a clip."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import files, options
from cli.backend import use_one_core

if TYPE_CHECKING:
    from codec.runtime.codec import NumpyCodec


@click.command()
@click.argument("audio", required=False, type=click.Path(path_type=Path))
@click.option("--output", "-o", default="lamella-demo", metavar="DIR", help="[default: lamella-demo]")
@options.model
@options.force
def demo(audio: Path | None, output: str, model: str, force: bool) -> None:
    """Compress a clip at every bitrate, decompress it, and compare.

    AUDIO is by default a clip that came with the installation. The log-mel distance is 0 for no difference.

    \b
    lamella demo talk.wav --output demo-of-talk
    """
    use_one_core()
    folder = Path(output)
    if not force and folder.is_dir() and any(folder.iterdir()):
        raise click.ClickException(f"{folder} is not empty; --force overwrites what is in it")
    clip = audio or files.shipped_clip()
    files.open_sound(str(clip), None).close()
    from codec.presets import load

    codec = load(model)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(clip, folder / f"source{clip.suffix}")
    click.echo(f"{clip.name}, the sounds go to {folder}\nbitrate      bytes    bit/s  log-mel distance")
    for count in codec.config.shipped_codebooks:
        click.echo(row(codec, clip, count, folder))


def row(codec: NumpyCodec, clip: Path, count: int, folder: Path) -> str:
    """Send the clip through the codec, leave both files in the folder, and give a line of the table."""
    from codec.audio import AudioReader
    from codec.coding.compression import compress, decompress
    from codec.evaluation.metrics import mel_distance

    name = options.show_bitrate(codec.config.bitrate_of(count))
    packed, decoded = (folder / f"{name}{ending}" for ending in (".lam", ".wav"))
    report = compress(clip, packed, codec, count)
    decompress(packed, decoded, codec)
    with AudioReader(clip) as source, AudioReader(decoded) as result:
        sounds = source.read(report.num_samples), result.read(report.num_samples)
    distance = mel_distance(*sounds, report.sample_rate)
    return f"{name:>7}  {report.bytes:9}  {report.bitrate:7.0f}  {distance:16.3f}"
