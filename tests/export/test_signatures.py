"""The exported functions give the codes and the audio of the codec in numpy, in every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.command_line import works
from support.exports import (
    EACH_FORMAT,
    TIES,
    Export,
    check_audio,
    check_steps,
    check_whole_signal,
    code_whole,
    decode_whole,
    open_export,
)
from support.sounds import speech

from codec.presets import DEFAULT_PRESET, load
from codec.runtime import NumpyCodec


def test_whole_signals_of_any_length_are_coded_as_in_a_file(export: Export, small_codec: NumpyCodec) -> None:
    audio = speech(200, small_codec.config.hop_length)
    check_whole_signal(export, small_codec, audio[:, :1], TIES)
    two = np.concatenate([audio, 0.3 * audio[:, ::-1]])
    check_whole_signal(export, small_codec, two[:, :40_001], TIES)  # more than two reset intervals


def test_steps_give_the_codes_and_the_audio_of_the_whole_signal(
    export: Export, small_codec: NumpyCodec
) -> None:
    audio = speech(52, small_codec.config.hop_length)
    check_steps(export, small_codec, np.concatenate([audio, 0.3 * audio[:, ::-1]]), TIES)


def test_the_first_codebooks_alone_decode_as_a_lower_bitrate(export: Export, small_codec: NumpyCodec) -> None:
    codes = code_whole(small_codec, speech(20, small_codec.config.hop_length))
    expected = decode_whole(small_codec, codes[..., :4])
    codes[..., 4:] = -1
    check_audio(export.run("decode", codes=codes)["audio"], expected)


@pytest.mark.slow
@pytest.mark.parametrize("format_name", EACH_FORMAT)
def test_the_default_preset_is_exported_faithfully(format_name: str, tmp_path: Path) -> None:
    codec = load(DEFAULT_PRESET, effort=0)
    works("export", "--format", format_name, DEFAULT_PRESET, tmp_path / "model")
    export, audio = open_export(tmp_path / "model"), speech(160, codec.config.hop_length)
    check_whole_signal(export, codec, audio[:, :150_001], max_different_codes=1e-3)
    check_steps(export, codec, audio[:, : 60 * codec.config.hop_length], max_different_codes=1e-3)
