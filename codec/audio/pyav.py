"""Read the formats that libsndfile does not, such as AAC, ALAC, WMA, WavPack and Matroska, with FFmpeg's decoders.

They come with PyAV, an optional package, which is imported only when a file needs it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from codec.audio.blocks import DamagedSound, truncated
from codec.errors import AudioError

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

EXTRA = "lamella[formats]"
FORMATS = (  # FFmpeg's names of the containers that are opened: no playlists, which name other files
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,loas,matroska,mov,mp3,mpc,mpc8,mpegts,ogg,"
    "rm,shn,tak,truehd,tta,voc,w64,wav,webm,wv"
)
STATES_LENGTH = (
    "ape",
    "asf",
    "caf",
    "mov",
    "matroska",
    "ogg",
    "tak",
    "tta",
    "wv",
)  # containers that state it
TOLERANCE = 0.1  # seconds that may be missing at the end: WMA states the delay of its encoder too


class PyavSource:
    """Read samples through PyAV.

    Args:
        file: a file that can seek, at its first byte.
        name: the file's name for messages.
        stack: closes what is opened here.
        skip_damage: leave out what cannot be decoded, and take any end as the end of the sound.

    Attributes:
        num_samples: with `skip_damage` what the file states, else None.

    Raises:
        AudioError: PyAV does not read it, or the file has no sound or several sounds.
        ImportError: PyAV is not installed.
    """

    def __init__(
        self, file: BinaryIO, name: str, stack: contextlib.ExitStack, skip_damage: bool = False
    ) -> None:
        import av

        self._error: type[Exception] = av.error.FFmpegError
        self._name, self._position = name, 0
        self.num_samples: int | None = None
        with self._naming("not a sound file that can be read", AudioError):
            options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
            self._container: Any = stack.enter_context(
                av.open(file, options=options, metadata_errors="replace")
            )
        streams = self._container.streams.audio
        if len(streams) != 1:
            raise AudioError(f"{name}: holds {len(streams)} sounds, expected one")
        self._stream = streams[0]
        if self._stream.codec_context is None:
            raise AudioError(f"{name}: not a sound file that can be read (no decoder for its encoding)")
        self._stream.codec_context.thread_count = 1
        if skip_damage:
            self._stream.codec_context.options = {"err_detect": "crccheck+explode"}
        self._frames = self._undamaged() if skip_damage else self._decoded()
        with self._naming("damaged or truncated at its first sample"):
            self._rest = _samples(first) if (first := next(self._frames, None)) else None
        if first is None or self._rest is None:
            raise AudioError(f"{name}: holds no samples, expected a sound file")
        self.sample_rate, self.channels = first.sample_rate, self._rest.shape[1]
        self._skip_damage = skip_damage
        if skip_damage and (stated := self._stated_seconds()) is not None:
            self.num_samples = round(stated * self.sample_rate)

    def read(self, count: int) -> np.ndarray:
        """Read `count` samples, float32 [time, channels], fewer only at the end; AudioError if that is early."""
        blocks = [np.zeros((0, self.channels), np.float32)]
        missing = count
        while missing > 0 and self._rest is not None:
            blocks.append(self._rest[:missing])
            missing -= len(blocks[-1])
            self._rest = self._rest[len(blocks[-1]) :] if len(self._rest) else self._next()
        self._position += count - missing
        if missing and not self._skip_damage:
            self._check_end()
        return np.concatenate(blocks)

    def _next(self) -> np.ndarray | None:
        """Return the samples of the next frame, None at the end."""
        with self._naming(f"damaged or truncated after sample {self._position}"):
            frame = next(self._frames, None)
        if frame is None:
            return None
        samples = _samples(frame)
        if (frame.sample_rate, samples.shape[1]) != (self.sample_rate, self.channels):
            raise AudioError(
                f"{self._name}: changes to {samples.shape[1]} channels at {frame.sample_rate} Hz, "
                f"expected {self.channels} at {self.sample_rate} Hz to the end"
            )
        return samples

    def _decoded(self) -> Iterator[AudioFrame]:
        for packet in self._container.demux(self._stream):
            if packet.is_corrupt:
                raise DamagedSound(f"{self._name}: damaged or truncated near sample {self._position}")
            yield from packet.decode()

    def _undamaged(self) -> Iterator[AudioFrame]:
        """Yield the frames that can be decoded, up to the end or to where FFmpeg finds no more packets."""
        packets = self._container.demux(self._stream)
        while (packet := self._or_none(lambda: next(packets, None))) is not None:
            if not packet.is_corrupt:
                yield from self._or_none(packet.decode) or ()

    def _or_none(self, operation: Callable[[], Any]) -> Any:
        """Return the result of an operation of PyAV, None if it finds damage."""
        try:
            return operation()
        except (self._error, ValueError):
            return None

    def _check_end(self) -> None:
        """Raise AudioError if the sound is shorter than the file states."""
        stated, seconds = self._stated_seconds(), self._position / self.sample_rate
        if stated is not None and seconds < stated - TOLERANCE:
            raise truncated(self._name, f"ends after {seconds:.3f} seconds, expected {stated:.3f}")

    def _stated_seconds(self) -> float | None:
        """Return the length that the file states; None where FFmpeg only estimates it."""
        if not set(self._container.format.name.split(",")) & set(STATES_LENGTH):
            return None
        if self._stream.duration is not None and self._stream.time_base is not None:
            return float(self._stream.duration * self._stream.time_base)
        if self._container.duration is not None and len(self._container.streams) == 1:
            return self._container.duration / 1e6
        return None

    @contextlib.contextmanager
    def _naming(self, problem: str, kind: type[AudioError] = DamagedSound) -> Iterator[None]:
        try:
            yield
        except (self._error, ValueError) as error:  # ValueError: from PyAV itself
            message = str(getattr(error, "strerror", None) or error)
            raise kind(f"{self._name}: {problem} ({message})") from error


def _samples(frame: AudioFrame) -> np.ndarray:
    """Return the samples of a frame, float32 [time, channels], full scale -1 .. 1."""
    samples: Any = frame.to_ndarray()
    planar = frame.format.is_planar
    samples = samples.T if planar else samples.reshape(-1, frame.layout.nb_channels)
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    bits = 8 * samples.dtype.itemsize
    centre = 128 if samples.dtype == np.uint8 else 0
    return ((samples.astype(np.float64) - centre) / 2.0 ** (bits - 1)).astype(np.float32)
