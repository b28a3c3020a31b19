"""The identity of a model: what it depends on, and finding a model by it."""

from __future__ import annotations

import dataclasses
import io
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from support.coding import compressed, sound_of, wav_of
from support.models import random_codec
from support.priors import random_prior
from support.sounds import tone

from codec.bitstream import Reader
from codec.coding.decompression import decompress
from codec.config import CodecConfig
from codec.errors import PresetError
from codec.network import Codec
from codec.presets import accepts, find_by_identity, identity_of, load, model_id, save_preset, save_prior
from codec.presets.identity import EARLIER_IDENTITIES
from codec.runtime import NumpyCodec

ROOT = Path(__file__).parents[2]


class TestModelId:
    def test_is_eight_bytes_and_the_same_in_all_forms(
        self, numpy_codec: NumpyCodec, keras_codec: Codec, tiny_preset: Path
    ) -> None:
        assert len(model_id(numpy_codec)) == 8
        assert model_id(numpy_codec) == model_id(keras_codec) == identity_of(tiny_preset)

    def test_is_the_same_in_another_process(self, numpy_codec: NumpyCodec, tiny_preset: Path) -> None:
        code = "import sys; from codec.presets import *; print(model_id(load(sys.argv[1])).hex(), end='')"
        run = [sys.executable, "-c", code, tiny_preset]
        found = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
        assert found.stdout == model_id(numpy_codec).hex()

    def test_changes_with_the_sizes_of_codes_the_quantizer_and_the_prior_alone(
        self, tiny_config: CodecConfig, tmp_path: Path
    ) -> None:
        before = model_id(random_codec(tiny_config))
        for part in ("encoder", "quantizer", "decoder"):
            model = random_codec(tiny_config)
            for weight in model.parts[part].values():
                weight.flat[-1] += 0.5
            assert (model_id(model) == before) == (part != "quantizer")
        fewer = dataclasses.replace(tiny_config, core_codebooks=tiny_config.core_codebooks - 1)
        assert fewer.codes_json() != tiny_config.codes_json()
        wider = dataclasses.replace(tiny_config, decoder_width=12, encoder_blocks=2)
        assert wider.codes_json() == tiny_config.codes_json()
        save_preset(random_codec(tiny_config), tmp_path, "# Tiny\n")
        save_prior(random_prior(codebooks=24, size=1024), tmp_path)
        assert model_id(load(tmp_path)) == identity_of(tmp_path) != before

    def test_on_disk_changes_when_the_folder_is_rewritten(
        self, tiny_config: CodecConfig, preset: Path
    ) -> None:
        before = identity_of(preset)
        save_preset(random_codec(tiny_config, seed=8), preset, "# Other\n")
        assert identity_of(preset) == model_id(load(preset)) != before


class TestFindByIdentity:
    def test_looks_at_the_extra_models_the_installation_and_the_environment_variable(
        self, assets: Path, tiny_config: CodecConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = random_codec(tiny_config, seed=8)
        save_preset(own, tmp_path / "models" / "own", "# Own\n")
        shutil.copytree(assets / "apple", tmp_path / "copy")
        assert find_by_identity(identity_of("zebra")) == assets / "apple"  # the same model, by name first
        assert find_by_identity(identity_of("zebra"), [tmp_path / "copy"]) == tmp_path / "copy"
        assert find_by_identity(model_id(own), [tmp_path / "models" / "own"]) == tmp_path / "models" / "own"
        monkeypatch.setenv("LAMELLA_MODELS", str(tmp_path / "models"))
        assert find_by_identity(model_id(own)) == tmp_path / "models" / "own"

    def test_says_which_models_it_looked_at_and_how_to_add_one(self, assets: Path) -> None:
        known = identity_of("apple").hex()
        (assets / "zebra" / "quantizer.safetensors").write_bytes(b"damaged")
        with pytest.raises(PresetError) as error:
            find_by_identity(bytes(range(8)))
        message = str(error.value)
        assert message.startswith(
            f"no model has the identity 0001020304050607; looked at {assets / 'apple'} ({known}), "
        )
        assert "zebra" in message and "quantizer.safetensors cannot be read" in message
        assert message.endswith(
            "name the folder of the model that made the file (--model, model=) "
            "or put it into a folder listed in LAMELLA_MODELS"
        )


class TestEarlierIdentity:
    def test_belongs_to_a_shipped_preset(self, default_codec: NumpyCodec) -> None:
        for earlier, name in EARLIER_IDENTITIES.items():
            assert find_by_identity(bytes.fromhex(earlier)).name == name
        assert accepts(default_codec, bytes.fromhex("b9cfd9d3245dccac"))
        assert accepts(default_codec, model_id(default_codec))

    def test_of_another_model_is_not_accepted(self, numpy_codec: NumpyCodec) -> None:
        assert not accepts(numpy_codec, bytes.fromhex("b9cfd9d3245dccac"))
        assert not accepts(numpy_codec, bytes(8))

    @pytest.mark.parametrize("found_by_the_file", [True, False])
    def test_of_a_file_lets_it_decode(self, default_codec: NumpyCodec, found_by_the_file: bool) -> None:
        lam = bytearray(compressed(wav_of(tone(0.3, 48000), 48000), default_codec, 6))
        expected = sound_of(io.BytesIO(bytes(lam)), default_codec)
        lam[23:31] = bytes.fromhex("b9cfd9d3245dccac")
        lam[39:43] = zlib.crc32(lam[:39]).to_bytes(4, "little")
        assert Reader(io.BytesIO(lam)).header.model_id.hex() == "b9cfd9d3245dccac"
        if found_by_the_file:
            target = io.BytesIO()
            assert decompress(io.BytesIO(lam), target).num_samples == len(expected)
        else:
            found = sound_of(io.BytesIO(lam), default_codec)
            np.testing.assert_array_equal(found, expected)
