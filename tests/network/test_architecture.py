"""One description of the network: a layer added there is in every form of the model."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from support.contract import white
from support.sounds import tone

from codec import architecture, compress, decompress, load, load_keras, save_preset
from codec.config import CodecConfig
from codec.network import Codec
from codec.network.weights import named_weights, shipped_weights


def started(config: CodecConfig) -> Codec:
    """A model with random codewords."""
    keras.utils.set_random_seed(7)
    codec = Codec(config)
    codec.quantizer.start(white(config.num_codebooks, config.codebook_size, config.latent_dim))
    return codec


@pytest.mark.usefixtures("more_blocks")
def test_an_added_block_is_coded_saved_loaded_and_compressed_with(
    tiny_config: CodecConfig, tmp_path: Path
) -> None:
    made = started(tiny_config)
    save_preset(made, tmp_path / "longer", "# Longer: for tests, untrained\n")
    numpy_codec, keras_codec = load(tmp_path / "longer", effort=0), load_keras(tmp_path / "longer")
    assert "added.mix.kernel" in numpy_codec.parts["encoder"]
    assert numpy_codec.parts["decoder"]["added.expand.kernel"].shape == (8, 8)
    audio = 0.1 * white(1, 30 * tiny_config.hop_length, 1)
    codes, _ = numpy_codec.encode_step(audio, numpy_codec.encoder_state(1), 6)
    assert np.mean(codes != keras_codec.encode(audio, 6)) < 0.02  # near ties of random codewords
    decoded, _ = numpy_codec.decode_step(codes, numpy_codec.decoder_state(1))
    expected = np.asarray(keras_codec.decode(codes))
    np.testing.assert_allclose(decoded, expected, atol=1e-4 * np.abs(expected).max())
    samples = tone(1.2, tiny_config.sample_rate)
    import soundfile

    soundfile.write(tmp_path / "a.wav", samples, tiny_config.sample_rate)
    compress(tmp_path / "a.wav", tmp_path / "a.lam", model=tmp_path / "longer")
    report = decompress(tmp_path / "a.lam", tmp_path / "b.wav", model=tmp_path / "longer")
    assert report.num_samples == len(samples)


@pytest.mark.usefixtures("more_blocks")
def test_an_added_decoder_block_lengthens_the_run_in(tiny_config: CodecConfig) -> None:
    longer = architecture.run_in_frames(tiny_config)
    spectral = (
        6 * tiny_config.decoder_fine_blocks + 256 + 1
    )  # kernels, reset period of the excitation, overlap
    assert longer == 6 + 2 + 6 * tiny_config.decoder_blocks + (spectral + 1) // 2


def test_a_preset_of_the_usual_layers_does_not_fit_a_longer_description(
    tiny_preset: Path, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("more_blocks")
    with pytest.raises(Exception, match=r"added\.") as error:
        dict(load(tiny_preset).parts["encoder"])
    assert type(error.value).__name__ == "PresetError"


def test_names_and_shapes_are_those_of_the_keras_model(keras_codec: Codec) -> None:
    shipped = shipped_weights(keras_codec)
    found = {part: {name: tuple(w.shape) for name, w in weights.items()} for part, weights in shipped.items()}
    assert found == architecture.weight_shapes(keras_codec.config)
    training_only = {"quantizer.counts", "quantizer.sums"}
    stored = {f"{part}.{name}" for part, weights in found.items() for name in weights}
    assert named_weights(keras_codec).keys() == stored | training_only


def test_the_default_model_has_nine_million_weights() -> None:
    shapes = architecture.weight_shapes(CodecConfig())
    total = sum(int(np.prod(shape)) for part in shapes.values() for shape in part.values())
    assert total == pytest.approx(8.9e6, rel=0.03)
