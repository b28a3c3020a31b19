"""Fixtures of many tests: models, presets, a recording, a finished training run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command does; many threads on busy cores are slow

# `pytest --hypothesis-profile thorough` looks longer for examples that fail.
settings.register_profile("quick", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile("quick")

# pytest shows the compared values only for asserts in the modules named here and in tests.
pytest.register_assert_rewrite(
    "support.coding", "support.command_line", "support.contract", "support.damage", "support.sounds"
)

if TYPE_CHECKING:
    from support.short_runs import FinishedRun

    from codec import architecture
    from codec.config import CodecConfig
    from codec.network.codec import Codec
    from codec.runtime.codec import NumpyCodec


@pytest.fixture(scope="session")
def tiny_config() -> CodecConfig:
    """The sizes of the narrow model."""
    from support.models import narrow_config

    return narrow_config()


@pytest.fixture(scope="session")
def tiny_preset(tiny_config: CodecConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the narrow model, as `--model` takes it. Do not write to it."""
    from support.models import random_codec

    from codec.presets import save_preset

    directory = tmp_path_factory.mktemp("models") / "tiny"
    save_preset(random_codec(tiny_config), directory, "# Tiny: for tests, untrained\n")
    return directory


@pytest.fixture(scope="session")
def numpy_codec(tiny_preset: Path) -> NumpyCodec:
    """The narrow model in numpy, with the greedy search that the Keras model uses."""
    from codec.presets import load

    return load(tiny_preset, effort=0)


@pytest.fixture(scope="session")
def keras_codec(tiny_preset: Path) -> Codec:
    """The narrow model in Keras."""
    from codec.presets import load_keras

    return load_keras(tiny_preset)


@pytest.fixture(scope="session")
def default_codec() -> NumpyCodec:
    """The default preset in numpy."""
    from codec.presets import load

    return load()


@pytest.fixture(scope="session")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WAV of 1.5 s: 16 bits, 22.05 kHz, stereo. Do not write to it."""
    import soundfile
    from support.sounds import tone

    path = tmp_path_factory.mktemp("sounds") / "talk.wav"
    soundfile.write(path, tone(1.5, 22050, 2), 22050)
    return path


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A short training run that ended normally. Do not write to it."""
    from support.short_runs import run_to_the_end

    return run_to_the_end(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def more_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a block to the description of the encoder, and one to that of the decoder."""
    from codec import architecture

    encoder_layers, decoder_layers = architecture.encoder_layers, architecture.decoder_layers

    def longer_encoder(config: CodecConfig) -> architecture.EncoderLayers:
        layers = encoder_layers(config)
        *others, norm, output = layers.network
        block = architecture.Block("added", config.encoder_width, 2 * config.encoder_width, kernel_size=5)
        return layers._replace(network=(*others, block, norm, output))

    def longer_decoder(config: CodecConfig) -> architecture.DecoderLayers:
        layers = decoder_layers(config)
        first, *others = layers.coarse
        block = architecture.Block("added", config.decoder_width, config.decoder_width)
        return layers._replace(coarse=(first, block, *others))

    monkeypatch.setattr(architecture, "encoder_layers", longer_encoder)
    monkeypatch.setattr(architecture, "decoder_layers", longer_decoder)
