"""Options that several verbs share."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from codec.coding.rate_control import Quality
    from codec.config import CodecConfig

DEFAULT_MODEL = "lamella-48k"
DEFAULT_BITRATE = 6000  # bits per second and channel

Verb = Callable[..., None]


class Pcm(NamedTuple):
    """What a stream of samples without a header does not tell."""

    sample_rate: int  # Hz
    channels: int


class Rate(NamedTuple):
    """How many bits to spend, as the command line has it: one of the two, or none."""

    bitrate: int | None  # bits per second and channel
    codebooks: int | None


class Part(NamedTuple):
    """Seconds of a sound; no end: to its end."""

    start: float
    end: float | None

    def length_in(self, seconds: float | None) -> float | None:
        """How long it is in a sound of so many seconds; None where nothing tells."""
        ends = [end for end in (self.end, seconds) if end is not None]
        return max(0.0, min(ends) - self.start) if ends else None


def parse_bitrate(text: str) -> int:
    """Read bits per second as people write them: `6k`, `1.5k`, `6000`; raises BadParameter for anything else."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(k?)", text.strip().lower())
    if not found:
        raise click.BadParameter(f"{text!r} is not a bitrate; write 6k or 6000 for 6000 bits per second")
    return round(float(found[1]) * (1000 if found[2] else 1))


def parse_time(text: str) -> float:
    """Read seconds as people write them: `62.5`, `1:02.5`, `1:00:02.5`; raises BadParameter for anything else."""
    if not re.fullmatch(r"(\d{1,6}:){0,2}\d{1,9}(\.\d{1,9})?", text.strip()):
        raise click.BadParameter(f"{text!r} is not a time; write 62.5 or 1:02.5 for a minute and 2.5 seconds")
    return functools.reduce(lambda seconds, part: 60 * seconds + float(part), text.split(":"), 0.0)


def show_bitrate(bitrate: int) -> str:
    """Write bits per second as the command line takes them: 1500 -> `1.5k`."""
    return f"{bitrate / 1000:g}k"


def config_of(model: str) -> CodecConfig:
    """The sizes of a model, without its weights; raises PresetError if there is no such model."""
    from codec.config import CodecConfig
    from codec.presets import find_preset

    return CodecConfig.from_json((find_preset(model) / "config.json").read_text(encoding="utf-8"))


def choose_codebooks(config: CodecConfig, rate: Rate) -> int:
    """Turn the options that say how many bits to spend into a number of codebooks; by default the rate nearest to 6k.

    Raises:
        UsageError: both are given, or the model has no such rate; says which it has.
    """
    bitrate, codebooks = rate
    if bitrate is not None and codebooks is not None:
        raise click.UsageError("give --bitrate or --codebooks, not both")
    if codebooks is not None:
        if not 1 <= codebooks <= config.num_codebooks:
            raise click.UsageError(f"--codebooks {codebooks}: this model takes 1 to {config.num_codebooks}")
        return codebooks
    if bitrate is None:
        bitrate = min(config.bitrates, key=lambda rate: abs(rate - DEFAULT_BITRATE))
    if bitrate not in config.bitrates:
        known = ", ".join(map(show_bitrate, config.bitrates))
        raise click.UsageError(f"--bitrate {show_bitrate(bitrate)}: this model takes {known}")
    return config.num_codebooks_for(bitrate)


def choose_rate(config: CodecConfig, rate: Rate, level: float | None) -> int | Quality:
    """A number of codebooks for all chunks, or with a level of quality each chunk's own; UsageError for both."""
    if level is None:
        return choose_codebooks(config, rate)
    if rate != (None, None):
        raise click.UsageError("give --quality, --bitrate or --codebooks, not two of them")
    from codec.coding.rate_control import Quality

    return Quality(level)


class Places(NamedTuple):
    """Where to read and write: IN and OUT, or several files and a folder."""

    names: tuple[str, ...]
    folder: Path | None

    def pair(self) -> tuple[str, str]:
        """IN and OUT; raises UsageError unless there are just these two."""
        if len(self.names) != 2:
            raise click.UsageError("give IN and OUT, or files and --output-dir DIR")
        return self.names[0], self.names[1]

    def pairs(self, folder: Path, ending: str) -> list[tuple[str, str]]:
        """Each file and where it goes in the folder.

        Raises:
            UsageError: one of them is a pipe.
            ClickException: two would go to the same place, or one to where it is.
        """
        if "-" in self.names:
            raise click.UsageError("--output-dir takes files; a pipe has no name to keep")
        sources: dict[str, str] = {}
        for source in self.names:
            target = str(folder / (Path(source).stem + ending))
            if (other := sources.setdefault(target, source)) is not source or target == source:
                raise click.ClickException(f"{other} and {source} would both be {target}; nothing was done")
        return [(source, target) for target, source in sources.items()]


