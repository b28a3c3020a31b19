"""Coded segments: what the adversarial stage draws from instead of coding in every step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import tiny_training as tiny

from codec.training.augmentation import SIGN_ONLY
from codec.training.coded_segments import CodedSegments, code_segments, draw_crops
from codec.training.corpus import Corpus, build_cache
from codec.training.data import BatchSpec, RateShare, Shard

RATES = (RateShare(1, 0.5), RateShare(3, 0.5))
SPEC = BatchSpec(4, 40 * tiny.CONFIG.hop_length, 3, RATES, SIGN_ONLY)


def build(folder: Path, names: tuple[str, ...]) -> Corpus:
    """Return a corpus of one sound in each of these folders: the louder, the later."""
    for number, name in enumerate(names, 1):
        (folder / "in" / name).mkdir(parents=True)
        for copy in range(2):  # one of them may be held out
            sound = number * tiny.sines(3.0, number)
            soundfile.write(folder / "in" / name / f"{copy}.wav", sound, tiny.RATE)
    return build_cache(folder / "in", folder / "cache", tiny.RATE, lambda line: None)


@pytest.fixture
def coded(tmp_path: Path) -> tuple[Corpus, CodedSegments]:
    corpus = build(tmp_path, ("speech", "wind"))
    codec = tiny.bench().stage.codec
    return corpus, code_segments(codec, corpus, SPEC, 16, tmp_path / "segments", lambda line: None)


def test_half_of_the_segments_are_speech(coded: tuple[Corpus, CodedSegments]) -> None:
    segments = coded[1]
    peaks = np.abs(segments.audio).max(axis=1)
    assert segments.speech == 8 and len(segments.codebooks) == 16
    assert peaks[:8].max() < peaks[8:].min()
    assert (segments.kind(True), segments.kind(False)) == (range(8), range(8, 16))
    assert sorted(np.unique(segments.codebooks)) == [1, 3]


def test_segments_are_coded_as_the_model_codes_them(coded: tuple[Corpus, CodedSegments]) -> None:
    segments, codec = coded[1], tiny.bench().stage.codec
    row = int(np.argmax(segments.codebooks))
    audio = segments.audio[row][None, :, None].astype(np.float32) / 32767
    latents, _ = codec.encoder.step(audio, codec.encoder.initial_state(1))
    expected = codec.quantizer.decode(codec.quantizer.encode(latents, 3))
    near = np.isclose(np.array(expected)[0], segments.quantized[row], atol=0.05).all(axis=1)
    assert near.mean() > 0.9  # all but ties: the audio is rounded to 16 bits


def test_a_second_call_finds_the_segments(coded: tuple[Corpus, CodedSegments], tmp_path: Path) -> None:
    corpus, codec, said = coded[0], tiny.bench().stage.codec, list[str]()
    again = code_segments(codec, corpus, SPEC, 16, tmp_path / "segments", said.append)
    assert said == [] and np.array_equal(again.audio, coded[1].audio)
    (tmp_path / "segments" / "0" / "segments.json").unlink()  # as if the first call had been interrupted
    once_more = code_segments(codec, corpus, SPEC, 16, tmp_path / "segments", said.append)
    assert len(said) == 1 and np.array_equal(once_more.quantized, coded[1].quantized)


def test_shards_hold_different_segments(coded: tuple[Corpus, CodedSegments], tmp_path: Path) -> None:
    corpus, codec = coded[0], tiny.bench().stage.codec
    spec = BatchSpec(4, SPEC.segment_length, 3, RATES, SIGN_ONLY, Shard(1, 2))
    other = code_segments(codec, corpus, spec, 16, tmp_path / "segments", lambda line: None)
    assert len(other.codebooks) == 8
    assert not np.array_equal(other.audio[0], coded[1].audio[0])
    assert draw_crops(other, spec, 10, True, 0).audio.shape[0] == 2


def test_crops_of_audio_and_latents_belong_together(coded: tuple[Corpus, CodedSegments]) -> None:
    segments = coded[1]
    numbers = np.arange(40, dtype=np.float16)
    marked = segments._replace(
        audio=np.tile(np.repeat(numbers, tiny.CONFIG.hop_length), (16, 1)).astype(np.int16),
        quantized=np.tile(numbers[:, None], (16, 1, tiny.CONFIG.latent_dim)),
    )
    batch = draw_crops(marked, SPEC, 12, True, 5)
    assert batch.audio.shape == (4, 12 * tiny.CONFIG.hop_length, 1)
    assert batch.quantized.shape == (4, 12, tiny.CONFIG.latent_dim)
    frames = np.round(batch.audio[:, :: tiny.CONFIG.hop_length, 0] * 32767)
    assert np.array_equal(frames, batch.quantized[..., 0])
    assert len(np.unique(batch.quantized[:, 0, 0])) > 1


def test_a_batch_of_crops_is_fixed_by_seed_and_step(coded: tuple[Corpus, CodedSegments]) -> None:
    first, again, other = (draw_crops(coded[1], SPEC, 12, True, step) for step in (7, 7, 8))
    assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))
    assert not np.array_equal(first.audio, other.audio)


def test_a_corpus_without_speech_is_drawn_as_a_whole(tmp_path: Path) -> None:
    corpus = build(tmp_path, ("wind", "rain"))
    codec = tiny.bench().stage.codec
    segments = code_segments(codec, corpus, SPEC, 8, tmp_path / "segments", lambda line: None)
    assert segments.kind(True) == segments.kind(False) == range(8)
