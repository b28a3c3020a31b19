"""The public names, and the metrics in numpy."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.sounds import tone

import codec
from codec.evaluation.metrics import mel_distance
from codec.presets import load


@pytest.mark.parametrize("name", codec.__all__)
def test_public_names_load(name: str) -> None:
    assert getattr(codec, name) is not None
    assert name in dir(codec)


def test_functions_do_not_share_a_name_with_a_module() -> None:
    assert callable(codec.compress)
    assert callable(codec.decompress)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        codec.nothing  # noqa: B018


def test_the_example_in_the_readme(
    tiny_preset: Path, wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    example, _ = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)  # the other one is of an export
    shutil.copy(wav, tmp_path / "talk.wav")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(codec, "load", lambda name: load(tiny_preset))
    names: dict[str, Any] = {}
    exec(example, names)
    again, rate = soundfile.read("again.wav", dtype="float32")
    live = np.concatenate(names["sound"])[: len(again)]
    assert rate == names["rate"]
    np.testing.assert_allclose(live.clip(-1, 1), again, atol=1e-4)


class TestMelDistance:
    def test_equal_signals(self) -> None:
        audio = tone(0.5, 48000)
        assert mel_distance(audio, audio, 48000) == 0

    def test_ten_times_louder_is_one_for_each_scale(self) -> None:
        noise = np.random.default_rng(0).standard_normal(44100) * 0.5
        assert mel_distance(noise, noise * 10, 44100) == pytest.approx(7, abs=0.01)

    def test_grows_with_noise(self) -> None:
        audio = tone(0.5, 16000, 2)
        noise = np.random.default_rng(0).standard_normal(audio.shape)
        near, far = (mel_distance(audio, audio + noise * level, 16000) for level in (0.001, 0.05))
        assert 0 < near < far

    def test_channels_are_averaged(self) -> None:
        left, right = tone(0.5, 44100), tone(0.5, 44100) * 0.5
        both = mel_distance(np.hstack([left, left]), np.hstack([left, right]), 44100)
        assert both == pytest.approx(mel_distance(left, right, 44100) / 2, rel=1e-5)

    def test_a_definition_written_out(self) -> None:
        """One frame and one scale of the sum, by hand: 5 bands over a window of 32 samples."""
        from codec.evaluation.metrics import _scale_distance

        quiet, loud = np.zeros(64), np.ones(64)
        distance = _scale_distance(np.stack([quiet, loud]).astype(np.float32), 32, 5)
        assert 0 < distance < 5  # the floor of 1e-5 keeps silence finite

    @pytest.mark.parametrize("length", [0, 1, 5])
    def test_very_short(self, length: int) -> None:
        assert mel_distance(np.zeros(length), np.zeros(length), 8000) == 0

    def test_cut_to_the_shorter(self) -> None:
        audio = tone(0.2, 48000)
        assert mel_distance(audio, audio[:-100], 48000) == 0

    def test_channels_must_agree(self) -> None:
        with pytest.raises(ValueError, match="reference has 1 channels, decoded has 2"):
            mel_distance(tone(0.1, 8000), tone(0.1, 8000, 2), 8000)