def places(verb: Verb) -> Verb:
    """Give a verb its files as one argument `places`: Places."""

    @click.argument("names", metavar="IN OUT", nargs=-1, required=True)
    @click.option(
        "--output-dir",
        "-d",
        "folder",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="Take any number of IN, no OUT.",
    )
    @functools.wraps(verb)
    def wrapper(*, names: tuple[str, ...], folder: Path | None, **arguments: object) -> None:
        return verb(places=Places(names, folder), **arguments)

    return wrapper


def rate(verb: Verb) -> Verb:
    """Give a verb --bitrate and --codebooks as one argument `bits`: Rate."""

    @click.option(
        "--bitrate",
        "-b",
        metavar="RATE",
        type=parse_bitrate,
        help="Bits per second and channel: 1.5k, 3k, 6k, 12k or 15k.",
    )
    @click.option(
        "--codebooks", type=int, metavar="N", help="In place of --bitrate: N times 500 bits per second."
    )
    @functools.wraps(verb)
    def wrapper(*, bitrate: int | None, codebooks: int | None, **arguments: object) -> None:
        return verb(bits=Rate(bitrate, codebooks), **arguments)

    return wrapper


quality = click.option(
    "--quality",
    "level",
    metavar="Q",
    type=click.FloatRange(0, 10),
    help="In place of --bitrate: as many bits as each chunk is worth, 0 to 10. Of speech 4 makes about 3k, 6 about 6k.",
)


class Pace(NamedTuple):
    """How soon chunks are written, how long they are, and how long the search for codes takes."""

    live: bool
    chunk_ms: int | None  # None: as a file has them; 0: a frame
    effort: int  # 0 .. 3


def pace(verb: Verb) -> Verb:
    """Give a verb --live, --chunk-ms, --packet and --effort as one argument `pace`: Pace."""

    @click.option("--live", is_flag=True, help="Write each chunk as soon as its samples have come.")
    @click.option(
        "--chunk-ms",
        metavar="MS",
        type=click.IntRange(20, 60_000),
        help="Length of a chunk.  [default: 1000 or more]",
    )
    @click.option(
        "--packet", is_flag=True, help="Live, each frame of 20 ms a chunk that depends on no other."
    )
    @click.option(
        "--effort",
        type=click.IntRange(0, 3),
        default=2,
        show_default=True,
        help="Search for codes with 1, 2, 4 or 8 candidates: more take longer and sound a little better.",
    )
    @functools.wraps(verb)
    def wrapper(*, live: bool, chunk_ms: int | None, packet: bool, effort: int, **arguments: object) -> None:
        if packet and chunk_ms is not None:
            raise click.UsageError("--packet is one frame, so it does not go with --chunk-ms")
        length = 0 if packet else chunk_ms
        return verb(pace=Pace(live or packet, length, effort), **arguments)

    return wrapper


def raw_input(verb: Verb) -> Verb:
    """Give a verb --raw, --rate and --channels as one argument `pcm`: Pcm, or None for sound files."""

    @click.option("--raw", is_flag=True, help="IN is 16-bit little-endian PCM without a header.")
    @click.option("--rate", type=int, metavar="HZ", help="Sample rate of raw input.")
    @click.option("--channels", type=int, metavar="N", help="Channels of raw input, interleaved.")
    @functools.wraps(verb)
    def wrapper(*, raw: bool, rate: int | None, channels: int | None, **arguments: object) -> None:
        if raw and rate and channels:
            return verb(pcm=Pcm(rate, channels), **arguments)
        if raw or rate is not None or channels is not None:
            raise click.UsageError("raw input takes all three: --raw --rate HZ --channels N")
        return verb(pcm=None, **arguments)

    return wrapper


def part(verb: Verb) -> Verb:
    """Give a verb --start and --end as one argument `part`: Part."""

    @click.option("--start", type=parse_time, default="0", metavar="TIME", help="Begin here: 62.5 or 1:02.5.")
    @click.option("--end", type=parse_time, metavar="TIME", help="End here.")
    @functools.wraps(verb)
    def wrapper(*, start: float, end: float | None, **arguments: object) -> None:
        if end is not None and end <= start:
            raise click.UsageError(f"--end {end:g} s must lie behind --start {start:g} s")
        return verb(part=Part(start, end), **arguments)

    return wrapper


model = click.option(
    "--model",
    "-m",
    metavar="NAME|DIR",
    default=DEFAULT_MODEL,
    show_default=True,
    help="A model: its name (see `lamella models`) or its folder.",
)
force = click.option("--force", "-f", is_flag=True, help="Overwrite what exists.")
quiet = click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors.")
