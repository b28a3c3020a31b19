"""The training corpus: any folder of audio -> one int16 cache on disk -> Corpus.

    folder --build_cache--> audio.int16 + index.json --> Corpus (training files, held-out files, samples)

Every file is read once in blocks, mixed down to mono, resampled and appended to one file, which is then mapped into
memory. So memory does not grow with the corpus, and drawing a segment costs a few page reads.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import soundfile
import soxr

from codec.errors import AudioError, CodecError
from codec.files import replacing, write_atomically

INDEX_VERSION = 1
AUDIO_NAME, INDEX_NAME = "audio.int16", "index.json"
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats() if name != "RAW"}
SUFFIXES |= {".aif", ".aifc", ".oga", ".opus", ".mp2", ".snd", ".wave"}

BLOCK = 1 << 18  # source samples per read
FULL_SCALE = 32768.0  # int16 value of a sample of 1.0
SILENT_PEAK = 1e-3  # files with a lower peak are skipped
SHORTEST = 0.5  # seconds; shorter files are skipped
HELD_OUT_SHARE = 0.02  # of the files
HELD_OUT_LIMIT = 1800  # seconds

Index = dict[str, Any]  # what index.json holds: version, sample_rate, bytes, sources, files, skipped


@dataclass(frozen=True)
class AudioFile:
    """One file of the corpus, and the place of its samples in the cache.

    Attributes:
        path: relative to the folder.
        start: first sample in the cache.
        length: samples.
        group: name of the folder that it belongs to.
        held_out: True for a file that is never trained on.
    """

    path: str
    start: int
    length: int
    group: str
    held_out: bool = False


@dataclass(frozen=True)
class Corpus:
    """All files and their samples (int16 [time], memory-mapped) at one sample rate (Hz)."""

    files: tuple[AudioFile, ...]
    samples: np.ndarray
    sample_rate: int

    @cached_property
    def train(self) -> FileSet:
        """Return the training files."""
        return FileSet([file for file in self.files if not file.held_out])

    @cached_property
    def held_out(self) -> FileSet:
        """Return the files that are never trained on."""
        return FileSet([file for file in self.files if file.held_out])

    @property
    def hours(self) -> float:
        """Return the hours of audio, including held-out files."""
        return sum(file.length for file in self.files) / self.sample_rate / 3600


class FileSet:
    """A set of files to draw from: first a group by the square root of its duration, then a file by its duration."""

    def __init__(self, files: Sequence[AudioFile]) -> None:
        self._files = tuple(files)
        self.groups: tuple[str, ...] = tuple(sorted({file.group for file in files}))
        self._members = [[file for file in files if file.group == group] for group in self.groups]
        self._ends = [np.cumsum([file.length for file in members]) for members in self._members]
        self._group_ends = np.cumsum([np.sqrt(ends[-1]) for ends in self._ends])

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[AudioFile]:
        return iter(self._files)

    def draw_group(self, rng: np.random.Generator) -> int:
        """Draw an index into `groups`."""
        return int(np.searchsorted(self._group_ends, rng.random() * self._group_ends[-1], side="right"))

    def draw_file(self, rng: np.random.Generator, group: int) -> AudioFile:
        """Draw a file from a group, with a probability proportional to its length."""
        ends = self._ends[group]
        return self._members[group][int(np.searchsorted(ends, rng.integers(ends[-1]), side="right"))]


class _Skipped(Exception):
    """Raised for a file that is left out; the message is the reason."""


class _SourceFile(NamedTuple):
    """A file of the folder: relative path, size (bytes), time of change (ns)."""

    path: str
    size: int
    changed: int


def build_cache(folder: Path, cache_dir: Path, sample_rate: int, say: Callable[[str], None]) -> Corpus:
    """Read every audio file below a folder once into `cache_dir`, or reuse the cache of an earlier call.

    The cache is reused if the sample rate and the paths, sizes and times of change of all files are the same. Silent,
    unreadable and very short files are skipped.

    Args:
        folder: searched with its subfolders.
        cache_dir: made if it does not exist.
        sample_rate: Hz, of the cache.
        say: receives lines for the user.

    Raises:
        AudioError: the folder holds no usable audio, or the cache cannot be written.
    """
    sources = _find_sources(folder)
    index = _read_index(cache_dir)
    if not _matches(index, sources, sample_rate, cache_dir):
        say(f"reading {len(sources):,} audio files of {folder} (once; kept in {cache_dir})")
        try:
            index = _write_cache(folder, cache_dir, sources, sample_rate, say)
        except AudioError:
            raise
        except (OSError, CodecError) as error:
            raise AudioError(f"cannot write the audio cache in {cache_dir}: {error}") from error
    corpus = Corpus(
        files=tuple(AudioFile(**entry) for entry in index["files"]),
        samples=np.memmap(cache_dir / AUDIO_NAME, np.int16, "r"),
        sample_rate=sample_rate,
    )
    for line in _describe(corpus, index["skipped"]):
        say(line)
    return corpus


def _find_sources(folder: Path) -> list[_SourceFile]:
    """Return all files with an audio suffix, sorted by path; a folder linked twice counts once."""
    sources, seen = [], set()
    for directory, subfolders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(directory)
        subfolders[:] = (
            [] if real in seen else sorted(name for name in subfolders if not name.startswith("."))
        )
        names = [] if real in seen else names
        seen.add(real)
        for name in names:
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("."):
                sources.append(_stat(folder, Path(directory, name)))
    if not sources:
        raise AudioError(f"no audio found in {folder}: expected files like .wav, .flac, .ogg or .mp3")
    sources = sorted(sources)
    if not _has_own_split(sources):
        return sources
    return [source for source in sources if _top(source.path) in ("train", "valid")]


def _stat(folder: Path, path: Path) -> _SourceFile:
    """Return the facts about a file, following links; a dangling link has size -1 and is unreadable later."""
    relative = path.relative_to(folder).as_posix()
    try:
        status = path.stat()
    except OSError:
        return _SourceFile(relative, -1, 0)
    return _SourceFile(relative, status.st_size, status.st_mtime_ns)


def _read_index(cache_dir: Path) -> Index:
    """Return the index of an earlier call; {} if there is none that can be read."""
    try:
        index = json.loads((cache_dir / INDEX_NAME).read_text())
    except (OSError, ValueError):
        return {}
    return index if isinstance(index, dict) else {}


def _matches(index: Index, sources: list[_SourceFile], sample_rate: int, cache_dir: Path) -> bool:
    """Return True if an index and its audio file still describe these sources."""
    if (index.get("version"), index.get("sample_rate")) != (INDEX_VERSION, sample_rate):
        return False
    audio = cache_dir / AUDIO_NAME
    found = [list(source) for source in sources]
    return index.get("sources") == found and audio.is_file() and audio.stat().st_size == index.get("bytes")


def _write_cache(
    folder: Path, cache_dir: Path, sources: list[_SourceFile], sample_rate: int, say: Callable[[str], None]
) -> Index:
    """Write the audio and then its index; each replaces an older file only when it is complete."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    (cache_dir / INDEX_NAME).unlink(missing_ok=True)
    with replacing(cache_dir / AUDIO_NAME) as beside:
        with open(beside, "wb") as target:
            files, skipped = _append_all(folder, sources, sample_rate, target, say)
        _require_some(folder, files, skipped)
        num_bytes = beside.stat().st_size
    index = {
        "version": INDEX_VERSION,
        "sample_rate": sample_rate,
        "bytes": num_bytes,
        "sources": [list(source) for source in sources],
        "files": [asdict(file) for file in _split(files, sample_rate)],
        "skipped": skipped,
    }
    write_atomically(cache_dir / INDEX_NAME, json.dumps(index).encode())
    return index


