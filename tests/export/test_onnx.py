"""Presets become ONNX graphs that ONNX Runtime runs, with the codes and the sound of the codec in numpy."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from support.command_line import ROOT, fails, refuses, works
from support.environments import FIVE_PACKAGES, Environment
from support.models import random_codec
from support.onnx_export import OnnxExport
from support.sounds import speech

from codec.config import CodecConfig
from codec.errors import CodecError
from codec.export import export_onnx
from codec.presets import DEFAULT_PRESET, load, model_id, save_preset
from codec.runtime import NumpyCodec

TIES = 0.01  # share of codes: many random codewords are nearly as near as another
REAL_TIES = 1e-3  # share of codes of the default preset
GUIDE = ROOT / "assets" / "docs" / "export.md"
SAMPLES = ("1-speech", "2-guitar", "3-rain")


@pytest.fixture(scope="module")
def folder(small_preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model as ONNX. Do not write to it."""
    directory = tmp_path_factory.mktemp("onnx") / "small"
    export_onnx(small_preset, directory)
    return directory


@pytest.fixture(scope="module")
def small(folder: Path) -> OnnxExport:
    """The small model as ONNX, opened."""
    return OnnxExport(folder)


@pytest.fixture(scope="module")
def two_channels(small_codec: NumpyCodec) -> np.ndarray:
    """More than two reset intervals of sound in two channels, a whole number of frames."""
    audio = speech(110, small_codec.config.hop_length)
    return np.concatenate([audio, 0.3 * audio[:, ::-1]])


def numpy_codes(codec: NumpyCodec, audio: np.ndarray, count: int) -> np.ndarray:
    return codec.encode_step(audio, codec.encoder_state(len(audio)), count)[0]


def numpy_audio(codec: NumpyCodec, codes: np.ndarray) -> np.ndarray:
    return codec.decode_step(codes, codec.decoder_state(len(codes)))[0]


def assert_same_sound(made: np.ndarray, expected: np.ndarray) -> None:
    loudest = max(1.0, float(np.abs(expected).max()))  # models of random weights exceed full scale
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-3 * loudest)


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and those inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs(attribute.g)


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_each_file_is_a_valid_model_of_standard_operators(folder: Path, small: OnnxExport, name: str) -> None:
    model = onnx.load(folder / f"{name}.onnx")
    onnx.checker.check_model(model, full_check=True)
    versions = [(opset.domain, opset.version) for opset in model.opset_import]
    assert versions == [("", small.manifest["opset"])]
    assert all(not node.domain for graph in graphs(model.graph) for node in graph.node)


def test_codes_and_sound_are_those_of_the_codec(
    small: OnnxExport, small_codec: NumpyCodec, two_channels: np.ndarray
) -> None:
    for audio in (two_channels, two_channels[:1, : 7 * small_codec.config.hop_length]):
        codes = numpy_codes(small_codec, audio, 6)
        made = small.encode(audio)
        assert made.dtype == np.int32 and made.shape == codes.shape
        assert np.mean(made != codes) < TIES
        assert_same_sound(small.decode(codes), numpy_audio(small_codec, codes))


def test_calls_of_one_or_some_frames_give_the_codes_and_sound_of_one_call(
    small: OnnxExport, two_channels: np.ndarray
) -> None:
    audio = two_channels[:, : 60 * small.manifest["hop_length"]]
    codes = small.encode(audio)
    sound = small.decode(codes)
    for frames in (1, 7):
        assert np.mean(small.encode(audio, frames=frames) != codes) < TIES
        np.testing.assert_allclose(small.decode(codes, frames=frames), sound, rtol=0, atol=1e-4)


def test_a_last_frame_that_is_not_full_ends_in_zeros(small: OnnxExport, two_channels: np.ndarray) -> None:
    hop = small.manifest["hop_length"]
    padded = two_channels[:, : 5 * hop].copy()
    padded[:, 4 * hop + 1 :] = 0
    np.testing.assert_array_equal(small.encode(padded[:, : 4 * hop + 1]), small.encode(padded))


def test_fewer_codebooks_are_the_first_ones_and_decode_as_a_lower_bitrate(
    small: OnnxExport, small_codec: NumpyCodec, two_channels: np.ndarray
) -> None:
    codes = small.encode(two_channels)
    for count in (3, 4):
        fewer = small.encode(two_channels, num_codebooks=count)
        np.testing.assert_array_equal(fewer[..., :count], codes[..., :count])
        assert (fewer[..., count:] == -1).all()
        assert_same_sound(small.decode(fewer), numpy_audio(small_codec, fewer[..., :count]))


