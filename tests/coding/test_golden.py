"""Files of the released presets decode for ever: the codes exactly, the sound within a tolerance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.make_golden import BITRATES, GOLDEN

from codec.audio import AudioReader
from codec.bitstream import Reader
from codec.coding.decompression import decompress
from codec.presets import find_by_identity, load

TOLERANCE = 1e-3  # of full scale; rounding of 16 bits and of other machines is 1e-4
PRESETS = ("lamella-48k",)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("bitrate", BITRATES)
def test_golden_files_decode_as_they_did(preset: str, bitrate: int, tmp_path: Path) -> None:
    lam = GOLDEN / preset / f"{bitrate}.lam"
    with open(lam, "rb") as file:
        reader = Reader(file)
        folder = find_by_identity(reader.header.model_id)
        assert folder.name == preset
        reader.prior = load(folder).prior
        codes = np.concatenate([chunk.codes for chunk in reader], axis=1)
    np.testing.assert_array_equal(codes, np.load(lam.with_suffix(".npy"), allow_pickle=False))
    decompress(lam, tmp_path / "a.wav")
    with AudioReader(tmp_path / "a.wav") as found, AudioReader(lam.with_suffix(".flac")) as expected:
        assert (
            found.sample_rate == expected.sample_rate and found.num_samples == expected.num_samples == 72_000
        )
        sounds = found.read(72_000), expected.read(72_000)
    assert np.abs(sounds[1]).max() > 0.05
    np.testing.assert_allclose(*sounds, atol=TOLERANCE)
