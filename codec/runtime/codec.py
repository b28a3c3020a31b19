"""The codec in numpy: the network of `codec.network` without a framework, for coding alone.

Importing TensorFlow takes longer than coding a minute of audio, so `lamella compress` and `decompress` do without. The
samples equal those of the Keras model within 1e-4. With one candidate the codes do too, near ties apart.

    audio -> Encoder -> latents -> Quantizer -> codes -> Quantizer -> quantized -> Decoder -> audio

LiteRT is an export format and not the runtime: `assets/lamella-48k/experiments.md` has the measurements.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from codec import architecture
from codec.config import CodecConfig
from codec.dsp import CHANNEL_NOISE_OFFSET, NOISE_PERIOD, postfilter_strength
from codec.runtime import signals
from codec.runtime.beam_search import CANDIDATES
from codec.runtime.decoder import Decoder
from codec.runtime.encoder import Encoder
from codec.runtime.folding import Weights
from codec.runtime.layers import Step, StreamState
from codec.runtime.quantizer import Quantizer

if TYPE_CHECKING:
    from codec.bitstream import Prior


class NumpyCodec:
    """A trained codec in numpy. It keeps no state, so any number of streams and threads may share it.

    Shapes:
        audio: float32 [batch, time, 1] in -1 .. 1, time a multiple of `hop_length`
        codes: int32 [batch, frame, codebook]

    Args:
        config: sizes of the network.
        parts: the weights by part and name, as `codec.architecture.weight_shapes` lists them; float16 or float32. Each
            part is read when it is first needed: who only decodes reads no encoder.
        candidates: of the search for codes. More find closer codewords in more time, see `codec.runtime.beam_search`.
        prior: how likely each code is, or None.

    Attributes:
        latency: samples by which decoded audio lags.
        run_in_frames: earlier code frames that the decoded sound of a frame depends on.
        codebooks: the codewords, float32 [codebook, codebook_size, dim].
        seconds_per_step: seconds of audio, all channels together, that one step of a file should take for speed.
    """

    seconds_per_step = 8  # measured: a row of 400 is multiplied faster than a row of 50

    def __init__(
        self,
        config: CodecConfig,
        parts: Mapping[str, Weights],
        candidates: int = CANDIDATES,
        prior: Prior | None = None,
    ) -> None:
        self.config, self.parts, self.prior, self.latency = config, parts, prior, config.spectral_hop
        self.run_in_frames = architecture.run_in_frames(config)
        self._quantizer = Quantizer(config, _float32(parts["quantizer"]), candidates)
        self.codebooks = self._quantizer.codebooks

    @functools.cached_property
    def _encoder(self) -> Encoder:
        return Encoder(self.config, _float32(self.parts["encoder"]))

    @functools.cached_property
    def _decoder(self) -> Decoder:
        return Decoder(self.config, _float32(self.parts["decoder"]))

    def encode(
        self,
        samples: np.ndarray,
        sample_rate: int,
        *,
        bitrate: int | None = None,
        num_codebooks: int | None = None,
    ) -> np.ndarray:
        """Code a whole signal: the same codes as in a file.

        Args:
            samples: float, [time] or [time, channels], full scale -1 .. 1; two channels are coded as mid and side.
            sample_rate: Hz; the signal is resampled to the model's rate.
            bitrate: bits per second and channel, one of `config.bitrates`. Default: the rate nearest to 6000.
            num_codebooks: in place of `bitrate`, for experts.

        Returns:
            Codes, int32 [channel, frame, codebook].

        Raises:
            ValueError: both rates are given, the model has no such rate, or the samples are not usable.
        """
        count = self.config.choose_codebooks(bitrate, num_codebooks)
        return signals.encode(self, samples, sample_rate, count)

    def decode(self, codes: np.ndarray, sample_rate: int) -> np.ndarray:
        """Decode a whole signal.

        Args:
            codes: integers [channel, frame, codebook], as `encode` returns them.
            sample_rate: Hz, of the samples.

        Returns:
            Samples, float32 [time, channels]; up to a frame longer than what was coded.

        Raises:
            ValueError: the codes are not of this model.
        """
        return signals.decode(self, codes, sample_rate)

    def encoder_state(self, batch_size: int) -> StreamState:
        """Return the encoder's state after silence."""
        return {"base": np.zeros((batch_size, self.config.envelope_dim), np.float32)}

    def decoder_state(self, batch_size: int, first_frame: int = 0) -> StreamState:
        """Return the decoder's state after silence, with the noise of code frame `first_frame`.

        Each item of the batch has another noise.
        """
        numbers = 2 * first_frame + CHANNEL_NOISE_OFFSET * np.arange(batch_size)
        return {**self.encoder_state(batch_size), "frame": numbers % NOISE_PERIOD}

    def reset_prediction(self, state: StreamState) -> StreamState:
        """Return the state with the predictor reset: the network goes on, but codes depend on no earlier ones."""
        return {**state, "base": np.zeros_like(state["base"])}

    def encode_step(
        self, audio: np.ndarray, state: StreamState, num_codebooks: int
    ) -> tuple[np.ndarray, StreamState]:
        """Code the next block: [batch, n * hop_length, 1] -> [batch, n, num_codebooks], and the state after it.

        The predictor goes on from the state. In a step longer than a second it is reset after each second.
        """
        step = Step(state)
        return self._quantizer.encode(self._encoder.latents(step, audio), step, num_codebooks), step.after

    def decode_step(self, codes: np.ndarray, state: StreamState) -> tuple[np.ndarray, StreamState]:
        """Decode the next codes: [batch, n, codebook] -> [batch, n * hop_length, 1], and the state after them.

        Lost frames are codes of no codebook, [batch, n, 0]: they become what the predictor expects.
        """
        step = Step(state)
        quantized = self._quantizer.decode(codes, step)
        return self._decoder.audio(step, quantized, postfilter_strength(codes.shape[-1])), step.after


def _float32(weights: Weights) -> dict[str, np.ndarray]:
    return {name: np.asanyarray(weight).astype(np.float32) for name, weight in weights.items()}
