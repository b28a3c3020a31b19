"""The codec: encoder, quantizer and decoder as one Keras model.

    audio -> encoder -> latents -> quantizer -> codes -> quantizer -> quantized -> decoder -> audio

It knows no files and no bytes; `codec.coding.compression` does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from codec.config import CodecConfig
from codec.dsp import NOISE_APART, NOISE_PERIOD, postfilter_strength
from codec.network.compiled import compiled
from codec.network.decoder import Decoder
from codec.network.encoder import Encoder
from codec.network.predictive_quantizer import PredictiveQuantizer
from codec.network.streaming import State, Tensor


class CodecState(NamedTuple):
    """What encoder or decoder keep between two steps."""

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
        prior: what its codes are written by, a `codec.bitstream.prior.Prior`; None until one is fitted.
    """

    seconds_at_once = 1  # coded in one step of a file: the prediction begins anew with each

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
        """Samples by which decoded audio lags behind: output sample t + latency is input sample t."""
        return int(self.decoder.latency)

    @property
    def codebooks(self) -> np.ndarray:
        """The codewords, [codebook, codebook_size, dim]."""
        return np.asarray(ops.convert_to_numpy(ops.convert_to_tensor(self.quantizer.codebooks)))

    def encoder_state(self, batch_size: int) -> CodecState:
        """The encoder's state of silence."""
        return CodecState(self.encoder.initial_state(batch_size), self.quantizer.initial_state(batch_size))

    def _encode_step(self, audio: Tensor, state: CodecState, num_codebooks: int) -> tuple[Tensor, CodecState]:
        """Code the next block: [batch, n * hop_length, 1] -> [batch, n, num_codebooks]."""
        latents, network = self.encoder.step(audio, state.network)
        codes, base = self.quantizer.encode_step(latents, state.base, num_codebooks)
        return codes, CodecState(network, base)

    def decoder_state(self, batch_size: int, first_frame: int = 0) -> CodecState:
        """The decoder's state of silence, with the noise of code frame `first_frame`, a different one in each item."""
        places = 2 * first_frame + NOISE_APART * ops.arange(batch_size, dtype="int32")
        network = self.decoder.initial_state(batch_size, places % NOISE_PERIOD)
        return CodecState(network, self.quantizer.initial_state(batch_size))

    def _decode_step(self, codes: Tensor, state: CodecState) -> tuple[Tensor, CodecState]:
        """Decode the next codes: [batch, n, codebook] -> [batch, n * hop_length, 1].

        Of frames that are lost there may be no codes at all, [batch, n, 0]: they are what the prediction tells.
        """
        quantized, base = self.quantizer.decode_step(codes, state.base)
        *network, overlap = state.network
        spectrum, network = self.decoder.spectrum(quantized, network)
        spectrum = self.decoder.postfilter(spectrum, postfilter_strength(codes.shape[-1]))
        audio, overlap = self.decoder.synthesis.step(spectrum, overlap)
        return audio, CodecState((*network, overlap), base)

    def reset_prediction(self, state: CodecState) -> CodecState:
        """The state with the prediction begun anew: the network goes on, but no code hangs on those before it."""
        return state._replace(base=ops.zeros_like(state.base))

    @functools.cached_property
    def encode_step(self) -> Callable[..., tuple[Tensor, CodecState]]:
        """`encode_step` as one graph: a second or two for the first block of each shape, then much faster."""
        return compiled(self._encode_step, fixed=("num_codebooks",))

    @functools.cached_property
    def decode_step(self) -> Callable[..., tuple[Tensor, CodecState]]:
        """`decode_step` as one graph."""
        return compiled(self._decode_step)

    def encode(self, audio: Tensor, num_codebooks: int) -> Tensor:
        """Code a whole signal: one step from silence."""
        return self._encode_step(audio, self.encoder_state(ops.shape(audio)[0]), num_codebooks)[0]

    def decode(self, codes: Tensor) -> Tensor:
        """Decode a whole signal: one step from silence; the first `latency` samples come before the source's first."""
        return self._decode_step(codes, self.decoder_state(ops.shape(codes)[0]))[0]

    def call(self, audio: Tensor) -> Tensor:
        return self.decode(self.encode(audio, self.config.num_codebooks))
