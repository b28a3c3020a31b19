"""Options that several verbs share, and the values that they pass to a verb."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from codec.config import CodecConfig

DEFAULT_MODEL = "lamella-48k"

Verb = Callable[..., None]


class RawFormat(NamedTuple):
    """The format of 16-bit samples without a header."""

    sample_rate: int  # Hz
    channels: int


class RateOptions(NamedTuple):
    """How many bits to spend. At most one field may be set; if none is, the verb chooses."""

    bitrate: int | None = None  # bits per second and channel
    num_codebooks: int | None = None
    quality: float | None = None  # 0 to 10

    def check(self, config: CodecConfig) -> None:
        """Raise UsageError if several fields are set or the model does not have the rate."""
        if sum(value is not None for value in self) > 1:
            raise click.UsageError("give only one of --bitrate, --codebooks and --quality")
        if self.num_codebooks is not None and not 1 <= self.num_codebooks <= config.num_codebooks:
            raise click.UsageError(f"--codebooks {self.num_codebooks}: expected 1 to {config.num_codebooks}")
        if self.bitrate is not None and self.bitrate not in config.bitrates:
            supported = ", ".join(map(format_bitrate, config.bitrates))
            raise click.UsageError(
                f"--bitrate {format_bitrate(self.bitrate)}: this model supports {supported}"
            )


class Chunking(NamedTuple):
    """How long the chunks of a .lam file are and when they are written."""

    live: bool  # write each chunk as soon as its samples have arrived
    chunk_ms: int | None  # milliseconds; None: the default of the model
    packet: bool  # one frame in each chunk

    def frames_per_chunk(self, config: CodecConfig) -> int | None:
        """Return the length of a chunk in frames, or None for the default."""
        if self.packet:
            return 1
        return None if self.chunk_ms is None else config.frames_in(self.chunk_ms)


class Excerpt(NamedTuple):
    """The part of a sound to decompress, in seconds."""

    start: float
    end: float | None  # None: the end of the sound

    def length_in(self, seconds: float | None) -> float | None:
        """Return the length of this part of a sound of `seconds`, or None if it is not known."""
        ends = [end for end in (self.end, seconds) if end is not None]
        return max(0.0, min(ends) - self.start) if ends else None


class FileArguments(NamedTuple):
    """The files of a command line: IN and OUT, or any number of IN and an output folder."""

    names: tuple[str, ...]
    output_dir: Path | None

    def input_and_output(self) -> tuple[str, str]:
        """Return IN and OUT; raise UsageError unless there are exactly these two."""
        if len(self.names) != 2:
            raise click.UsageError("expected IN and OUT, or files and --output-dir DIR")
        return self.names[0], self.names[1]

    def inputs_and_outputs(self, folder: Path, ending: str) -> list[tuple[str, str]]:
        """Return each input file with its output file in the folder.

        Raises:
            UsageError: one of the inputs is a pipe.
            ClickException: two inputs have the same output, or an output is its own input.
        """
        if "-" in self.names:
            raise click.UsageError("--output-dir takes files; a pipe has no name to name the output after")
        inputs: dict[str, str] = {}
        for name in self.names:
            output = str(folder / (Path(name).stem + ending))
            if (other := inputs.setdefault(output, name)) is not name or output == name:
                raise click.ClickException(f"{other} and {name} would both be {output}; nothing was written")
        return [(name, output) for output, name in inputs.items()]


class FiniteRange(click.FloatRange):
    """A number in a range. Unlike its base class it refuses `nan` and `inf`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number; raise BadParameter if it is not finite or not in the range."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


def parse_bitrate(text: str) -> int:
    """Return bits per second for `6k`, `1.5k` or `6000`; raise BadParameter for anything else."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(k?)", text.strip().lower())
    if not match:
        raise click.BadParameter(f"{text!r} is not a bitrate; write 6k or 6000 for 6000 bits per second")
    return round(float(match[1]) * (1000 if match[2] else 1))


def format_bitrate(bitrate: int) -> str:
    """Return bits per second in the form that the command line accepts: 1500 -> `1.5k`."""
    return f"{bitrate / 1000:g}k"


def parse_time(text: str) -> float:
    """Return seconds for `62.5`, `1:02.5` or `1:00:02.5`; raise BadParameter for anything else."""
    if not re.fullmatch(r"(\d{1,6}:){0,2}\d{1,9}(\.\d{1,9})?", text.strip()):
        raise click.BadParameter(f"{text!r} is not a time; write 62.5 or 1:02.5 for a minute and 2.5 seconds")
    return functools.reduce(lambda seconds, field: 60 * seconds + float(field), text.split(":"), 0.0)


def examples(*lines: str) -> str:
    """Return command lines in the form in which click prints them at the end of a help text, one in a line."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def file_arguments(verb: Verb) -> Verb:
    """Add IN, OUT and --output-dir to a verb, which gets them as `files`: FileArguments."""

    @click.argument("names", metavar="IN OUT", nargs=-1, required=True)
    @click.option(
        "--output-dir",
        "-d",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="Write to this folder; then any number of IN may be given and no OUT.",
    )
    @functools.wraps(verb)
    def wrapper(*, names: tuple[str, ...], output_dir: Path | None, **arguments: object) -> None:
        return verb(files=FileArguments(names, output_dir), **arguments)

    return wrapper


