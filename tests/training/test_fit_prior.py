"""Fitting a prior: what the codes before tell is learned, whole numbers keep it, and the model codes by it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from support.sounds import tone

from cli.main import lamella
from codec.bitstream import Prior, Reader
from codec.coding.compression import compress, decompress
from codec.errors import PresetError
from codec.network.codec import Codec
from codec.presets import PRIOR, load, load_keras, model_id, save_preset, save_prior
from codec.runtime.codec import NumpyCodec
from codec.training.corpus import build_cache
from codec.training.fit_prior import Learned, Network, code, fit_prior, near_together
from codec.training.recipe import PriorRecipe

RECIPE = PriorRecipe(frames=400, epochs=30, batch_size=64, learning_rate=1e-2, wide=16, narrow=8)
SIZE = 16


def quiet(line: str) -> None:
    assert "\n" not in line


@pytest.fixture(scope="module")
def fitted(tiny_preset: Path, numpy_codec: NumpyCodec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny model with a prior, fitted to a tone."""
    directory = Path(shutil.copytree(tiny_preset, tmp_path_factory.mktemp("fitted") / "tiny"))
    audio = tone(8.0, numpy_codec.config.sample_rate).T[:, :, None]
    codes = numpy_codec.encode_step(audio, numpy_codec.encoder_state(1), 24)[0].reshape(4, 100, 24)
    recipe = PriorRecipe(frames=400, epochs=3, batch_size=64, wide=8, narrow=8)
    save_prior(fit_prior(numpy_codec, codes, quiet, recipe), directory)
    return directory


def learned(codes: np.ndarray, known: np.ndarray) -> tuple[float, float]:
    """Bits a code takes by the network, and by its whole numbers."""
    codewords = np.random.default_rng(0).integers(-60, 60, (SIZE, 5)).astype(np.int8)
    network = Network(codewords, codes, known.__getitem__, RECIPE)
    bits = network.fit(codes, known.__getitem__, RECIPE)
    values = known.astype(np.float64)
    whole = network.quantized(np.abs(values).max(axis=0))
    for name in ("hidden1", "hidden2"):
        values = np.floor(
            (values @ whole[f"{name}.kernel"] + whole[f"{name}.bias"]) / 2.0 ** whole[f"{name}.shift"]
        )
        values = np.clip(values, 0, 255)
    groups, places = np.divmod(codes, network.members)
    spent = bits_of(values @ whole["group.kernel"] + whole["group.bias"], whole["group.shift"], groups)
    of_places = (values[:, None] @ whole["place.kernel"][groups])[:, 0] + whole["place.bias"][groups]
    return bits, float((spent + bits_of(of_places, whole["place.shift"], places)).mean())


