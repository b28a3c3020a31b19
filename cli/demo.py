"""`lamella demo`: compress a clip at every bitrate and compare."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import options
from cli.backend import use_one_core
from cli.files import open_sound, print_line

if TYPE_CHECKING:
    from codec.runtime.codec import NumpyCodec

HEADINGS = "bitrate      bytes    bit/s  log-mel distance"


@click.command(epilog=options.examples("lamella demo talk.wav --output demo-of-talk"))
@click.argument("audio", required=False, type=click.Path(path_type=Path))
@click.option(
    "--output", "-o", default="lamella-demo", metavar="DIR", help="Folder for the sounds.", show_default=True
)
@options.model
@options.force
def demo(audio: Path | None, output: str, model: str, force: bool) -> None:
    """Compress a clip at every bitrate and compare.

    AUDIO is a sound file; by default, it is a clip that comes with lamella. The output folder gets the original and,
    for each bitrate, a .lam file and a WAV file. The log-mel distance measures how far a sound is from the original:
    0 is no difference.
    """
    use_one_core()
    folder = Path(output)
    if not force and folder.is_dir() and any(folder.iterdir()):
        raise click.ClickException(f"{folder} is not empty; --force overwrites files in it")
    clip = audio or shipped_clip()
    open_sound(str(clip), None).close()
    from codec.presets import load

    codec = load(model)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(clip, folder / f"source{clip.suffix}")
    print_line(f"{clip.name}, the sounds go to {folder}\n{HEADINGS}")
    for num_codebooks in codec.config.shipped_codebooks:
        print_line(compare(codec, clip, num_codebooks, folder))


def shipped_clip() -> Path:
    """Return the first clip that comes with this installation; raise ClickException if there is none."""
    from codec.presets import samples

    clips = sorted(path for path in samples().glob("*") if path.suffix in (".flac", ".wav", ".ogg"))
    if not clips:
        raise click.ClickException("this installation has no clip; name a sound file of your own")
    return clips[0]


def compare(codec: NumpyCodec, clip: Path, num_codebooks: int, folder: Path) -> str:
    """Compress and decompress the clip, keep both files in the folder, and return a row of the table."""
    from codec.audio import AudioReader
    from codec.coding.compression import compress
    from codec.coding.decompression import decompress
    from codec.evaluation.metrics import mel_distance

    bitrate = options.format_bitrate(codec.config.bitrate_of(num_codebooks))
    compressed, decompressed = folder / f"{bitrate}.lam", folder / f"{bitrate}.wav"
    report = compress(clip, compressed, model=codec, num_codebooks=num_codebooks)
    decompress(compressed, decompressed, model=codec)
    with AudioReader(clip) as source, AudioReader(decompressed) as result:
        sounds = source.read(report.num_samples), result.read(report.num_samples)
    distance = mel_distance(*sounds, report.sample_rate)
    return f"{bitrate:>7}  {report.bytes:9}  {report.bitrate:7.0f}  {distance:16.3f}"