def _bitrate_option(default: str = "") -> Callable[[Verb], Verb]:
    return click.option(
        "--bitrate",
        "-b",
        metavar="RATE",
        type=parse_bitrate,
        help=f"Bits per second and channel, such as 1.5k, 3k or 6k (see `lamella models`).{default}",
    )


_codebooks_option = click.option(
    "--codebooks",
    "num_codebooks",
    type=int,
    metavar="N",
    help="In place of --bitrate: the number of codes in each frame.",
)
_quality_option = click.option(
    "--quality",
    metavar="Q",
    type=FiniteRange(0, 10),
    help="In place of --bitrate: 0 to 10. Each chunk gets the bits that it needs; silence takes almost none. "
    "Speech takes about 3k at 4 and 6k at 6.",
)


def rate(verb: Verb) -> Verb:
    """Add --bitrate, --codebooks and --quality to a verb, which gets them as `rate`: RateOptions."""

    @_bitrate_option("  Default: 6k, or the model's nearest rate.")
    @_codebooks_option
    @_quality_option
    @functools.wraps(verb)
    def wrapper(
        *, bitrate: int | None, num_codebooks: int | None, quality: float | None, **arguments: object
    ) -> None:
        return verb(rate=RateOptions(bitrate, num_codebooks, quality), **arguments)

    return wrapper


def lower_rate(verb: Verb) -> Verb:
    """Add --bitrate and --codebooks, one of which is required, to a verb, which gets them as `rate`: RateOptions."""

    @_bitrate_option()
    @_codebooks_option
    @functools.wraps(verb)
    def wrapper(*, bitrate: int | None, num_codebooks: int | None, **arguments: object) -> None:
        if bitrate is None and num_codebooks is None:
            raise click.UsageError("the new rate is missing; give --bitrate RATE or --codebooks N")
        return verb(rate=RateOptions(bitrate, num_codebooks), **arguments)

    return wrapper


def chunking(verb: Verb) -> Verb:
    """Add --live, --chunk-ms and --packet to a verb, which gets them as `chunking`: Chunking."""

    @click.option("--live", is_flag=True, help="Write each chunk as soon as its samples have arrived.")
    @click.option(
        "--chunk-ms",
        metavar="MS",
        type=click.IntRange(20, 60_000),
        help="Length of a chunk in milliseconds.  [default: 1000 or more]",
    )
    @click.option(
        "--packet",
        is_flag=True,
        help="Lowest latency: implies --live; every 20 ms frame decodes on its own.",
    )
    @functools.wraps(verb)
    def wrapper(*, live: bool, chunk_ms: int | None, packet: bool, **arguments: object) -> None:
        if packet and chunk_ms is not None:
            raise click.UsageError("--packet is one frame; it cannot be combined with --chunk-ms")
        return verb(chunking=Chunking(live or packet, chunk_ms, packet), **arguments)

    return wrapper


def raw_input(verb: Verb) -> Verb:
    """Add --raw, --rate and --channels to a verb, which gets them as `raw_format`: RawFormat, or None."""

    @click.option("--raw", is_flag=True, help="IN is 16-bit little-endian PCM without a header.")
    @click.option("--rate", "sample_rate", type=int, metavar="HZ", help="Sample rate of raw input.")
    @click.option("--channels", type=int, metavar="N", help="Channels of raw input, interleaved.")
    @functools.wraps(verb)
    def wrapper(*, raw: bool, sample_rate: int | None, channels: int | None, **arguments: object) -> None:
        if raw and sample_rate and channels:
            return verb(raw_format=RawFormat(sample_rate, channels), **arguments)
        if raw or sample_rate is not None or channels is not None:
            raise click.UsageError("raw input needs all three of --raw, --rate HZ and --channels N")
        return verb(raw_format=None, **arguments)

    return wrapper


def excerpt(verb: Verb) -> Verb:
    """Add --start and --end to a verb, which gets them as `excerpt`: Excerpt."""

    @click.option("--start", type=parse_time, default="0", metavar="TIME", help="Start here: 62.5 or 1:02.5.")
    @click.option("--end", type=parse_time, metavar="TIME", help="Stop here.  [default: the end]")
    @functools.wraps(verb)
    def wrapper(*, start: float, end: float | None, **arguments: object) -> None:
        if end is not None and end <= start:
            raise click.UsageError(f"--end {end:g} s must be later than --start {start:g} s")
        return verb(excerpt=Excerpt(start, end), **arguments)

    return wrapper


effort = click.option(
    "--effort",
    type=click.IntRange(0, 3),
    default=2,
    show_default=True,
    metavar="N",
    help="How long to search for the best codes; more sounds a little better.",
)
model = click.option(
    "--model",
    "-m",
    metavar="NAME|DIR",
    default=DEFAULT_MODEL,
    show_default=True,
    help="The model: a name that `lamella models` lists, or a folder.",
)
model_of_file = click.option(
    "--model",
    "-m",
    metavar="NAME|DIR",
    help="Where to look first for the model that made the file, for models that `lamella models` does not list.",
)
runtime = click.option(
    "--runtime",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="For the page in the browser: the folder of the npm package onnxruntime-web, whose files it gets. Without it, "
    "the page fetches them from a public server (jsDelivr).",
)
force = click.option("--force", "-f", is_flag=True, help="Overwrite existing files.")
quiet = click.option("--quiet", "-q", is_flag=True, help="Print only errors.")
