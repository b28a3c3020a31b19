"""The public names of the package `codec`, and the way from a sound file and back by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import codec


@pytest.mark.parametrize("name", codec.__all__)
def test_every_public_name_loads(name: str) -> None:
    assert getattr(codec, name) is not None
    assert name in dir(codec)


def test_functions_do_not_share_a_name_with_a_module() -> None:
    assert callable(codec.compress)
    assert callable(codec.decompress)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        codec.nothing  # noqa: B018


def test_files_arrays_and_streams_hold_the_same_sound(
    tiny_preset: Path, wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMELLA_MODELS", str(tiny_preset.parent))
    codec.compress(wav, tmp_path / "a.lam", model="tiny", effort=0, bitrate=3000)
    codec.decompress(tmp_path / "a.lam", tmp_path / "a.wav")
    expected, _ = soundfile.read(tmp_path / "a.wav", always_2d=True)

    samples, rate = soundfile.read(wav, dtype="float32", always_2d=True)
    model = codec.load("tiny", effort=0)
    codes = model.encode(samples, rate, bitrate=3000)
    np.testing.assert_allclose(model.decode(codes, rate)[: len(samples)], expected, atol=1e-3)

    encoder = codec.EncoderStream(model, rate, samples.shape[1], bitrate=3000)
    decoder = codec.DecoderStream(model, rate, samples.shape[1])
    chunks = encoder.push(samples) + encoder.flush()
    np.testing.assert_array_equal(np.concatenate(chunks, axis=1), codes)
    streamed = np.concatenate([*map(decoder.push, chunks), decoder.flush()])
    np.testing.assert_allclose(streamed[: len(samples)], expected, atol=1e-3)
