"""Fitting a prior: contexts and codes to train on, and how a model codes with the result."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from support.sounds import tone

from cli.verbs import lamella
from codec.bitstream import Prior, Reader
from codec.coding.compression import compress
from codec.coding.decompression import decompress
from codec.errors import PresetError
from codec.network import Codec
from codec.presets import load, load_keras, model_id, save_preset, save_prior
from codec.presets.catalog import PRIOR
from codec.runtime import NumpyCodec
from codec.training.corpus import build_cache
from codec.training.fit_prior import PriorBatches, encode_corpus, fit_prior, similarity_order
from codec.training.recipe import PriorRecipe


def one_line(line: str) -> None:
    """Accept a message of one line."""
    assert "\n" not in line


@pytest.fixture(scope="module")
def fitted(tiny_preset: Path, numpy_codec: NumpyCodec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the tiny model with a prior, fitted to a tone."""
    directory = Path(shutil.copytree(tiny_preset, tmp_path_factory.mktemp("fitted") / "tiny"))
    audio = tone(8.0, numpy_codec.config.sample_rate).T[:, :, None]
    codes = numpy_codec.encode_step(audio, numpy_codec.encoder_state(1), 24)[0].reshape(4, 100, 24)
    recipe = PriorRecipe(frames=400, epochs=3, batch_size=64, wide=8, narrow=8)
    save_prior(fit_prior(numpy_codec, codes, one_line, recipe), directory)
    return directory


def test_a_fitted_prior_saves_bytes_and_gives_the_same_sound(
    fitted: Path, numpy_codec: NumpyCodec, wav: Path, tmp_path: Path
) -> None:
    coded = load(fitted, effort=0)
    models = (("a", numpy_codec), ("b", coded))
    sizes = [compress(wav, tmp_path / name, model=model, num_codebooks=12).bytes for name, model in models]
    assert sizes[1] < sizes[0]
    for name, model in models:
        decompress(tmp_path / name, tmp_path / f"{name}.wav", model=model)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    with open(tmp_path / "b", "rb") as file:
        assert any(chunk.coding for chunk in Reader(file).stored_chunks())


@pytest.mark.parametrize("model", ["fitted", "lamella-48k"])
def test_float32_holds_all_sums_of_a_fitted_prior(fitted: Path, model: str) -> None:
    prior = load(fitted if model == "fitted" else model).prior
    assert prior is not None
    assert prior.exact_type == np.float32


def test_keras_and_numpy_load_the_same_prior(fitted: Path) -> None:
    keras_model, numpy_codec = load_keras(fitted), load(fitted)
    assert model_id(keras_model) == model_id(numpy_codec)
    assert isinstance(keras_model.prior, Prior)


@pytest.mark.parametrize("bitrate", ["1.5k", "6k"])
def test_the_commands_use_the_prior(fitted: Path, wav: Path, tmp_path: Path, bitrate: str) -> None:
    def works(*arguments: object) -> str:
        result = CliRunner().invoke(lamella, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    full, low, direct = tmp_path / "full.lam", tmp_path / "low.lam", tmp_path / "direct.lam"
    works("compress", "-q", "--effort", 0, "-m", fitted, "-b", "12k", wav, full)
    works("compress", "-q", "--effort", 0, "-m", fitted, "-b", bitrate, wav, direct)
    works("thin", "-q", "-m", fitted, "-b", bitrate, full, low)
    assert low.read_bytes() == direct.read_bytes()
    assert "undamaged" in works("verify", full, low)
    assert "chunks range coded" in works("info", full)


def test_thin_without_the_model_names_its_identity(
    fitted: Path, tiny_preset: Path, wav: Path, tmp_path: Path
) -> None:
    compress(wav, tmp_path / "full.lam", model=load(fitted), num_codebooks=24)
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


def test_contexts_in_training_are_those_in_coding(fitted: Path) -> None:
    prior = load(fitted).prior
    assert prior is not None
    codes = np.random.default_rng(0).integers(0, 1024, (70, 10, 24), dtype=np.int32)
    batches = PriorBatches(prior.arrays, codes, (3, 6, 12, 24), 64)
    rows = np.arange(0, 700, 7)
    contexts = batches.contexts(rows)
    in_coding = {depth: list(prior.hidden(codes[..., :depth])) for depth in (3, 6, 12, 24)}
    for codebook in range(24):
        depths = contexts[:, codebook, 1].astype(int)
        assert set(depths) == {depth for depth in in_coding if depth > codebook}
        found = hidden_activations(prior.arrays, codebook, contexts[:, codebook])
        for depth in set(depths):
            expected = in_coding[depth][codebook].reshape(700, -1)[rows]
            np.testing.assert_array_equal(found[depths == depth], expected[depths == depth])


def test_an_epoch_has_each_row_at_most_once(fitted: Path) -> None:
    prior = load(fitted).prior
    assert prior is not None
    codes = np.random.default_rng(0).integers(0, 1024, (7, 10, 24), dtype=np.int32)
    batches = PriorBatches(prior.arrays, codes, (3, 24), 32)
    first, second = (np.concatenate([places for _, places in batches.epoch()]) for _ in range(2))
    assert first.shape == second.shape == (64, 24)
    assert len(batches) == 2
    rows = {tuple(row) for row in batches.codes.tolist()}
    assert {tuple(row) for row in first.tolist()} <= rows and len(np.unique(first, axis=0)) == 64
    assert not np.array_equal(first, second)


def hidden_activations(arrays: dict[str, np.ndarray], codebook: int, contexts: np.ndarray) -> np.ndarray:
    """Return the activations of the second hidden layer for contexts [row, context]."""
    values = contexts.astype(np.float64)
    for name in ("hidden1", "hidden2"):
        kernel, bias, shift = (arrays[f"{name}.{part}"][codebook] for part in ("kernel", "bias", "shift"))
        values = np.clip(np.floor((values @ kernel + bias) / 2.0**shift), 0, 255)
    return values


def test_similar_codewords_are_next_to_each_other() -> None:
    codewords = np.random.default_rng(0).normal(0, [9.0, 3.0, 1.0], (64, 3))
    order = similarity_order(codewords)
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

    def test_saving_keeps_the_prior_and_saving_another_model_removes_it(
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
            with pytest.raises(PresetError, match=r"prior\.safetensors") as caught:
                load(copy)
            assert "\n" not in str(caught.value)

    def test_a_prior_of_another_size_is_refused(self, copy: Path) -> None:
        arrays = dict(load(copy).prior.arrays)
        short = {k: a[:3] if k in ("codewords", "order") or "." in k else a for k, a in arrays.items()}
        save_prior(short, copy)
        with pytest.raises(PresetError, match=r"\(3, 1024\), expected \(24, 1024\)"):
            load(copy)


def test_codes_of_a_corpus(numpy_codec: NumpyCodec, tmp_path: Path) -> None:
    (tmp_path / "sounds").mkdir()
    for name in ("a", "b"):
        soundfile.write(tmp_path / "sounds" / f"{name}.wav", tone(4.0, 16000), 16000)
    corpus = build_cache(tmp_path / "sounds", tmp_path / "cache", 16000, one_line)
    for frames in (150, 1000):  # one of the files is held out, so that there are 200
        assert encode_corpus(numpy_codec, corpus, PriorRecipe(frames=frames)).shape == (48, 100, 24)
    codes = encode_corpus(numpy_codec, corpus, PriorRecipe(chunk_seconds=1))
    assert codes.shape == (48, 50, 24)
    assert 0 <= codes.min() <= codes.max() < 1024
