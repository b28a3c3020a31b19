"""Make the files of this folder again: `python tests/wild/make.py`. Needs ffmpeg.

Another version of ffmpeg makes other bytes, so the numbers in `test_wild.py` may have to be changed with them.
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SPEECH = HERE.parents[1] / "assets" / "samples" / "1-speech.flac"
NO_TAGS = ("-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact")
PLAIN_MP3 = ("-write_xing", "0", "-id3v2_version", "0")


def encoded(ending: str, seconds: float, *options: str) -> bytes:
    """Return the first seconds of the speech sample, encoded by ffmpeg."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"a{ending}"
        command = [
            "ffmpeg",
            "-v",
            "error",
            "-t",
            str(seconds),
            "-i",
            str(SPEECH),
            *options,
            *NO_TAGS,
            str(target),
        ]
        subprocess.run(command, check=True)
        return target.read_bytes()


def odd_rate_flac(sample_rate: int, num_samples: int) -> bytes:
    """Return a FLAC stream of a rate that encoders refuse; frames of 4,096 equal samples (RFC 9639, section 9.2.3)."""
    info = struct.pack(">HH6xQ16x", 4096, 4096, sample_rate << 44 | 15 << 36 | num_samples)
    frames = b""
    for number in range(-(-num_samples // 4096)):
        size = min(4096, num_samples - 4096 * number)
        head = bytes([0xFF, 0xF8, 0x70, 0x08, number]) + struct.pack(">H", size - 1)
        body = head + bytes([_crc(head, 8, 0x07)]) + bytes([0x00]) + struct.pack(">h", 1000 * (number + 1))
        frames += body + struct.pack(">H", _crc(body, 16, 0x8005))
    return b"fLaC\x80\0\0\x22" + info + frames


def _crc(data: bytes, width: int, polynomial: int) -> int:
    value = 0
    for byte in data:
        value ^= byte << (width - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> (width - 1) else 0)) & (1 << width) - 1
    return value


def wav(num_samples: int, data_size: int | None = None) -> bytes:
    """Return a WAV file of noise at 8 kHz; its data chunk states another size if one is given."""
    samples = (np.random.default_rng(0).standard_normal(num_samples) * 3000).astype("<i2").tobytes()
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16)
    stated = len(samples) if data_size is None else data_size
    body = b"WAVE" + layout + struct.pack("<4sI", b"data", stated) + samples
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def odd_aiff() -> bytes:
    """Return an AIFF file without sound whose last chunk makes libsndfile seek before the beginning of the file."""
    common = struct.pack(">4sIhIh10s", b"COMM", 18, 1, 400, 16, bytes.fromhex("400bfa00000000000000"))
    chunks = struct.pack(">4sI4x4sI11x", b"FVER", 0, b"PEAK", 100)
    return struct.pack(">4sI4s", b"FORM", 0xFFFFFFFF, b"AIFF") + common + chunks


def mp3_files() -> dict[str, bytes]:
    """Return the MP3 files by name."""
    half = encoded(".mp3", 1.5, "-q:a", "7", "-ar", "24000")
    plain = encoded(".mp3", 1.5, "-q:a", "7", "-ar", "24000", *PLAIN_MP3)
    rest = half[10 + half[9] :]  # without the tag
    tag = b"ID3\4\0\0\0\0\x17\x70" + bytes(3056)
    hole = bytearray(plain)
    hole[3000:4000] = bytes(1000)
    wrong = bytearray(half)
    place = half.index(b"Xing") + 12  # the size of the stream
    wrong[place : place + 4] = (100).to_bytes(4, "big")
    return {
        "vbr-without-xing.mp3": encoded(".mp3", 5, "-q:a", "9", *PLAIN_MP3),
        "joined.mp3": half + half,
        "joined-rates.mp3": half + encoded(".mp3", 0.5, "-q:a", "7", "-ar", "16000"),
        "leading-zeros.mp3": bytes(1000) + rest,
        "two-tags.mp3": tag + bytes(100) + tag + rest,
        "wrong-size-in-xing.mp3": bytes(wrong),
        "truncated.mp3": half[:5000],
        "truncated-without-xing.mp3": plain[:5000],
        "hole.mp3": bytes(hole),
    }


def ogg_files() -> dict[str, bytes]:
    """Return the Ogg and FLAC files by name."""
    vorbis = encoded(".ogg", 1, "-c:a", "libvorbis", "-ar", "24000")
    opus = encoded(".opus", 1, "-c:a", "libopus", "-b:a", "24k")
    speex = encoded(".spx", 1, "-c:a", "libspeex", "-ar", "16000")
    flac = encoded(".flac", 0.5, "-ar", "16000")
    return {
        "chained.ogg": vorbis + vorbis,
        "chained.opus": opus + opus,
        "chained-rates.ogg": vorbis + encoded(".ogg", 0.5, "-c:a", "libvorbis", "-ar", "16000"),
        "joined.flac": flac + flac,
        "odd-rate.flac": odd_rate_flac(191_999, 10_000),
        "truncated.flac": flac[:9000],
        "speex.spx": speex,
        "chained.spx": speex + speex,
    }


def other_files() -> dict[str, bytes]:
    """Return the files of other formats by name."""
    fast = encoded(".m4a", 1, "-c:a", "aac", "-movflags", "+faststart")
    opus = encoded(".webm", 1, "-c:a", "libopus", "-b:a", "24k")
    two = ("-filter_complex", "[0:a]asplit=2[a][b]", "-map", "[a]", "-map", "[b]", "-c:a", "libvorbis")
    return {
        "data-size-0.wav": wav(2000, data_size=0),
        "joined.wav": wav(1000) + wav(500),
        "odd-sizes.aiff": odd_aiff(),
        "aac.m4a": encoded(".m4a", 1, "-c:a", "aac"),
        "aac.aac": encoded(".aac", 1, "-c:a", "aac"),
        "alac.m4a": encoded(".m4a", 0.5, "-c:a", "alac", "-ar", "16000"),
        "wma.wma": encoded(".wma", 1, "-c:a", "wmav2", "-b:a", "64k"),
        "opus.webm": opus,
        "wavpack.wv": encoded(".wv", 0.5, "-c:a", "wavpack", "-ar", "16000"),
        "truncated.m4a": fast[: len(fast) // 2],
        "truncated.webm": opus[: len(opus) // 2],
        "two-sounds.mka": encoded(".mka", 0.5, *two),
        "playlist.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\naac.aac\n#EXT-X-ENDLIST\n",
    }


def main() -> None:
    for name, data in (mp3_files() | ogg_files() | other_files()).items():
        (HERE / name).write_bytes(data)


if __name__ == "__main__":
    main()
