"""Formats that libsndfile does not read go through PyAV, if it is installed, and nothing else loads it."""

from __future__ import annotations

import io
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.sounds import audio_error, noise, read_all
from support.streams import Pipe

from codec.audio import AudioReader, AudioWriter
from codec.errors import CodecError

ROOT = Path(__file__).parents[2]
WILD = ROOT / "tests" / "wild"


def encoded(
    samples: np.ndarray, sample_rate: int, container: str, encoder: str, sample_format: str, layout: str
) -> bytes:
    """Return a file that PyAV wrote: samples [time, channels] of the type of the sample format."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(encoder, rate=sample_rate, layout=layout, format=sample_format)
        for start in range(0, len(samples), 1024):
            block = samples[start : start + 1024]
            planar = sample_format.endswith("p")
            packed = block.T if planar else block.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(packed), sample_format, layout)
            frame.sample_rate, frame.pts, frame.time_base = sample_rate, start, Fraction(1, sample_rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("container", "encoder", "sample_format", "dtype"),
    [
        ("wv", "wavpack", "u8p", np.uint8),
        ("wv", "wavpack", "s16p", np.int16),
        ("ipod", "alac", "s16p", np.int16),
        ("ipod", "alac", "s32p", np.int32),
        ("tta", "tta", "s16", np.int16),
        ("wv", "wavpack", "fltp", np.float32),
        ("matroska", "pcm_s16le", "s16", np.int16),
    ],
)
@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("stereo", 2)])
def test_lossless_formats_give_the_samples_exactly(
    container: str, encoder: str, sample_format: str, dtype: type, layout: str, channels: int
) -> None:
    sound = np.clip(noise(5001, channels), -1, 1)
    full, centre = {np.uint8: (128, 128), np.int16: (2**15, 0), np.int32: (2**31, 0), np.float32: (1, 0)}[
        dtype
    ]
    stored = (sound.astype(np.float64) * full * 0.99 + centre).astype(dtype)
    if dtype == np.int32:
        stored = stored >> 8 << 8  # 24 bits
    data = encoded(stored, 48000, container, encoder, sample_format, layout)
    expected = ((stored.astype(np.float64) - centre) / full).astype(np.float32)
    for stream in (io.BytesIO(data), Pipe(data, 1000)):
        reader = AudioReader(stream)  # type: ignore[arg-type]
        assert (reader.sample_rate, reader.channels) == (48000, channels)
        np.testing.assert_array_equal(read_all(reader), expected)


@pytest.mark.parametrize("name", ("speex.spx", "opus.webm", "aac.m4a", "aac.aac", "wma.wma", "wavpack.wv"))
def test_a_file_that_ends_early_is_refused(name: str) -> None:
    data = (WILD / name).read_bytes()
    for size in (len(data) // 4, len(data) // 2, len(data) - 1000):
        audio_error(io.BytesIO(data[:size]))


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)  # as if it were not installed
    message = audio_error(WILD / "aac.m4a")
    assert "aac.m4a: not a sound file that can be read (Format not recognised)" in message
    assert message.endswith("AAC, ALAC, WMA, Matroska and more need: pip install 'lamella[formats]'")


def test_usual_formats_do_not_load_it(tmp_path: Path) -> None:
    for ending in (".wav", ".flac", ".mp3", ".ogg"):
        with AudioWriter(tmp_path / f"a{ending}", 48000, 1) as writer:
            writer.write(noise(5000))
    code = (
        "import sys; from pathlib import Path; import codec; from codec.audio import AudioReader\n"
        f"files = sorted(Path({str(tmp_path)!r}).iterdir())\n"
        "assert len([len(AudioReader(path).read(100)) for path in files]) == 4\n"
        "sys.exit('av' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_disk_that_fails_is_reported_as_such() -> None:
    class Fails(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 3000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    for name, recover in (("aac.aac", False), ("aac.aac", True), ("truncated.mp3", True)):
        with pytest.raises(CodecError, match="cannot be read: Input/output error"):
            read_all(AudioReader(Fails((WILD / name).read_bytes()), recover))