def bits_of(scores: np.ndarray, shift: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    likelihoods = np.exp2((scores - scores.max(axis=1, keepdims=True)) / 2.0**shift / 256)
    return np.log2(likelihoods.sum(axis=1) / likelihoods[np.arange(len(numbers)), numbers])


def test_what_the_context_tells_is_learned_and_kept_in_whole_numbers() -> None:
    generator = np.random.default_rng(0)
    known = generator.integers(-100, 100, (4000, 6)).astype(np.int16)
    codes = (known[:, 2] > 0) * 8 + (np.abs(known[:, 3]) > 50) * 4 + generator.integers(0, 4, 4000)
    bits, whole_bits = learned(codes, known)
    assert bits < 2.25  # two bits are random
    assert abs(whole_bits - bits) < 0.05


def test_what_comes_at_random_costs_what_it_must() -> None:
    generator = np.random.default_rng(0)
    known = generator.integers(-100, 100, (4000, 6)).astype(np.int16)
    codes = generator.choice(SIZE, 4000, p=np.r_[0.5, np.full(SIZE - 1, 0.5 / (SIZE - 1))])
    entropy = 1 + 0.5 * np.log2(SIZE - 1)
    bits, whole_bits = learned(codes, known)
    assert entropy - 0.4 < bits < entropy + 0.05
    assert whole_bits < entropy + 0.05


def test_a_fitted_prior_saves_bytes_and_gives_the_same_sound(
    fitted: Path, numpy_codec: NumpyCodec, wav: Path, tmp_path: Path
) -> None:
    coded = load(fitted, candidates=1)
    sizes = [
        compress(wav, tmp_path / name, codec, 12).bytes for name, codec in (("a", numpy_codec), ("b", coded))
    ]
    assert sizes[1] < sizes[0]
    for name, codec in (("a", numpy_codec), ("b", coded)):
        decompress(tmp_path / name, tmp_path / f"{name}.wav", codec)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    with open(tmp_path / "b", "rb") as file:
        assert any(chunk.coding for chunk in Reader(file).stored_chunks())


@pytest.mark.parametrize("model", ["fitted", "lamella-48k"])
def test_float32_holds_all_sums_of_a_fitted_prior(fitted: Path, model: str) -> None:
    prior = load(fitted if model == "fitted" else model).prior
    assert prior is not None
    assert prior.exact_type == np.float32


def test_keras_and_numpy_write_by_the_same_prior(fitted: Path) -> None:
    keras_model, numpy_codec = load_keras(fitted), load(fitted)
    assert model_id(keras_model) == model_id(numpy_codec)
    assert isinstance(keras_model.prior, Prior)


@pytest.mark.parametrize("bitrate", ["1.5k", "3k", "6k"])
def test_the_commands_code_by_it(fitted: Path, wav: Path, tmp_path: Path, bitrate: str) -> None:
    def works(*arguments: object) -> str:
        result = CliRunner().invoke(lamella, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    full, low, anew = tmp_path / "full.lam", tmp_path / "low.lam", tmp_path / "anew.lam"
    works("compress", "-q", "--effort", 0, "-m", fitted, "-b", "12k", wav, full)
    works("compress", "-q", "--effort", 0, "-m", fitted, "-b", bitrate, wav, anew)
    works("thin", "-q", "-m", fitted, "-b", bitrate, full, low)
    assert low.read_bytes() == anew.read_bytes()
    assert "undamaged" in works("verify", full, low)
    assert "chunks range coded" in works("info", full)


def test_thin_without_the_model_says_which_it_needs(
    fitted: Path, tiny_preset: Path, wav: Path, tmp_path: Path
) -> None:
    compress(wav, tmp_path / "full.lam", load(fitted), 24)
    command = [
        "thin",
        "-m",
        str(tiny_preset),
        "-b",
        "3k",
        str(tmp_path / "full.lam"),
        str(tmp_path / "low.lam"),
    ]
    result = CliRunner().invoke(lamella, command)
    assert result.exit_code == 1
    assert f"no model has the identity {model_id(load(fitted)).hex()}" in result.stderr
    assert not (tmp_path / "low.lam").exists()


def test_contexts_to_learn_from_are_those_to_code_by(fitted: Path) -> None:
    prior = load(fitted).prior
    codes = np.random.default_rng(0).integers(0, 1024, (70, 10, 24), dtype=np.int32)
    learned = Learned(prior.context, codes, (3, 6, 12, 24))
    rows = np.arange(0, 700, 7)
    for codebook in range(24):
        contexts = learned.contexts(rows)
        depths = contexts[:, 1].astype(int)
        assert set(depths) == {depth for depth in (3, 6, 12, 24) if depth > codebook}
        for depth in set(depths):
            hidden = list(prior.hidden(codes[..., :depth]))[codebook].reshape(700, -1)[rows]
            found = by_the_arrays(prior.arrays, codebook, contexts)
            np.testing.assert_array_equal(found[depths == depth], hidden[depths == depth])
        learned.go_on()


def by_the_arrays(arrays: dict[str, np.ndarray], codebook: int, contexts: np.ndarray) -> np.ndarray:
    """What the hidden layers make of contexts."""
    values = contexts.astype(np.float64)
    for name in ("hidden1", "hidden2"):
        kernel, bias, shift = (arrays[f"{name}.{part}"][codebook] for part in ("kernel", "bias", "shift"))
        values = np.clip(np.floor((values @ kernel + bias) / 2.0**shift), 0, 255)
    return values


def test_near_codewords_stand_together() -> None:
    codewords = np.random.default_rng(0).normal(0, [9.0, 3.0, 1.0], (64, 3))
    order = near_together(codewords)
    assert sorted(order.tolist()) == list(range(64))
    groups = codewords[order].reshape(8, 8, 3)
    assert groups.var(axis=1).sum() < 0.2 * codewords.var(axis=0).sum() * 8


class TestPreset:
    @pytest.fixture
    def copy(self, fitted: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(fitted, tmp_path / "copy"))

    def test_the_prior_is_part_of_the_identity(self, copy: Path, keras_codec: Codec) -> None:
        before = model_id(load(copy))
        (copy / PRIOR).unlink()
        assert model_id(load(copy)) == model_id(keras_codec) != before

    def test_saving_keeps_it_and_drops_that_of_other_weights(
        self, copy: Path, keras_codec: Codec, tmp_path: Path
    ) -> None:
        save_preset(load_keras(copy), tmp_path / "again", "# Again\n")
        assert (tmp_path / "again" / PRIOR).read_bytes() == (copy / PRIOR).read_bytes()
        save_preset(keras_codec, copy, "# Other\n")
        assert load(copy).prior is None

    def test_damage_is_a_preset_error(self, copy: Path) -> None:
        content = (copy / PRIOR).read_bytes()
        for damaged in (content[:-1], b"", content.replace(b"hidden1.shift", b"hidden9.shift")):
            (copy / PRIOR).write_bytes(damaged)
            with pytest.raises(PresetError, match=r"prior\.safetensors cannot be used") as caught:
                load(copy)
            assert "\n" not in str(caught.value)

    def test_one_of_another_size(self, copy: Path) -> None:
        arrays = dict(load(copy).prior.arrays)
        short = {k: a[:3] if k in ("codewords", "order") or "." in k else a for k, a in arrays.items()}
        save_prior(short, copy)
        with pytest.raises(PresetError, match=r"\(3, 1024\), expected \(24, 1024\)"):
            load(copy)


def test_codes_of_a_corpus(numpy_codec: NumpyCodec, tmp_path: Path) -> None:
    (tmp_path / "sounds").mkdir()
    for name in ("a", "b"):
        soundfile.write(tmp_path / "sounds" / f"{name}.wav", tone(4.0, 16000), 16000)
    corpus = build_cache(tmp_path / "sounds", tmp_path / "cache", 16000, quiet)
    for frames in (150, 1000):  # one of the files is held out, so that there are 200
        assert code(numpy_codec, corpus, PriorRecipe(frames=frames)).shape == (48, 100, 24)
    codes = code(numpy_codec, corpus, PriorRecipe(chunk_seconds=1))
    assert codes.shape == (48, 50, 24)
    assert 0 <= codes.min() <= codes.max() < 1024
