"""MPEG frames are counted, whatever an information frame before them states."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.sounds import audio_error, noise, read_all

from codec.audio import AudioReader

FRAMES = 100
SAMPLES = 1152  # in a frame
SIZE = 384  # bytes of a frame: 128 kbit/s at 48 kHz
HEADER = b"\xff\xfb\x94\xc4"  # MPEG-1, layer III, 128 kbit/s, 48 kHz, mono


def frames() -> bytes:
    """Return 100 frames without an information frame."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", 48000, 1, format="MP3", compression_level=0.6, bitrate_mode="CONSTANT"
    ) as file:
        file.write(noise(SAMPLES * (FRAMES + 4)))
    data = buffer.getvalue()
    start = data.index(data[:2], 4)
    size = data.index(data[start : start + 2], start + 4) - start
    return data[start : start + FRAMES * size]


SOUND = frames()


def information(tag: bytes, num_frames: int) -> bytes:
    """Return an information frame of the kind of `HEADER`."""
    if tag == b"VBRI":
        content = (
            bytes(32) + tag + struct.pack(">HHHIIHHHH", 1, 0, 0, SIZE * num_frames, num_frames, 0, 1, 2, 0)
        )
    else:
        content = bytes(17) + tag + struct.pack(">II", 1, num_frames)
    return (HEADER + content).ljust(SIZE, b"\0")


@pytest.mark.parametrize("tag", (b"Xing", b"Info", b"VBRI"))
@pytest.mark.parametrize("stated", (0, 1, FRAMES - 1, FRAMES, FRAMES + 1))
def test_all_frames_are_read_whatever_number_is_stated(tag: bytes, stated: int) -> None:
    """An encoder may count the information frame too."""
    expected = read_all(AudioReader(io.BytesIO(SOUND)))
    assert len(expected) == FRAMES * SAMPLES
    samples = read_all(AudioReader(io.BytesIO(information(tag, stated) + SOUND)))
    np.testing.assert_array_equal(samples, expected)


def test_fewer_frames_than_stated_are_refused() -> None:
    data = information(b"Xing", FRAMES + 2) + SOUND
    assert "truncated: holds 100 MPEG frames, expected 102" in audio_error(io.BytesIO(data))
    assert "truncated: the last MPEG frame holds" in audio_error(io.BytesIO(SOUND[:-5]))


@pytest.mark.parametrize(
    "tag",
    (
        b"TAG" + bytes(125),
        b"ID3\4\0\0\0\0\0\x0a" + bytes(10),
        b"APETAGEX" + struct.pack("<IIII8x", 2000, 42, 0, 1 << 29) + bytes(10) + b"APETAGEX" + bytes(24),
        b"LYRICSBEGIN" + bytes(50) + b"LYRICS200",
    ),
)
def test_tags_before_between_and_after_the_frames_are_left_out(tag: bytes) -> None:
    expected = read_all(AudioReader(io.BytesIO(SOUND + SOUND)))
    samples = read_all(AudioReader(io.BytesIO(SOUND + tag + SOUND + tag + tag)))
    assert len(samples) == 2 * FRAMES * SAMPLES
    np.testing.assert_array_equal(samples, expected)


def test_a_few_bytes_after_the_last_frame_are_no_sound() -> None:
    assert len(read_all(AudioReader(io.BytesIO(SOUND + bytes(5000))))) == FRAMES * SAMPLES
    assert "damaged: no MPEG frame at byte" in audio_error(io.BytesIO(SOUND + bytes(20_000)))


def test_many_tags_between_frames_are_refused() -> None:
    """Each takes memory."""
    frame = SOUND[: len(SOUND) // FRAMES]
    assert "damaged" in audio_error(io.BytesIO((frame + b"TAG" + bytes(125)) * 2000))


def test_very_many_sounds_in_one_file_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codec.audio.parts.MAX_PARTS", 3)  # in place of 10,000
    wild = Path(__file__).parents[1] / "wild"
    for name in ("joined.mp3", "chained.ogg", "joined.flac"):
        data = (wild / name).read_bytes()
        assert "more than 3 sounds one after another" in audio_error(io.BytesIO(data + data))
        read_all(AudioReader(io.BytesIO(data)))


@pytest.mark.parametrize("version", (1, 2))
@pytest.mark.parametrize("layer", (1, 2))
def test_silent_frames_of_layers_1_and_2_are_counted(version: int, layer: int) -> None:
    """The frames hold no bits for any band."""
    second = {(1, 1): 0xFF, (1, 2): 0xFD, (2, 1): 0xF7, (2, 2): 0xF5}[version, layer]
    header = bytes([0xFF, second, 0x84, 0xC0])  # 48 or 24 kHz, mono
    kilobits = {(1, 1): 256, (1, 2): 128, (2, 1): 128, (2, 2): 64}[version, layer]
    rate = 48_000 if version == 1 else 24_000
    length = 4 * (12_000 * kilobits // rate) if layer == 1 else 144_000 * kilobits // rate
    data = header.ljust(length, b"\0") * 50
    reader = AudioReader(io.BytesIO(data))
    assert (reader.sample_rate, len(read_all(reader))) == (rate, 50 * (384 if layer == 1 else 1152))