def test_a_rate_that_varies_from_chunk_to_chunk_decodes_as_in_a_file(
    small: OnnxExport, small_codec: NumpyCodec, two_channels: np.ndarray
) -> None:
    codes, second = small.encode(two_channels), small.manifest["reset_interval"]
    codes[:, second : 2 * second, 4:] = -1
    state, expected = small_codec.decoder_state(2), []
    for start, count in ((0, 6), (second, 4), (2 * second, 6)):
        part = codes[:, start : start + second, :count]
        sound, state = small_codec.decode_step(part, small_codec.reset_prediction(state))
        expected.append(sound)
    assert_same_sound(small.decode(codes), np.concatenate(expected, axis=1))


def test_frames_without_codes_become_what_the_predictor_expects(
    small: OnnxExport, small_codec: NumpyCodec, two_channels: np.ndarray
) -> None:
    codes = small.encode(two_channels)[:, :12]
    lost = np.zeros((2, 5, 0), np.int32)
    before, state = small_codec.decode_step(codes, small_codec.decoder_state(2))
    concealed, _ = small_codec.decode_step(lost, state)
    with_gap = np.concatenate([codes, np.full((2, 5, 6), -1, np.int32)], axis=1)
    assert_same_sound(small.decode(with_gap), np.concatenate([before, concealed], axis=1))


def test_decoding_may_start_at_any_chunk_before_the_run_in(
    small: OnnxExport, small_codec: NumpyCodec
) -> None:
    interval, run_in = small.manifest["reset_interval"], small.manifest["run_in_frames"]
    assert run_in == small_codec.run_in_frames
    first, total = interval, interval + run_in + 4
    codes = np.random.default_rng(0).integers(0, 16, (2, total, 6)).astype(np.int32)
    whole = small.decode(codes)
    state = small.initial_state("decode", 2, first_frame=first)
    late, _ = small.run("decode", state, codes=codes[:, first:], resets=small.resets(2, first, total - first))
    settled = run_in * small.manifest["hop_length"]
    expected = whole[:, first * small.manifest["hop_length"] + settled :]
    np.testing.assert_allclose(late[:, settled:], expected, rtol=0, atol=1e-4)


def test_the_manifest_describes_the_graphs(small: OnnxExport, small_codec: NumpyCodec) -> None:
    manifest = small.manifest
    assert (manifest["format"], manifest["weights"]) == ("onnx", "float16")
    assert manifest["model_id"] == model_id(small_codec).hex()
    for name, session in small.sessions.items():
        function = manifest["functions"][name]
        after = {f"next_{state}": array for state, array in function["state"].items()}
        for arrays, nodes in (
            ({**function["inputs"], **function["state"]}, session.get_inputs()),
            ({**function["outputs"], **after}, session.get_outputs()),
        ):
            assert {node.name: (node.shape, node.type) for node in nodes} == {
                key: (array["shape"], f"tensor({array['dtype'].replace('float32', 'float')})")
                for key, array in arrays.items()
            }
        facts = session.get_modelmeta().custom_metadata_map
        assert facts["model_id"] == manifest["model_id"]


def test_weights_of_less_bits_make_smaller_files(
    small_preset: Path, small: OnnxExport, folder: Path, tmp_path: Path, two_channels: np.ndarray
) -> None:
    sizes, sounds = {}, {}
    codes = small.encode(two_channels[:, : 20 * small.manifest["hop_length"]])
    for weights in ("float32", "int8"):
        export_onnx(small_preset, tmp_path / weights, weights=weights)
        sounds[weights] = OnnxExport(tmp_path / weights).decode(codes)
    for directory in (folder, tmp_path / "float32", tmp_path / "int8"):
        sizes[directory.name] = (directory / "decoder.onnx").stat().st_size
    assert sizes["int8"] < sizes["small"] < sizes["float32"]
    assert_same_sound(sounds["float32"], small.decode(codes))
    with pytest.raises(ValueError, match="`weights` must be one of float16, float32, int8, found 'int4'"):
        export_onnx(small_preset, tmp_path / "int4", weights="int4")


@pytest.mark.usefixtures("more_blocks")
def test_a_block_added_to_the_description_is_exported(tiny_config: CodecConfig, tmp_path: Path) -> None:
    save_preset(random_codec(tiny_config), tmp_path / "longer", "# Longer: for tests, untrained\n")
    export_onnx(tmp_path / "longer", tmp_path / "model")
    export, codec = OnnxExport(tmp_path / "model"), load(tmp_path / "longer", effort=0)
    functions = export.manifest["functions"]
    assert functions["encode"]["state"]["added"]["shape"] == ["batch", 4, 8]
    assert functions["decode"]["state"]["added"]["shape"] == ["batch", 6, 8]
    audio = speech(60, tiny_config.hop_length)
    codes = numpy_codes(codec, audio, tiny_config.num_codebooks)
    assert np.mean(export.encode(audio) != codes) < TIES
    assert_same_sound(export.decode(codes), numpy_audio(codec, codes))


