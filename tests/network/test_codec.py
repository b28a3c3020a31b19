"""The whole codec in Keras: streaming, delay, size, the start of training, and numbers that stay."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from fractions import Fraction

import keras
import numpy as np
import pytest
from support.contract import check_streams, white
from support.models import narrow_config
from support.sounds import tone

from codec.config import CodecConfig
from codec.network.codec import Codec
from codec.network.streaming import State, StreamingLayer, Tensor
from codec.network.weights import named_weights
from codec.training.initialization import initialize_codebooks, initialize_linear_paths
from codec.training.losses import mel_distances

# Small, but with linear paths wide enough to be a codec of their own from the PCA start on.
LINEAR = dataclasses.replace(
    narrow_config(), envelope_dim=20, phase_dim=80, detail_dim=2, num_codebooks=12, codebook_size=32
)
HOP = LINEAR.hop_length


class RoundTrip(StreamingLayer):
    """The codec as one layer: audio in, decoded audio out, one row of samples a code frame."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec, self.hop = codec, codec.config.hop_length
        self.stride, self.latency = Fraction(self.hop), Fraction(codec.latency, self.hop)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], None, self.hop)

    def initial_state(self, batch_size: int) -> State:
        return self.codec.encoder_state(batch_size), self.codec.decoder_state(batch_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        codes, encoder = self.codec._encode_step(x, state[0], 6)  # not compiled for each length of a block
        audio, decoder = self.codec._decode_step(codes, state[1])
        return keras.ops.reshape(audio, (keras.ops.shape(x)[0], -1, self.hop)), (encoder, decoder)


def harmonics() -> Iterator[np.ndarray]:
    """Segments [1, time, 1] whose pitch and loudness move."""
    for seed in range(6):
        generator, time = np.random.default_rng(seed), np.arange(50 * HOP) / LINEAR.sample_rate
        phase = 2 * np.pi * np.cumsum(200 + 80 * np.sin(2 * np.pi * generator.uniform(1, 4) * time)) / 16000
        waves = sum(np.sin(k * phase + generator.uniform(0, 6)) / k for k in range(1, 20))
        loudness = 0.15 * (1 + np.sin(2 * np.pi * generator.uniform(2, 6) * time))
        yield (waves * loudness + 0.002 * generator.standard_normal(len(time)))[None, :, None].astype(
            np.float32
        )


@pytest.fixture(scope="module")
def linear() -> Codec:
    """A codec from the PCA start and k-means, no step trained."""
    keras.utils.set_random_seed(3)
    codec = Codec(LINEAR)
    initialize_linear_paths(codec, [*harmonics(), 0.1 * white(1, 200 * HOP, 1)])
    initialize_codebooks(codec, harmonics(), iterations=4, seed=0)
    return codec


def distance(reference: np.ndarray, decoded: np.ndarray, latency: int) -> float:
    """Log-mel distance over three windows, without the lag."""
    pair = reference[:, :-latency, 0], keras.ops.convert_to_numpy(decoded)[:, latency:, 0]
    return float(mel_distances(*pair, LINEAR.sample_rate, (2, 3, 4)).log[0])


def test_the_codec_streams(keras_codec: Codec) -> None:
    check_streams(
        RoundTrip(keras_codec), 0.1 * white(2, 9 * keras_codec.config.hop_length, 1), tolerance=3e-5
    )


def test_codes_of_blocks_are_those_of_the_whole(keras_codec: Codec) -> None:
    audio, hop = 0.1 * white(2, 10 * keras_codec.config.hop_length, 1), keras_codec.config.hop_length
    whole, state, parts = keras_codec.encode(audio, 24).numpy(), keras_codec.encoder_state(2), []
    for start, end in ((0, 1), (1, 3), (3, 10)):
        codes, state = keras_codec.encode_step(audio[:, start * hop : end * hop], state, 24)
        parts.append(codes.numpy())
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    assert whole.shape == (2, 10, 24) and whole.dtype == np.int32
    assert whole.min() >= 0 and whole.max() < keras_codec.config.codebook_size


def test_a_lower_rate_is_a_prefix(keras_codec: Codec) -> None:
    audio = 0.1 * white(1, 4 * keras_codec.config.hop_length, 1)
    few, many = keras_codec.encode(audio, 3).numpy(), keras_codec.encode(audio, 24).numpy()
    np.testing.assert_array_equal(few, many[..., :3])
    np.testing.assert_array_equal(keras_codec.decode(few), keras_codec.decode(many[..., :3]))
    np.testing.assert_array_equal(keras_codec(audio), keras_codec.decode(many))


def test_decoding_again_or_in_chunks_gives_the_same_samples(keras_codec: Codec) -> None:
    codes = np.random.default_rng(4).integers(0, 1024, (1, 12, 6)).astype(np.int32)
    whole = keras_codec.decode(codes).numpy()
    np.testing.assert_array_equal(keras_codec.decode(codes).numpy(), whole)
    state, parts = keras_codec.decoder_state(1), []
    for start, end in ((0, 5), (5, 6), (6, 12)):
        audio, state = keras_codec.decode_step(codes[:, start:end], state)
        parts.append(audio.numpy())
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-4 * np.abs(whole).max())


