"""Files of a small model and the sound that Python makes of them, for the tests of lamella.js.

folder/model/        the ONNX graphs and the manifest
folder/sounds.json   [{"name", "samples", "channels", "losses"}]
folder/NAME.lam      the files
folder/NAME.f32      their sound, float32 [channel, time]
folder/source-N.f32  the sound that they were made of, with N channels
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from support.coding import file_of
from support.damage import damaged, recover
from support.sounds import tone
from support.streams import raw_chunk, raw_trailer

from codec.bitstream import Reader
from codec.coding.encoder_stream import EncoderStream
from codec.export.onnx.export import write_onnx
from codec.presets import load
from codec.protocol import StreamingCodec

SECONDS = 2.5


def write_sounds(folder: Path, preset: Path) -> None:
    """Write all files into a folder that exists."""
    (folder / "model").mkdir()
    write_onnx(preset, folder / "model", weights="float32")
    model = load(preset, effort=0)
    content = []
    for name, data in _files(model):
        sound, losses = recover(data, model)
        (folder / f"{name}.lam").write_bytes(data)
        _write_samples(folder / f"{name}.f32", sound)
        texts = [str(loss) for loss in losses]
        content.append({"name": name, "samples": len(sound), "channels": sound.shape[1], "losses": texts})
    (folder / "sounds.json").write_text(json.dumps(content))
    for channels in (1, 2):
        _write_samples(folder / f"source-{channels}.f32", _source(model, channels))


def _source(model: StreamingCodec, channels: int) -> np.ndarray:
    """Return a sound that does not end with a frame, float32 [time, channels]."""
    return tone(SECONDS, model.config.sample_rate, channels)[:-123]


def _write_samples(path: Path, sound: np.ndarray) -> None:
    path.write_bytes(np.ascontiguousarray(sound.T, "<f4").tobytes())


def _files(model: StreamingCodec) -> Iterator[tuple[str, bytes]]:
    mono, stereo = _source(model, 1), _source(model, 2)
    silent = mono.copy()
    silent[len(mono) // 4 : -len(mono) // 4] = 0
    talk, wide = _coded(model, mono, 25), _coded(model, stereo, 25)
    quality = _coded(model, silent, 10, quality=6)
    yield from {"talk": talk, "stereo": wide, "quality": quality}.items()
    yield "three-channels", _coded(model, np.tile(mono[:9_000], 3) * [1, 0.5, 0.1], 25)
    yield "frames", _coded(model, mono[:9_000], 1)
    yield "long-chunks", _coded(model, mono, 120)
    yield "live", _coded(model, mono, 25, live=True)
    yield "nothing", _coded(model, mono[:0], 25)
    yield "one-sample", _coded(model, mono[:1], 25)
    yield "lost-first", damaged(talk, 0)
    yield "lost-middle", damaged(wide, 1, 2)
    yield "lost-last", damaged(talk, 4)
    yield "lost-near-silence", damaged(quality, 2, 9)
    yield "cut", wide[: len(wide) // 2]
    yield "cut-live", _coded(model, mono, 25, live=True)[:2_000]
    yield "invalid-codes", _shortened(talk, 2)
    yield "header-damaged", talk[:5] + b"?" + talk[6:]


def _shortened(lam: bytes, number: int) -> bytes:
    """Return a file one of whose chunks, all packed, lacks the last byte of its payload; all checksums are right."""
    chunks = list(Reader(io.BytesIO(lam)).stored_chunks())
    num_samples = Reader(io.BytesIO(lam)).num_samples or 0
    payloads = [chunk.payload[: -1 if chunk.index == number else None] for chunk in chunks]
    parts = [
        raw_chunk(chunk.index, chunk.frames * 4, payload)
        for chunk, payload in zip(chunks, payloads, strict=True)
    ]
    return lam[:43] + b"".join(parts) + raw_trailer([len(part) for part in parts], num_samples)


def _coded(
    model: StreamingCodec, sound: np.ndarray, frames: int, quality: float | None = None, live: bool = False
) -> bytes:
    rate = None if quality else model.config.num_codebooks
    stream = EncoderStream(
        model,
        model.config.sample_rate,
        sound.shape[1],
        quality=quality,
        num_codebooks=rate,
        frames_per_chunk=frames,
    )
    return file_of(stream, sound.astype(np.float32), None if live else len(sound))