def test_a_model_of_base_codebooks_alone_is_exported(tiny_config: CodecConfig, tmp_path: Path) -> None:
    config = dataclasses.replace(tiny_config, num_codebooks=tiny_config.base_codebooks)
    save_preset(random_codec(config), tmp_path / "base", "# Base: for tests, untrained\n")
    export_onnx(tmp_path / "base", tmp_path / "model")
    export, codec = OnnxExport(tmp_path / "model"), load(tmp_path / "base", effort=0)
    audio = speech(20, config.hop_length)
    codes = numpy_codes(codec, audio, config.num_codebooks)
    assert np.mean(export.encode(audio) != codes) < TIES
    assert_same_sound(export.decode(codes), numpy_audio(codec, codes))


def test_the_command_exports_and_overwrites_only_with_force(small_preset: Path, tmp_path: Path) -> None:
    command, target = ("export", "--format", "onnx"), tmp_path / "model"
    assert re.search(r"model: \d+\.\d MB", works(*command, small_preset, target).stderr)
    assert sorted(path.name for path in target.iterdir()) == ["decoder.onnx", "encoder.onnx", "manifest.json"]
    assert "model exists; --force overwrites it" in fails(*command, small_preset, target)
    works(*command, small_preset, target, "--force", "--quiet", "--weights", "int8")
    assert json.loads((target / "manifest.json").read_text())["weights"] == "int8"


def test_weights_are_an_option_of_onnx_alone(small_preset: Path, tmp_path: Path) -> None:
    message = refuses("export", "--format", "litert", "--weights", "int8", small_preset, tmp_path / "model")
    assert "--weights is for --format onnx" in message


def test_a_missing_package_is_named_with_the_pip_command(
    small_preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "onnx" else True)
    with pytest.raises(CodecError, match=r"export to ONNX needs onnx: pip install 'lamella\[onnx\]'"):
        export_onnx(small_preset, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_exporting_needs_no_training_framework(small_preset: Path, tmp_path: Path) -> None:
    light = Environment(tmp_path / "packages", *FIVE_PACKAGES, "onnx")
    arguments = ("export", "--format", "onnx", str(small_preset), str(tmp_path / "model"))
    command = [*light.command, "-m", "cli.main", *arguments]
    result = subprocess.run(command, env=light.variables, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert OnnxExport(tmp_path / "model").sessions


@pytest.fixture(scope="module")
def default_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default preset as ONNX. Do not write to it."""
    directory = tmp_path_factory.mktemp("onnx") / "lamella-onnx"
    export_onnx(DEFAULT_PRESET, directory)
    return directory


@pytest.fixture(scope="module")
def default_export(default_folder: Path) -> OnnxExport:
    """The default preset as ONNX, opened."""
    return OnnxExport(default_folder)


@pytest.fixture(scope="module")
def default_codec() -> NumpyCodec:
    """The default preset in numpy, with the search of exports."""
    return load(DEFAULT_PRESET, effort=0)


@pytest.mark.parametrize("name", SAMPLES)
def test_real_sound_is_coded_as_with_effort_0(
    default_export: OnnxExport, default_codec: NumpyCodec, name: str
) -> None:
    codec, export = default_codec, default_export
    samples, _ = soundfile.read(ROOT / "assets" / "samples" / f"{name}.flac", dtype="float32")
    frames = 100 * codec.config.hop_length  # two seconds
    audio = samples[48_000 : 48_000 + frames].reshape(1, frames, -1)[..., :1]
    codes = numpy_codes(codec, audio, 30)
    assert np.mean(export.encode(audio) != codes) < REAL_TIES
    assert_same_sound(export.decode(codes), numpy_audio(codec, codes))
    assert_same_sound(export.decode(codes[..., :6]), numpy_audio(codec, codes[..., :6]))


def test_the_example_of_the_guide_runs(
    default_folder: Path, default_codec: NumpyCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = [text for text in examples if "onnxruntime" in text]
    (tmp_path / "lamella-onnx").symlink_to(default_folder)
    monkeypatch.chdir(tmp_path)
    codec = default_codec
    samples = speech(50, codec.config.hop_length)[0]
    names: dict[str, np.ndarray] = {"samples": samples}
    exec(example, names)
    expected = codec.decode(codec.encode(samples, 48_000, bitrate=6000), 48_000)
    assert len(names["sound"]) >= len(samples)
    assert_same_sound(names["sound"][: len(samples)], expected[: len(samples)])