def _append_all(
    folder: Path, sources: list[_SourceFile], sample_rate: int, target: BinaryIO, say: Callable[[str], None]
) -> tuple[list[AudioFile], dict[str, list[str]]]:
    """Append every usable source to the target; return the files, and the skipped paths by reason."""
    files: list[AudioFile] = []
    skipped: dict[str, list[str]] = {}
    own_split = _has_own_split(sources)
    for count, source in enumerate(sources, 1):
        start = target.tell()
        try:
            length = _append(folder / source.path, sample_rate, target)
        except _Skipped as reason:
            target.seek(start)
            target.truncate()
            skipped.setdefault(str(reason), []).append(source.path)
        else:
            files.append(AudioFile(source.path, start // 2, length, _group(source.path, own_split)))
        if count % 1000 == 0:
            hours = target.tell() / 7200 / sample_rate
            say(f"read {count:,} of {len(sources):,} files, {hours:.1f} hours")
    return files, skipped


def _append(path: Path, sample_rate: int, target: BinaryIO) -> int:
    """Append one file to the target and return its length in samples; raises _Skipped."""
    length, peak = 0, 0
    for block in _int16_blocks(path, sample_rate):
        target.write(block.tobytes())
        length += len(block)
        peak = max(peak, int(np.abs(block.astype(np.int32)).max(initial=0)))
    if length < SHORTEST * sample_rate:
        raise _Skipped(f"shorter than {SHORTEST} s")
    if peak < SILENT_PEAK * FULL_SCALE:
        raise _Skipped("silent")
    return length


def _int16_blocks(path: Path, sample_rate: int) -> Iterator[np.ndarray]:
    """Yield a file as mono int16 blocks [time] at `sample_rate` (Hz); raises _Skipped if it cannot be read."""
    try:
        with soundfile.SoundFile(path) as source:
            resampler = soxr.ResampleStream(source.samplerate, sample_rate, 1, dtype="float32", quality="HQ")
            while len(block := source.read(BLOCK, dtype="float32", always_2d=True)):
                mono = block.mean(axis=1)
                if not np.isfinite(mono).all():
                    raise _Skipped("unreadable")
                yield _to_int16(mono if source.samplerate == sample_rate else resampler.resample_chunk(mono))
            if source.samplerate != sample_rate:
                yield _to_int16(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    except (soundfile.SoundFileError, OSError, ValueError, RuntimeError) as error:
        raise _Skipped("unreadable") from error


def _to_int16(samples: np.ndarray) -> np.ndarray:
    """Round float samples in -1 .. 1 to int16, with saturation."""
    return np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def _require_some(folder: Path, files: list[AudioFile], skipped: dict[str, list[str]]) -> None:
    """Raise AudioError if every file was skipped."""
    if not files:
        raise AudioError(f"no usable audio in {folder}: {', '.join(_count_skipped(skipped))}")


def _top(path: str) -> str:
    """Return the top-level folder of a relative path; "" for a file of the folder itself."""
    return path.split("/")[0] if "/" in path else ""


def _has_own_split(sources: Sequence[_SourceFile]) -> bool:
    """Return True if the folder brings its own split: top-level folders `train` and `valid`."""
    return {"train", "valid"} <= {_top(source.path) for source in sources}


def _group(path: str, own_split: bool) -> str:
    """Return the group of a file: its top-level folder, below `train` or `valid` if the folder has those."""
    return _top(path.split("/", 1)[1] if own_split else path)


def _split(files: list[AudioFile], sample_rate: int) -> list[AudioFile]:
    """Mark the held-out files: those in `valid`, or about 2 % by a hash of the path."""
    if {"train", "valid"} <= {_top(file.path) for file in files}:  # both with usable files
        return [_held(file) if _top(file.path) == "valid" else file for file in files]
    chosen = _choose_held_out(files, HELD_OUT_LIMIT * sample_rate)
    return [_held(file, chosen[file.path]) if file.path in chosen else file for file in files]


def _choose_held_out(files: list[AudioFile], limit: int) -> dict[str, int]:
    """Choose held-out paths in the order of their hashes, and the samples to use of each, `limit` at most in all."""
    if len(files) < 2:
        return {}
    chosen: dict[str, int] = {}
    for file in sorted(files, key=lambda file: _hash(file.path)):
        if chosen and (_hash(file.path) >= HELD_OUT_SHARE or len(chosen) >= len(files) // 2):
            break
        if sum(chosen.values()) + file.length <= limit:
            chosen[file.path] = file.length
    if not chosen:  # every file is longer than the limit
        shortest = min(files, key=lambda file: file.length)
        chosen[shortest.path] = limit
    return chosen


def _hash(path: str) -> float:
    """Map a path to 0 .. 1, the same on every machine and independent of other files."""
    digest = hashlib.sha256(os.fsencode(path)).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64


def _held(file: AudioFile, length: int | None = None) -> AudioFile:
    """Return the file marked as held out and cut to a length in samples."""
    return AudioFile(file.path, file.start, length or file.length, file.group, held_out=True)


def _describe(corpus: Corpus, skipped: dict[str, list[str]]) -> Iterator[str]:
    """Yield lines that describe the corpus and what was skipped."""
    samples: Counter[str] = Counter()
    for file in corpus.files:
        samples[file.group] += file.length
    groups = ", ".join(
        f"{group} {count / corpus.sample_rate / 3600:.2f} h" for group, count in samples.items() if group
    )
    held_out = sum(file.length for file in corpus.held_out) / corpus.sample_rate / 60
    yield (
        f"{len(corpus.files):,} files, {corpus.hours:.2f} hours{f' ({groups})' if groups else ''}; "
        f"{len(corpus.held_out):,} files ({held_out:.1f} minutes) are held out"
    )
    if skipped:
        yield "skipped: " + ", ".join(_count_skipped(skipped))


def _count_skipped(skipped: dict[str, list[str]]) -> list[str]:
    """Return how many files were skipped for each reason, with one example."""
    return [f"{len(paths):,} {reason} (as {paths[0]})" for reason, paths in sorted(skipped.items())]
