"""The codec as four functions with named inputs and outputs, for programs without lists of tensors or hidden state.

The functions use operations that TensorFlow and LiteRT both have. The predictor runs along the frames of one reset
interval, and all intervals of a signal go through it side by side.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from keras import ops, tree
from keras.backend import standardize_dtype

from codec.dsp import postfilter_strength
from codec.export.quantization import decode_frames, encode_frames
from codec.export.specs import ArraySpec, FunctionSpec
from codec.network import Codec, CodecState
from codec.network.decoder import DecoderState
from codec.network.spectral import Analysis, Synthesis
from codec.network.streaming import Serial, State, Tensor

Arrays: TypeAlias = dict[str, Tensor]


class Signatures:
    """The four functions of a codec. They keep no state.

    Args:
        codec: the model.
        analysis: used in place of the model's own, such as `ProductAnalysis` where there is no FFT.
        synthesis: likewise, such as `ProductSynthesis`.

    Shapes:
        audio: float32 [batch, time, 1], any time; [batch, hop_length, 1] in a step
        codes: int32 [batch, frame, codebook], all codebooks; -1 where a lower bitrate has none; one frame in a step
        state: by name, as `functions` describes it
    """

    def __init__(
        self, codec: Codec, analysis: Analysis | None = None, synthesis: Synthesis | None = None
    ) -> None:
        self.codec, self.config = codec, codec.config
        self.analysis = analysis or codec.encoder.analysis
        self.synthesis = synthesis or codec.decoder.synthesis
        self._encoder_names = CodecState(("analysis", _layer_names(codec.encoder.network)), "base")
        self._decoder_names = CodecState(
            DecoderState(
                coarse=_layer_names(codec.decoder.coarse),
                frame="frame",
                fine=_layer_names(codec.decoder.fine),
                excitation="excitation",
                synthesis="synthesis",
            ),
            "base",
        )

    def functions(self) -> dict[str, FunctionSpec]:
        """Return the inputs, state and outputs of each function by its name."""
        config = self.config
        audio = ArraySpec(("batch", "time", 1), "float32")
        codes = ArraySpec(("batch", "frame", config.num_codebooks), "int32")
        audio_step = ArraySpec(("batch", config.hop_length, 1), "float32")
        codes_step = ArraySpec(("batch", 1, config.num_codebooks), "int32")
        encoder_state = _specs(_named(self._encoder_names, self.codec.encoder_state(1)))
        decoder_state = _specs(_named(self._decoder_names, self.codec.decoder_state(1)))
        return {
            "encode": FunctionSpec({"audio": audio}, {}, {"codes": codes}),
            "decode": FunctionSpec({"codes": codes}, {}, {"audio": audio}),
            "encode_step": FunctionSpec({"audio": audio_step}, encoder_state, {"codes": codes_step}),
            "decode_step": FunctionSpec({"codes": codes_step}, decoder_state, {"audio": audio_step}),
        }

    def encode(self, audio: Tensor) -> Arrays:
        """Code a whole signal as a .lam file does, with a reset of the predictor at every interval."""
        latency = self.codec.latency
        padding = latency + -(ops.shape(audio)[1] + latency) % self.config.hop_length
        audio = _pad_end(audio, padding)
        latents, _ = self._latents(audio, self.codec.encoder.initial_state(ops.shape(audio)[0]))
        intervals = self._intervals(latents)
        codes, _ = encode_frames(self.codec.quantizer, intervals, self._reset_base(intervals))
        return {"codes": self._joined(codes, latents)}

    def decode(self, codes: Tensor) -> Arrays:
        """Decode a whole signal; the first sample is the first of the source."""
        intervals = self._intervals(codes)
        quantized, _ = decode_frames(self.codec.quantizer, intervals, self._reset_base(intervals))
        state = self.codec.decoder_state(ops.shape(codes)[0]).network
        audio, _ = self._audio(self._joined(quantized, codes), codes, state)
        return {"audio": audio[:, self.codec.latency :]}

    def encode_step(self, audio: Tensor, state: Arrays) -> Arrays:
        """Code the next frame; return its codes and the state after it."""
        before = _packed(self._encoder_names, state)
        latents, network = self._latents(audio, before.network)
        latents = ops.reshape(latents, (-1, 1, latents.shape[-1]))  # makes the number of frames known
        codes, base = encode_frames(self.codec.quantizer, latents, before.base)
        return {"codes": codes, **_named(self._encoder_names, CodecState(network, base))}

    def decode_step(self, codes: Tensor, state: Arrays) -> Arrays:
        """Decode the next frame; return its audio, `latency` samples late, and the state after it."""
        before = _packed(self._decoder_names, state)
        quantized, base = decode_frames(self.codec.quantizer, codes, before.base)
        audio, network = self._audio(quantized, codes, before.network)
        return {"audio": audio, **_named(self._decoder_names, CodecState(network, base))}

    def _latents(self, audio: Tensor, state: State) -> tuple[Tensor, State]:
        analysis_state, network_state = state
        features, analysis_state = self.analysis.step(audio, analysis_state)
        latents, network_state = self.codec.encoder.latents(features, network_state)
        return latents, (analysis_state, network_state)

    def _audio(self, quantized: Tensor, codes: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        decoder = self.codec.decoder
        spectrum, state = decoder.spectrum(quantized, state)
        spectrum = decoder.postfilter(spectrum, _postfilter_strengths(codes))
        audio, synthesis = self.synthesis.step(spectrum, state.synthesis)
        return audio, state._replace(synthesis=synthesis)

    def _reset_base(self, rows: Tensor) -> Tensor:
        return self.codec.quantizer.initial_state(ops.shape(rows)[0])

    def _intervals(self, x: Tensor) -> Tensor:
        """Cut into reset intervals, the last filled up with zeros.

        Shapes:
            x:       [batch, frame, dim]
            returns: [batch * interval, reset_interval, dim]
        """
        frames = self.config.reset_interval
        x = _pad_end(x, -ops.shape(x)[1] % frames)
        return ops.reshape(x, (-1, frames, x.shape[-1]))

    def _joined(self, intervals: Tensor, like: Tensor) -> Tensor:
        """Undo `_intervals`: return [batch, frame, dim], with as many frames as `like` has."""
        batch, frames = ops.shape(like)[0], ops.shape(like)[1]
        return ops.reshape(intervals, (batch, -1, intervals.shape[-1]))[:, :frames]


def _postfilter_strengths(codes: Tensor) -> Tensor:
    """Return the strength for the codebooks that each frame has: [batch, spectral frame, 1]."""
    strengths = np.array([postfilter_strength(count) for count in range(codes.shape[-1] + 1)], np.float32)
    counts = ops.sum(ops.cast(codes >= 0, "int32"), axis=-1, keepdims=True)  # [batch, frame, 1]
    return ops.repeat(ops.take(strengths, counts), 2, axis=1)


def _pad_end(x: Tensor, count: Tensor) -> Tensor:
    """Append `count` frames of zeros to [batch, frame, dim]; `count` may be a tensor."""
    zeros = ops.zeros((ops.shape(x)[0], count, x.shape[-1]), x.dtype)
    return ops.concatenate([x, zeros], axis=1)


def _layer_names(layers: Serial) -> tuple[str, ...]:
    return tuple(layer.name for layer in layers.layers)


def _named(names: CodecState, state: CodecState) -> Arrays:
    """Return the tensors of a state by name; a layer without state has none."""
    named: Arrays = {}
    tree.map_structure_up_to(names, named.__setitem__, names, state)
    return {name: tensor for name, tensor in named.items() if not isinstance(tensor, tuple)}


def _packed(names: CodecState, named: Arrays) -> CodecState:
    """Undo `_named`."""
    return tree.map_structure(lambda name: named.get(name, ()), names)


def _specs(arrays: Arrays) -> dict[str, ArraySpec]:
    return {
        name: ArraySpec(("batch", *array.shape[1:]), standardize_dtype(array.dtype))
        for name, array in arrays.items()
    }
