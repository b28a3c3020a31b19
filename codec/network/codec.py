"""The codec: encoder, quantizer and decoder as one Keras model.

    audio -> encoder -> latents -> quantizer -> codes -> quantizer -> quantized -> decoder -> audio

It knows no files and no bytes; `codec.coding` does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from codec import architecture
from codec.config import CodecConfig
from codec.dsp import CHANNEL_NOISE_OFFSET, NOISE_PERIOD, postfilter_strength
from codec.network.compiled import compiled
from codec.network.decoder import Decoder
from codec.network.encoder import Encoder
from codec.network.predictive_quantizer import PredictiveQuantizer
from codec.network.streaming import State, Tensor


class CodecState(NamedTuple):
    """What the encoder or the decoder keeps between two steps."""

    network: State
    base: State  # from which the quantizer predicts the next frame


class Codec(keras.Model):
    """A whole codec with weights, ready on construction.

    Shapes:
        audio: float32 [batch, time, 1] in -1 .. 1, time a multiple of `hop_length`
        codes: int32 [batch, frame, codebook]; a lower bitrate is a prefix of each row

    Args:
        config: sizes of the network.
        dtype: policy of the two networks, such as "mixed_bfloat16"; spectra and the quantizer stay in float32.

    Attributes:
        prior: how likely each code is, a `codec.bitstream.Prior`; None until one is fitted.
    """

    seconds_per_step = 1  # each step of a file resets the prediction

    def __init__(self, config: CodecConfig, dtype: str = "float32", **kwargs: Any) -> None:
        super().__init__(dtype=dtype, **kwargs)
        self.config = config
        self.prior: Any = None
        self.encoder = Encoder(config, dtype=dtype, name="encoder")
        self.quantizer = PredictiveQuantizer(
            config.num_codebooks,
            config.codebook_size,
            config.base_codebooks,
            config.envelope_dim,
            config.core_codebooks,
            config.core_dim,
            name="quantizer",
        )
        self.decoder = Decoder(config, dtype=dtype, name="decoder")
        self.build((None, None, 1))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.encoder.build(input_shape)
        self.quantizer.build((None, None, self.config.latent_dim))
        self.decoder.build((None, None, self.config.latent_dim))

    @property
    def latency(self) -> int:
        """Return the samples by which decoded audio lags: output sample t + latency is input sample t."""
        return int(self.decoder.latency)

    @property
    def run_in_frames(self) -> int:
        """Return how many earlier code frames the decoded sound of a frame depends on."""
        return architecture.run_in_frames(self.config)

    @property
    def codebooks(self) -> np.ndarray:
        """Return the codewords, [codebook, codebook_size, dim]."""
        return np.asarray(ops.convert_to_numpy(ops.convert_to_tensor(self.quantizer.codebooks)))

    def encoder_state(self, batch_size: int) -> CodecState:
        """Return the encoder's state after silence."""
        return CodecState(self.encoder.initial_state(batch_size), self.quantizer.initial_state(batch_size))

    def decoder_state(self, batch_size: int, first_frame: int = 0) -> CodecState:
        """Return the decoder's state after silence, with the noise of code frame `first_frame`.

        Each item of the batch has another noise.
        """
        first = 2 * first_frame + CHANNEL_NOISE_OFFSET * ops.arange(batch_size, dtype="int32")
        network = self.decoder.initial_state(batch_size, first % NOISE_PERIOD)
        return CodecState(network, self.quantizer.initial_state(batch_size))

    def reset_prediction(self, state: CodecState) -> CodecState:
        """Return the state with the predictor reset: the network goes on, but codes depend on no earlier ones."""
        return state._replace(base=ops.zeros_like(state.base))

    @functools.cached_property
    def encode_step(self) -> Callable[..., tuple[Tensor, CodecState]]:
        """Code the next block: [batch, n * hop_length, 1] -> [batch, n, num_codebooks], and the state after it.

        It is one compiled graph: the first block of each shape takes a second or two.
        """
        return compiled(self._encode_step, static=("num_codebooks",))

    @functools.cached_property
    def decode_step(self) -> Callable[..., tuple[Tensor, CodecState]]:
        """Decode the next codes: [batch, n, codebook] -> [batch, n * hop_length, 1], and the state after them.

        Lost frames are codes of no codebook, [batch, n, 0]: they become what the predictor expects.
        """
        return compiled(self._decode_step)

    def encode(self, audio: Tensor, num_codebooks: int) -> Tensor:
        """Code a whole signal: one step from silence."""
        return self._encode_step(audio, self.encoder_state(ops.shape(audio)[0]), num_codebooks)[0]

    def decode(self, codes: Tensor) -> Tensor:
        """Decode a whole signal: one step from silence; `latency` samples come before the source's first."""
        return self._decode_step(codes, self.decoder_state(ops.shape(codes)[0]))[0]

    def call(self, audio: Tensor) -> Tensor:
        return self.decode(self.encode(audio, self.config.num_codebooks))

    def _encode_step(self, audio: Tensor, state: CodecState, num_codebooks: int) -> tuple[Tensor, CodecState]:
        latents, network = self.encoder.step(audio, state.network)
        codes, base = self.quantizer.encode_step(latents, state.base, num_codebooks)
        return codes, CodecState(network, base)

    def _decode_step(self, codes: Tensor, state: CodecState) -> tuple[Tensor, CodecState]:
        quantized, base = self.quantizer.decode_step(codes, state.base)
        spectrum, network = self.decoder.spectrum(quantized, state.network)
        spectrum = self.decoder.postfilter(spectrum, postfilter_strength(codes.shape[-1]))
        audio, synthesis = self.decoder.synthesis.step(spectrum, network.synthesis)
        return audio, CodecState(network._replace(synthesis=synthesis), base)
