r"""The codec in numpy: the network of `codec.model` without a framework, for coding alone.

Importing TensorFlow takes longer than coding a minute of sound, so `lamella compress` and `decompress` do without: they
run this, from the same preset. It gives the codes of the Keras model, near ties apart, and its samples within 1e-4.

    audio -> features -> network at 100 Hz -> at 50 Hz -> + linear paths -> latents -> quantizer -> codes
    codes -> quantizer -> network at 50 Hz -> at 100 Hz -> spectrum -> overlap-add -> audio

Each formula stands in the module of the Keras layer of that name; weights are found by their names in the preset.
"""

from __future__ import annotations

import numpy as np

from codec.config import CodecConfig
from codec.tables import (
    BAND_FLOOR,
    BAND_SCALE,
    DIRECTION_FLOOR,
    LOG_MAGNITUDE_RANGE,
    LOW_GAIN_RANGE,
    MAGNITUDE_FLOOR,
    NOISE_PERIOD,
    NORM_EPSILON,
    PHASE_GAIN,
    PHASE_POWER,
    POWER_FLOOR,
    POWER_LIMIT,
    SPECTRUM_POWER,
    VARIANCE_FLOOR,
    analysis_window,
    band_interpolation,
    band_weights,
    latent_shares,
    magnitude_offset,
    noise_table,
    synthesis_window,
    variance_targets,
)

Weights = dict[str, np.ndarray]
LightState = dict[str, np.ndarray]  # what each part keeps, by its name; what is not there is silence


class LightCodec:
    """A trained codec that codes and decodes, with the methods of `Codec` that streams use.

    Shapes:
        audio: float32 [batch, time, 1] in -1 .. 1, time a multiple of `hop_length`
        codes: int32 [batch, frame, codebook]

    Args:
        config: sizes of the network.
        weights: float32, by the names in a preset; `weight_shapes` says which.
    """

    def __init__(self, config: CodecConfig, weights: Weights) -> None:
        self.config, self.weights, self.latency = config, weights, config.spectral_hop
        self._encoder, self._decoder = _Encoder(config, weights), _Decoder(config, weights)
        self._quantizer = _Quantizer(config, weights)

    def encoder_state(self, batch_size: int) -> LightState:
        """The encoder's state of silence."""
        return {"base": np.zeros((batch_size, self.config.envelope_dim), np.float32)}

    def decoder_state(self, batch_size: int, first_frame: int = 0) -> LightState:
        """The decoder's state of silence, with the noise of code frame `first_frame`."""
        return {**self.encoder_state(batch_size), "noise": np.array(2 * first_frame % NOISE_PERIOD)}

    def restarted(self, state: LightState) -> LightState:
        """The state with the prediction begun anew: the network goes on, but no code hangs on those before it."""
        return {**state, "base": np.zeros_like(state["base"])}

    def fast_encode_step(
        self, audio: np.ndarray, state: LightState, num_codebooks: int
    ) -> tuple[np.ndarray, LightState]:
        """Code the next block: [batch, n * hop_length, 1] -> [batch, n, num_codebooks]."""
        step = _Step(self.weights, state)
        return self._quantizer.encode(self._encoder.latents(step, audio), step, num_codebooks), step.after

    def fast_decode_step(self, codes: np.ndarray, state: LightState) -> tuple[np.ndarray, LightState]:
        """Decode the next codes: [batch, n, codebook] -> [batch, n * hop_length, 1]."""
        step = _Step(self.weights, state)
        return self._decoder.audio(step, self._quantizer.decode(codes, step)), step.after


