"""Fixtures of many tests: models, presets, a recording, a finished training run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

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

    from codec.config import CodecConfig
    from codec.network.codec import Codec
    from codec.runtime.codec import NumpyCodec


@pytest.fixture(scope="session")
def tiny_config() -> CodecConfig:
    """The sizes of a narrow model for 16 kHz with 24 codebooks."""
    from codec.config import CodecConfig

    return CodecConfig(
        sample_rate=16000,
        hop_length=320,
        mel_bands=24,
        spectrum_limit=4000,
        envelope_dim=6,
        phase_dim=6,
        detail_dim=4,
        num_codebooks=24,
        encoder_fine_width=8,
        encoder_width=8,
        encoder_blocks=1,
        decoder_width=8,
        decoder_blocks=1,
        decoder_fine_width=8,
        decoder_fine_blocks=1,
        noise_channels=2,
        encoder_expansion=300,
        decoder_expansion=300,
    )


@pytest.fixture(scope="session")
def keras_codec(tiny_config: CodecConfig) -> Codec:
    """The narrow model in Keras, untrained, with random codebooks."""
    import keras

    from codec.network.codec import Codec

    keras.utils.set_random_seed(7)
    codec = Codec(tiny_config)
    shape = (tiny_config.num_codebooks, tiny_config.codebook_size, tiny_config.latent_dim)
    sizes = 0.8 ** np.arange(tiny_config.num_codebooks)[:, None, None]
    codec.quantizer.start((sizes * np.random.default_rng(7).standard_normal(shape)).astype(np.float32))
    codec.quantizer.prediction.assign(0.7 * np.eye(tiny_config.envelope_dim, dtype=np.float32))
    return codec


@pytest.fixture(scope="session")
def tiny_preset(keras_codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the narrow model, as `--model` takes it."""
    from codec.presets import save_preset

    directory = tmp_path_factory.mktemp("models") / "tiny"
    save_preset(keras_codec, directory, "# Tiny: for tests, untrained\n")
    return directory


@pytest.fixture(scope="session")
def numpy_codec(tiny_preset: Path) -> NumpyCodec:
    """The narrow model in numpy, with the greedy search that the Keras model uses."""
    from codec.presets import load

    return load(tiny_preset, candidates=1)


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