def test_streams_of_one_batch_are_independent(keras_codec: Codec) -> None:
    audio = 0.1 * white(3, 4 * keras_codec.config.hop_length, 1)
    together = keras_codec.encode(audio, 6).numpy()
    np.testing.assert_array_equal(together[1:2], keras_codec.encode(audio[1:2], 6))


def test_the_compiled_steps_give_what_the_whole_signal_gives(keras_codec: Codec) -> None:
    audio = 0.1 * white(1, 3 * keras_codec.config.hop_length, 1)
    codes, _ = keras_codec.encode_step(audio, keras_codec.encoder_state(1), 6)
    np.testing.assert_array_equal(codes, keras_codec.encode(audio, 6))
    decoded, _ = keras_codec.decode_step(codes, keras_codec.decoder_state(1))
    np.testing.assert_allclose(decoded, keras_codec.decode(codes), atol=1e-4)


def pulse(place: int) -> np.ndarray:
    """A pulse of 3 ms around a sample, [1, time, 1]."""
    audio = np.zeros((1, 24 * HOP, 1), np.float32)
    audio[0, place - 24 : place + 25, 0] = 0.9 * np.hanning(49)
    return audio


def test_an_impulse_comes_out_within_30_ms(linear: Codec) -> None:
    """The peak of a pulse comes out at most 30 ms after it went in, frame by frame and through codes.

    The untrained network is silenced, so the phase path alone makes the sound.
    """
    codec, places = Codec(LINEAR), [12 * HOP + offset for offset in (0, 57, 159, 160, 319)]
    for ours, given in zip(codec.weights, linear.weights, strict=True):
        ours.assign(given.value)
    codec.decoder.head.magnitude.bias.assign(np.full(LINEAR.synthesis_bins, -50))
    initialize_codebooks(codec, [pulse(place) for place in places], iterations=2, seed=0)
    audio = np.concatenate([pulse(place) for place in places])
    for decoded in (codec.decoder(codec.encoder(audio)), codec.decode(codec.encode(audio, 12))):
        peaks = np.argmax(np.abs(keras.ops.convert_to_numpy(decoded)[:, :, 0]), axis=1)
        np.testing.assert_allclose(peaks - places, codec.latency, atol=8)
        out = (peaks // HOP + 1) * HOP  # a sample leaves with its frame, when that frame is complete
        assert np.all(out - places <= 0.030 * LINEAR.sample_rate + 8)


def test_promised_delay_of_the_default() -> None:
    config = CodecConfig()
    framing, overlap = config.hop_length, config.spectral_hop
    assert (framing + overlap) / config.sample_rate == 0.030


def test_the_principal_components_are_already_a_codec(linear: Codec) -> None:
    keras.utils.set_random_seed(3)
    random, audio = Codec(LINEAR), next(harmonics())
    untrained = distance(audio, random.decoder(random.encoder(audio)), linear.latency)
    started = distance(audio, linear.decoder(linear.encoder(audio)), linear.latency)
    coded = distance(audio, linear.decode(linear.encode(audio, 12)), linear.latency)
    assert started < 0.2 * untrained
    assert coded < 0.2 * untrained


def test_more_codebooks_are_better_from_the_start(linear: Codec) -> None:
    audio = next(harmonics())
    ladder = [
        distance(audio, linear.decode(linear.encode(audio, count)), linear.latency) for count in (1, 3, 12)
    ]
    assert ladder == sorted(ladder, reverse=True)


def test_the_phase_path_restores_the_waveform(linear: Codec) -> None:
    time = np.arange(40 * HOP) / LINEAR.sample_rate
    audio = (0.2 * np.sin(2 * np.pi * 440 * time) + 0.1 * np.sin(2 * np.pi * 700 * time))[None, :, None]
    decoded = linear.decoder(linear.encoder(audio.astype(np.float32))).numpy()[0, linear.latency :, 0]
    reference = audio[0, : len(decoded), 0]
    correlation = np.corrcoef(decoded[HOP:], reference[HOP:])[0, 1]
    assert correlation > 0.9


def test_a_tiny_model_gives_pinned_numbers(tiny_config: CodecConfig) -> None:
    codec, generator = Codec(tiny_config), np.random.default_rng(48)
    for name, weight in sorted(named_weights(codec).items()):
        fan = np.prod(weight.shape[:-1]) if name.endswith("kernel") else 1
        weight.assign(0.5 * generator.standard_normal(tuple(weight.shape)) / np.sqrt(fan))
    codec.encoder.standardize.variance.assign([1.0, 1.0, 1.0])
    audio = tone(6 * tiny_config.hop_length / 16000, 16000)[None]
    codes = codec.encode(audio, 24).numpy()
    decoded = codec.decode(codes).numpy()
    pinned = [-28.882622, 11.838703, 6.426334, -5.940432, 1.683943, 26.106194, -33.533138]
    assert codes[0, :3, :4].tolist() == [[212, 136, 340, 89], [212, 136, 897, 753], [328, 136, 897, 963]]
    assert int(codes.sum()) == 71090
    np.testing.assert_allclose(decoded[0, 500:1900:200, 0], pinned, atol=1e-4 * np.max(np.abs(pinned)))
    assert np.std(decoded) == pytest.approx(21.094776, rel=1e-4)


def macs_per_second(codec: Codec) -> float:
    """Multiplications of all kernels: a kernel at 100 Hz is used twice as often as one at 50 Hz."""
    fine = ("encoder.input", "encoder.fine", "decoder.fine", "decoder.noise_map", "decoder.head")
    kernels = {name: weight for name, weight in named_weights(codec).items() if name.endswith("kernel")}
    rates = {name: codec.config.frame_rate * (2 if name.startswith(fine) else 1) for name in kernels}
    search = codec.config.frame_rate * float(np.prod(codec.quantizer.codebooks.shape))
    return search + sum(rates[name] * float(np.prod(weight.shape)) for name, weight in kernels.items())


def test_size_of_the_default() -> None:
    codec = Codec(CodecConfig())
    trained = sum(int(np.prod(weight.shape)) for weight in codec.trainable_variables)
    books = int(np.prod(codec.quantizer.codebooks.shape))
    assert trained == pytest.approx(5.9e6, rel=0.03)
    assert books == 30 * 1024 * 96
    assert macs_per_second(codec) == pytest.approx(0.495e9, rel=0.05)
    assert codec.latency == 480