class _Step:
    """The layers, by the names of their weights, during one step: the state before it, and the state after it."""

    def __init__(self, weights: Weights, before: LightState) -> None:
        self.weights, self.before, self.after = weights, before, dict(before)

    def extend(self, name: str, x: np.ndarray, context: int) -> np.ndarray:
        """Put the last `context` steps of the block before in front: [batch, context + time, ...]."""
        past = self.before.get(name)
        if past is None:
            past = np.zeros((len(x), context, *x.shape[2:]), x.dtype)
        x = np.concatenate([past, x], axis=1)
        self.after[name] = x[:, x.shape[1] - context :]
        return x

    def dense(self, name: str, x: np.ndarray) -> np.ndarray:
        y = x @ self.weights[f"{name}.kernel"]
        bias = self.weights.get(f"{name}.bias")
        if bias is not None:
            y += bias
        return y

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        x = x - x.mean(axis=-1, keepdims=True)
        variance = np.einsum("btd,btd->bt", x, x)[..., None] / x.shape[-1]
        x /= np.sqrt(variance + NORM_EPSILON)
        x *= self.weights[f"{name}.gamma"]
        x += self.weights[f"{name}.beta"]
        return x

    def conv(self, name: str, x: np.ndarray) -> np.ndarray:
        kernel, count = self.weights[f"{name}.kernel"], x.shape[1]
        x = self.extend(name, x, len(kernel) - 1)
        taps = (x[:, i : i + count] @ kernel[i] for i in range(len(kernel)))
        return sum(taps, self.weights[f"{name}.bias"])

    def block(self, name: str, x: np.ndarray) -> np.ndarray:
        """A ConvNeXtBlock."""
        kernel, count = self.weights[f"{name}.mix.kernel"][..., 0], x.shape[1]
        extended = self.extend(name, x, len(kernel) - 1)
        y = extended[:, :count] * kernel[0]
        for i in range(1, len(kernel)):
            y += extended[:, i : i + count] * kernel[i]
        y += self.weights[f"{name}.mix.bias"]
        y = gelu(self.dense(f"{name}.expand", self.norm(f"{name}.norm", y)))
        y = self.dense(f"{name}.project", y)
        y *= self.weights[f"{name}.scale"]
        y += x
        return y

    def blocks(self, name: str, numbers: range, x: np.ndarray) -> np.ndarray:
        for number in numbers:
            x = self.block(f"{name}.{number}", x)
        return x


