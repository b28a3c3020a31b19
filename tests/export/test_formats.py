"""Exports give what the codec in numpy gives, and appear only when they are whole."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.command_line import ROOT, fails, refuses, works
from support.contract import white
from support.sounds import speech

from codec.config import CodecConfig
from codec.errors import CodecError
from codec.export import LITERT_FILE, MANIFEST, export_litert, export_saved_model
from codec.export import formats as export
from codec.export.signatures import Fourier, Named
from codec.network.codec import Codec
from codec.presets import DEFAULT_PRESET, load, load_keras, model_id, save_preset
from codec.runtime.codec import NumpyCodec

TIES = 0.01  # of random codewords many are as near as another
Run = Callable[..., Named]
NEEDS_LITERT = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None, reason="pip install ai-edge-litert"
)


def opened(directory: Path, kind: str) -> Callable[[str], Run]:
    """Gives a function of an export by its name, arrays in and out."""
    if kind == "saved-model":
        model = tf.saved_model.load(str(directory))
        runner = model.signatures.__getitem__
    else:
        from ai_edge_litert.interpreter import Interpreter

        runner = Interpreter(str(directory / LITERT_FILE)).get_signature_runner

    def function(name: str) -> Run:
        run = runner(name)
        return lambda **given: {key: np.asarray(value) for key, value in run(**given).items()}

    function.model = runner  # type: ignore[attr-defined]  # a SavedModel's functions do not keep it alive
    return function


@pytest.fixture(scope="module")
def preset(tiny_config: CodecConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of few codebooks: a graph grows with them."""
    config = dataclasses.replace(tiny_config, num_codebooks=6)
    keras.utils.set_random_seed(5)
    codec = Codec(config)
    sizes = 0.8 ** np.arange(6)[:, None, None]
    codec.quantizer.start(sizes * white(6, config.codebook_size, config.latent_dim))
    codec.quantizer.prediction.assign(0.7 * np.eye(config.envelope_dim, dtype=np.float32))
    directory = tmp_path_factory.mktemp("models") / "few"
    save_preset(codec, directory, "# Few: for tests, untrained\n")
    return directory


