"""What streams and files need of a model: the Keras model and the one in numpy both offer it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from codec.bitstream import Prior
    from codec.config import CodecConfig


class StreamingCodec(Protocol):
    """A trained model that codes and decodes block by block. It keeps no state of its own.

    Shapes:
        audio: float32 [batch, time, 1] in -1 .. 1, time a multiple of `hop_length`
        codes: int32 [batch, frame, codebook]
    """

    @property
    def config(self) -> CodecConfig:
        """Return the sizes of the model."""

    @property
    def prior(self) -> Prior | None:
        """Return the model of how likely codes are, or None."""

    @property
    def latency(self) -> int:
        """Return the samples by which decoded audio lags: output sample t + latency is input sample t."""

    @property
    def run_in_frames(self) -> int:
        """Return how many earlier code frames the decoded sound of a frame depends on."""

    @property
    def codebooks(self) -> np.ndarray:
        """Return the codewords, float32 [codebook, codebook_size, dim]."""

    @property
    def seconds_per_step(self) -> int:
        """Return the seconds of audio, all channels together, that one step should code for speed."""

    def encoder_state(self, batch_size: int) -> Any:
        """Return the state of an encoder that has seen silence only."""

    def decoder_state(self, batch_size: int, first_frame: int = 0) -> Any:
        """Return the state of a decoder that has seen silence only, for a stream from `first_frame` on."""

    def reset_prediction(self, state: Any) -> Any:
        """Return the state with the predictor reset: the next codes depend on no earlier ones."""

    def encode_step(self, audio: Any, state: Any, num_codebooks: int) -> tuple[Any, Any]:
        """Code the next block: [batch, n * hop_length, 1] -> [batch, n, num_codebooks], and the state after it."""

    def decode_step(self, codes: Any, state: Any) -> tuple[Any, Any]:
        """Decode the next codes: [batch, n, codebook] -> [batch, n * hop_length, 1], and the state after them.

        Lost frames are passed as codes of no codebook, [batch, n, 0]: they become what the predictor expects.
        """