class _Encoder:
    """Audio to latents."""

    def __init__(self, config: CodecConfig, weights: Weights) -> None:
        self.config = config
        self.window, self.bands = analysis_window(config), band_weights(config)
        self.short_window = (synthesis_window(config) / np.sqrt(config.short_window)).astype(np.float32)
        shares = latent_shares(config)
        scales = np.sqrt(weights["encoder.standardize.variance"] / variance_targets(shares) + VARIANCE_FLOOR)
        self.scale = np.repeat(scales, [dim for dim, _ in shares]).astype(np.float32)

    def latents(self, step: _Step, audio: np.ndarray) -> np.ndarray:
        spectrum, energies, low = self._features(step, audio)
        fine = step.dense(
            "encoder.fine.layers.0.layer", np.concatenate([spectrum, BAND_SCALE * energies], axis=-1)
        )
        fine = step.block("encoder.fine.layers.2", step.norm("encoder.fine.layers.1.layer", fine))
        last = 1 + self.config.encoder_blocks
        coarse = step.dense("encoder.coarse.layers.0.layer", _pair(fine))
        coarse = step.blocks("encoder.coarse.layers", range(1, last), coarse)
        coarse = step.norm(f"encoder.coarse.layers.{last}.layer", coarse)
        latents = step.dense(f"encoder.coarse.layers.{last + 1}.layer", coarse)
        envelope = self.config.envelope_dim
        latents[..., :envelope] += step.dense("encoder.envelope_map", _pair(energies))
        latents[..., envelope:] += step.dense("encoder.phase_map", _pair(low))
        latents -= step.weights["encoder.standardize.mean"]
        latents /= self.scale
        return latents

    def _features(self, step: _Step, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compressed bins, log energies of the bands, compressed low bins: each [batch, spectral frame, features]."""
        config, hop = self.config, self.config.spectral_hop
        samples = step.extend("analysis", audio[..., 0].astype(np.float32), 3 * hop)
        frames = np.lib.stride_tricks.sliding_window_view(samples, 4 * hop, axis=1)[:, ::hop]
        long = np.fft.rfft(frames * self.window).astype(np.complex64)
        short = np.fft.rfft(frames[..., 2 * hop :] * self.short_window).astype(np.complex64)
        energies = 0.5 * np.log(_power(long) @ self.bands + np.float32(BAND_FLOOR))
        spectrum = _compress(long[..., : config.spectrum_bins], SPECTRUM_POWER)
        return spectrum, energies, _compress(short[..., 1 : 1 + config.phase_bins], PHASE_POWER)


class _Quantizer:
    """Latents to codes and back, as PredictiveQuantizer does it."""

    def __init__(self, config: CodecConfig, weights: Weights) -> None:
        self.base_codebooks, self.base_dim = config.base_codebooks, config.envelope_dim
        self.books, self.prediction = weights["quantizer.codebooks"], weights["quantizer.prediction"]
        self.squares = np.sum(self.books * self.books, axis=-1)
        self.tables = -2 * np.ascontiguousarray(
            self.books.transpose(0, 2, 1)
        )  # squares + x @ table are distances

    def encode(self, latents: np.ndarray, step: _Step, num_codebooks: int) -> np.ndarray:
        codes = np.empty((*latents.shape[:2], num_codebooks), np.int32)
        left = latents.copy()
        base_stages, base = range(min(num_codebooks, self.base_codebooks)), step.before["base"]
        for frame in range(latents.shape[1]):
            target = latents[:, frame, : self.base_dim]
            rest = target - base @ self.prediction
            for stage in base_stages:
                codes[:, frame, stage] = chosen = self._nearest(rest, stage)
                rest -= self.books[stage, chosen, : self.base_dim]
            base = target - rest
            left[:, frame, : self.base_dim] = rest
        step.after["base"] = base
        for stage in range(self.base_codebooks, num_codebooks):
            codes[..., stage] = chosen = self._nearest(left, stage)
            left -= self.books[stage, chosen]
        return codes

    def decode(self, codes: np.ndarray, step: _Step) -> np.ndarray:
        total = np.zeros((*codes.shape[:2], self.books.shape[-1]), np.float32)
        base_sums = sum(
            self.books[n, codes[..., n]] for n in range(min(codes.shape[-1], self.base_codebooks))
        )
        base = step.before["base"]
        for frame in range(codes.shape[1]):
            base = base @ self.prediction + base_sums[:, frame, : self.base_dim]
            total[:, frame, : self.base_dim] = base
        step.after["base"] = base
        for stage in range(self.base_codebooks, codes.shape[-1]):
            total += self.books[stage, codes[..., stage]]
        return total

    def _nearest(self, vectors: np.ndarray, stage: int) -> np.ndarray:
        """Index of the nearest codeword; vectors may lack dimensions in which all codewords are zero."""
        distances = vectors @ self.tables[stage, : vectors.shape[-1]]
        distances += self.squares[stage]
        return distances.argmin(axis=-1)


class _Decoder:
    """Quantized latents to audio."""

    def __init__(self, config: CodecConfig, weights: Weights) -> None:
        self.config = config
        self.noise = noise_table(config.noise_channels) @ weights["decoder.noise_map.kernel"]
        self.interpolation, self.offset = band_interpolation(config), magnitude_offset(config)
        self.window = (synthesis_window(config) * np.sqrt(config.short_window)).astype(np.float32)

    def audio(self, step: _Step, latents: np.ndarray) -> np.ndarray:
        config, last = self.config, 1 + self.config.decoder_blocks
        coarse = step.conv("decoder.coarse.layers.0.conv", latents)
        coarse = step.blocks("decoder.coarse.layers", range(1, last), coarse)
        fine = _split(step.dense(f"decoder.coarse.layers.{last}.layer", coarse))
        fine += self._noise(step, fine.shape[1])
        fine = step.blocks("decoder.fine.layers", range(config.decoder_fine_blocks), fine)
        fine = step.norm(f"decoder.fine.layers.{config.decoder_fine_blocks}.layer", fine)
        energies = _split(step.dense("decoder.envelope_map", latents[..., : config.envelope_dim]))
        low = _split(step.dense("decoder.phase_map", latents[..., config.envelope_dim :]))
        return self._synthesis(step, self._spectrum(step, fine, energies, _complex(low)))

    def _noise(self, step: _Step, count: int) -> np.ndarray:
        first = int(step.before["noise"])
        step.after["noise"] = np.array((first + count) % NOISE_PERIOD)
        return self.noise[np.arange(first, first + count) % NOISE_PERIOD]

    def _spectrum(self, step: _Step, fine: np.ndarray, energies: np.ndarray, low: np.ndarray) -> np.ndarray:
        """The head: complex [batch, spectral frame, synthesis_bins]."""
        low_bins = slice(1, 1 + self.config.phase_bins)
        log_magnitude = (
            step.dense("decoder.head.magnitude", fine) + energies @ self.interpolation + self.offset
        )
        spectrum = _complex(step.dense("decoder.head.direction", fine))
        spectrum[..., low_bins] += np.float32(PHASE_GAIN) * low
        spectrum *= np.exp(np.clip(log_magnitude, *LOG_MAGNITUDE_RANGE)) / np.sqrt(
            _power(spectrum) + DIRECTION_FLOOR
        )
        gain = np.exp(np.clip(step.dense("decoder.head.low_gain", fine), *LOW_GAIN_RANGE))
        exponent = -PHASE_POWER / (1 + PHASE_POWER) / 2
        spectrum[..., low_bins] += low * gain * np.minimum(_power(low) + POWER_FLOOR, POWER_LIMIT) ** exponent
        return spectrum

    def _synthesis(self, step: _Step, spectrum: np.ndarray) -> np.ndarray:
        hop = self.config.spectral_hop
        pieces = np.fft.irfft(spectrum, n=self.config.short_window).astype(np.float32) * self.window
        tails = step.extend("synthesis", pieces[..., hop:], 1)
        return (pieces[..., :hop] + tails[:, :-1]).reshape(len(pieces), -1, 1)


def gelu(x: np.ndarray) -> np.ndarray:
    """The tanh form, as in the Keras model."""
    slope = np.float32(np.sqrt(2 / np.pi))
    y = x * x
    y *= np.float32(0.044715) * slope
    y += slope
    y *= x
    np.tanh(y, out=y)
    y += 1
    y *= x
    y *= np.float32(0.5)
    return y


def _power(x: np.ndarray) -> np.ndarray:
    return x.real * x.real + x.imag * x.imag


def _complex(x: np.ndarray) -> np.ndarray:
    """Real parts then imaginary parts -> complex."""
    half = x.shape[-1] // 2
    y = np.empty((*x.shape[:-1], half), np.complex64)
    y.real, y.imag = x[..., :half], x[..., half:]
    return y


def _compress(x: np.ndarray, power: float) -> np.ndarray:
    """X |X|^power, real parts then imaginary parts."""
    x = x * (_power(x) + np.float32(MAGNITUDE_FLOOR)) ** np.float32(power / 2)
    return np.concatenate([x.real, x.imag], axis=-1)


def _pair(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1, 2 * x.shape[-1])


def _split(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1, x.shape[-1] // 2)


def weight_shapes(config: CodecConfig) -> dict[str, tuple[int, ...]]:
    """Every weight of a preset by name, with its shape."""
    features = 2 * config.spectrum_bins + config.mel_bands
    fine, coarse, dim = config.encoder_fine_width, config.encoder_width, config.latent_dim
    last = 1 + config.encoder_blocks
    shapes = {
        **_dense_shapes("encoder.fine.layers.0.layer", features, fine),
        **_norm_shapes("encoder.fine.layers.1.layer", fine),
        **_block_shapes("encoder.fine.layers", range(2, 3), fine),
        **_dense_shapes("encoder.coarse.layers.0.layer", 2 * fine, coarse),
        **_block_shapes("encoder.coarse.layers", range(1, last), coarse),
        **_norm_shapes(f"encoder.coarse.layers.{last}.layer", coarse),
        **_dense_shapes(f"encoder.coarse.layers.{last + 1}.layer", coarse, dim),
        **_dense_shapes("encoder.envelope_map", 2 * config.mel_bands, config.envelope_dim),
        "encoder.phase_map.kernel": (4 * config.phase_bins, config.phase_dim),
        "encoder.standardize.mean": (dim,),
        "encoder.standardize.variance": (len(latent_shares(config)),),
        "quantizer.codebooks": (config.num_codebooks, config.codebook_size, dim),
        "quantizer.prediction": (config.envelope_dim, config.envelope_dim),
    }
    return {**shapes, **_decoder_shapes(config)}


def _decoder_shapes(config: CodecConfig) -> dict[str, tuple[int, ...]]:
    coarse, fine, bins = config.decoder_width, config.decoder_fine_width, config.synthesis_bins
    last = 1 + config.decoder_blocks
    return {
        "decoder.coarse.layers.0.conv.kernel": (3, config.latent_dim, coarse),
        "decoder.coarse.layers.0.conv.bias": (coarse,),
        **_block_shapes("decoder.coarse.layers", range(1, last), coarse),
        **_dense_shapes(f"decoder.coarse.layers.{last}.layer", coarse, 2 * fine),
        "decoder.noise_map.kernel": (config.noise_channels, fine),
        **_block_shapes("decoder.fine.layers", range(config.decoder_fine_blocks), fine),
        **_norm_shapes(f"decoder.fine.layers.{config.decoder_fine_blocks}.layer", fine),
        **_dense_shapes("decoder.envelope_map", config.envelope_dim, 2 * config.mel_bands),
        "decoder.phase_map.kernel": (config.phase_dim, 4 * config.phase_bins),
        **_dense_shapes("decoder.head.magnitude", fine, bins),
        **_dense_shapes("decoder.head.direction", fine, 2 * bins),
        **_dense_shapes("decoder.head.low_gain", fine, config.phase_bins),
    }


def _dense_shapes(name: str, before: int, after: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.kernel": (before, after), f"{name}.bias": (after,)}


def _norm_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.gamma": (width,), f"{name}.beta": (width,)}


def _block_shapes(name: str, numbers: range, width: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for number in numbers:
        block = f"{name}.{number}"
        shapes |= {
            f"{block}.mix.kernel": (7, width, 1),
            f"{block}.mix.bias": (width,),
            f"{block}.scale": (width,),
        }
        shapes |= _norm_shapes(f"{block}.norm", width)
        shapes |= {
            **_dense_shapes(f"{block}.expand", width, 3 * width),
            **_dense_shapes(f"{block}.project", 3 * width, width),
        }
    return shapes