@pytest.fixture(scope="module", params=["saved-model", pytest.param("litert", marks=NEEDS_LITERT)])
def folder(request: pytest.FixtureRequest, preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny export of each kind."""
    directory = tmp_path_factory.mktemp("exports") / request.param
    run = {"saved-model": export_saved_model, "litert": export_litert}[request.param]
    run(preset, directory)
    return directory


@pytest.fixture(scope="module")
def function(folder: Path) -> Callable[[str], Run]:
    return opened(folder, folder.name)


@pytest.fixture(scope="module")
def numpy_codec(preset: Path) -> NumpyCodec:
    return load(preset, candidates=1)


def coded(numpy_codec: NumpyCodec, audio: np.ndarray) -> np.ndarray:
    """All codes of a whole signal, as a file has them."""
    hop = numpy_codec.config.hop_length
    silence = numpy_codec.latency + -(audio.shape[1] + numpy_codec.latency) % hop
    audio = np.pad(audio, ((0, 0), (0, silence), (0, 0)))
    return numpy_codec.encode_step(
        audio, numpy_codec.encoder_state(len(audio)), numpy_codec.config.num_codebooks
    )[0]


def sound(numpy_codec: NumpyCodec, codes: np.ndarray) -> np.ndarray:
    return numpy_codec.decode_step(codes, numpy_codec.decoder_state(len(codes)))[0][:, numpy_codec.latency :]


def check_whole(
    function: Callable[[str], Run], numpy_codec: NumpyCodec, audio: np.ndarray, most: float
) -> None:
    """Codes but for `most` of them, near ties and those they change; samples within 1e-3, or 1e-5 of the loudest."""
    codes = coded(numpy_codec, audio)
    found = function("encode")(audio=audio)["codes"]
    assert found.dtype == np.int32 and found.shape == codes.shape
    assert np.mean(found != codes) < most
    expected = sound(numpy_codec, codes)
    decoded = function("decode")(codes=codes)["audio"]
    assert decoded.shape == expected.shape and decoded.shape[1] >= audio.shape[1]
    np.testing.assert_allclose(decoded, expected, rtol=0, atol=max(1e-3, 1e-5 * np.abs(expected).max()))


def check_steps(
    function: Callable[[str], Run], numpy_codec: NumpyCodec, audio: np.ndarray, manifest: Path, most: float
) -> None:
    """Frame by frame, two different signals side by side, the base set to zeros as a file does."""
    config, states, facts = numpy_codec.config, {}, json.loads(manifest.read_text())
    for name in ("encode_step", "decode_step"):
        inputs = facts["functions"][name]["inputs"]
        states[name] = {
            key: np.zeros([len(audio), *shape[1:]], np.int32 if key in ("noise", "pulses") else np.float32)
            for key, shape in inputs.items()
            if key not in ("audio", "codes")
        }
    states["decode_step"]["noise"] += (
        np.arange(len(audio), dtype=np.int32) * facts["noise_apart"] % facts["noise_period"]
    )
    codes, decoded = [], []
    for at in range(0, audio.shape[1], config.hop_length):
        if at // config.hop_length % config.reset_interval == 0:
            for state in states.values():
                state["base"] = np.zeros_like(state["base"])
        coded_step = function("encode_step")(
            audio=audio[:, at : at + config.hop_length], **states["encode_step"]
        )
        codes.append(coded_step.pop("codes"))
        decoded_step = function("decode_step")(codes=codes[-1], **states["decode_step"])
        decoded.append(decoded_step.pop("audio"))
        states = {"encode_step": coded_step, "decode_step": decoded_step}
    whole, _ = numpy_codec.encode_step(audio, numpy_codec.encoder_state(len(audio)), config.num_codebooks)
    found = np.concatenate(codes, axis=1)
    assert np.mean(found != whole) < most
    expected, _ = numpy_codec.decode_step(found, numpy_codec.decoder_state(len(audio)))
    atol = max(1e-3, 1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(np.concatenate(decoded, axis=1), expected, rtol=0, atol=atol)


def test_whole_signals_of_any_length(function: Callable[[str], Run], numpy_codec: NumpyCodec) -> None:
    audio = speech(200, numpy_codec.config.hop_length)
    check_whole(function, numpy_codec, audio[:, :1], TIES)
    two = np.concatenate([audio, 0.3 * audio[:, ::-1]])[:, :40_001]  # longer than two seconds
    check_whole(function, numpy_codec, two, TIES)


def test_steps(function: Callable[[str], Run], numpy_codec: NumpyCodec, folder: Path) -> None:
    audio = speech(52, numpy_codec.config.hop_length)
    check_steps(function, numpy_codec, np.concatenate([audio, 0.3 * audio[:, ::-1]]), folder / MANIFEST, TIES)


def test_a_lower_bitrate_is_a_prefix_of_each_row(
    function: Callable[[str], Run], numpy_codec: NumpyCodec
) -> None:
    codes = coded(numpy_codec, speech(20, numpy_codec.config.hop_length))
    expected = sound(numpy_codec, codes[..., :4])
    codes[..., 4:] = -1
    decoded = function("decode")(codes=codes)["audio"]
    np.testing.assert_allclose(decoded, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_manifest_says_what_is_there(
    folder: Path, numpy_codec: NumpyCodec, function: Callable[[str], Run]
) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["model_id"] == model_id(numpy_codec).hex()
    assert (manifest["sample_rate"], manifest["hop_length"]) == (16000, 320)
    assert manifest["latency"] == numpy_codec.latency and manifest["format"] == folder.name
    sizes = {"batch": 3, "time": 500, "frame": 2}
    for name, described in manifest["functions"].items():
        given = {
            key: np.zeros(
                [sizes.get(size, size) for size in shape],
                np.int32 if key in ("noise", "pulses", "codes") else np.float32,
            )
            for key, shape in described["inputs"].items()
        }
        found = function(name)(**given)
        assert found.keys() == described["outputs"].keys()
        for key, shape in described["outputs"].items():
            known = [(size, of) for size, of in zip(found[key].shape, shape, strict=True) if of not in sizes]
            assert len(found[key]) == 3 and all(size == of for size, of in known)


def test_fourier_is_numpys() -> None:
    for length in (320, 960, 1920):
        x, fourier = white(2, 3, length), Fourier(length)
        real, imaginary = map(np.asarray, fourier.rfft(x))
        np.testing.assert_allclose(real + 1j * imaginary, np.fft.rfft(x), atol=1e-5 * length**0.5)
        spectrum = white(2, 3, length // 2 + 1) + 1j * white(2, 3, length // 2 + 1, seed=4)
        back = fourier.irfft(spectrum.real, spectrum.imag)
        np.testing.assert_allclose(back, np.fft.irfft(spectrum, length), atol=1e-6)


class TestManners:
    @pytest.fixture(autouse=True)
    def nothing_is_left(self, tmp_path: Path) -> Iterator[None]:
        yield
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []

    @pytest.fixture
    def written(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Exports that take no time."""
        monkeypatch.setattr(export, "_write_saved_model", lambda graphs, directory: directory.touch())

    def test_only_an_export_is_overwritten(self, preset: Path, tmp_path: Path, written: None) -> None:
        command = ("export", "--format", "saved-model", preset)
        target, other = tmp_path / "model", tmp_path / "other"
        works(*command, target)
        (target / "old").touch()
        assert "model exists; --force overwrites it" in fails(*command, target)
        assert (target / "old").exists()
        works(*command, target, "--force")
        assert not (target / "old").exists() and (target / MANIFEST).is_file()
        other.mkdir()
        (other / "letter").touch()
        assert "is no export" in fails(*command, other, "--force")
        assert (other / "letter").exists()

    def test_an_error_leaves_what_was_there(
        self, preset: Path, tmp_path: Path, written: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = tmp_path / "model"
        export_saved_model(preset, target)
        before = (target / MANIFEST).read_bytes()
        monkeypatch.setattr(
            export, "_write_manifest", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left"))
        )
        message = fails("export", "--format", "saved-model", "-f", preset, target)
        assert "model: cannot be written: No space left" in message
        assert (target / MANIFEST).read_bytes() == before
        assert "no model 'none'" in fails("export", "--format", "saved-model", "none", tmp_path / "new")

    def test_what_is_missing_is_named(
        self, preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = importlib.util.find_spec
        for package, kind in (("tensorflow", "saved-model"), ("ai_edge_litert", "litert")):
            monkeypatch.setattr(
                importlib.util,
                "find_spec",
                lambda name, *_, gone=package: None if name == gone else found(name),
            )
            message = fails("export", "--format", kind, preset, tmp_path / "model")
            assert f"pip install {'ai-edge-litert' if kind == 'litert' else 'keras tensorflow'}" in message

    def test_wrong_command_lines(self, tmp_path: Path) -> None:
        assert "--format" in refuses("export", "m", tmp_path / "a")
        assert "saved-model" in refuses("export", "--format", "onnx", "m", tmp_path / "a")


@NEEDS_LITERT
@pytest.mark.parametrize(
    ("part", "said"), [("quantizer", "codes otherwise"), ("decoder", "decodes otherwise")]
)
def test_a_conversion_to_something_else_is_not_kept(
    part: str, said: str, folder: Path, preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if folder.name != "litert":
        pytest.skip("of LiteRT alone")

    def other(model: str) -> Codec:
        codec = load_keras(model)
        for weight in getattr(codec, part).weights:
            weight.assign(-weight)
        return codec

    monkeypatch.setattr(export, "load_keras", other)
    monkeypatch.setattr(export, "_converted", lambda _: (folder / LITERT_FILE).read_bytes())
    monkeypatch.setattr(export, "_write_saved_model", lambda graphs, directory: directory.mkdir())
    with pytest.raises(CodecError, match=said):
        export_litert(preset, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_the_example_in_the_readme(
    folder: Path, numpy_codec: NumpyCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if folder.name != "litert":
        pytest.skip("of LiteRT alone")
    _, example = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    (tmp_path / "lamella-litert").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    samples = speech(20, numpy_codec.config.hop_length)[0]
    names = {"samples": samples}
    exec(example, names)
    expected = sound(numpy_codec, coded(numpy_codec, samples[None]))
    np.testing.assert_allclose(names["audio"], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["saved-model", pytest.param("litert", marks=NEEDS_LITERT)])
def test_the_shipped_preset(kind: str, tmp_path: Path) -> None:
    numpy_codec = load(DEFAULT_PRESET, candidates=1)
    works("export", "--format", kind, DEFAULT_PRESET, tmp_path / "model")
    function, audio = opened(tmp_path / "model", kind), speech(160, numpy_codec.config.hop_length)
    check_whole(function, numpy_codec, audio[:, :150_001], 1e-3)
    check_steps(
        function,
        numpy_codec,
        audio[:, : 60 * numpy_codec.config.hop_length],
        tmp_path / "model" / MANIFEST,
        1e-3,
    )
