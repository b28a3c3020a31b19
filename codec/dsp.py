"""The signal processing that both forms of the network share: windows, mel filters, fixed noise, postfilter; in numpy.

Every table is a function of the configuration alone, so it is the same in training, in coding and in an export.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from codec.config import CodecConfig

# Features of the encoder
BAND_FLOOR = 1e-8  # added to band powers: silence is -80 dB
BAND_SCALE = 0.2  # brings log energies to the size of the other features
MAGNITUDE_FLOOR = 1e-8  # added to |X|^2 before a negative power
SPECTRUM_POWER = -0.7  # X |X|^-0.7: loudness differences shrink to 30 % of their decibels
PHASE_POWER = -0.6

# Latents
NORM_EPSILON = 1e-6  # of every LayerNorm
VARIANCE_FLOOR = 1e-8  # of a latent, relative to its target
PHASE_SHARE = 0.25  # of the variance of the latents; the envelope has the rest
DETAIL_SHARE = 0.02  # of the variance of envelope and phase together

# Noise of the decoder
NOISE_PERIOD = 4096  # spectral frames, 41 s
CHANNEL_NOISE_OFFSET = (
    1000  # spectral frames between the noise of two channels, so that side is no copy of mid
)
PHASOR_PERIOD = 512  # spectral frames, 5 s, a divisor of NOISE_PERIOD
PHASOR_FADE = 0.75  # of `phasor_limit`: where noise begins to mix with the network's phasors
PHASOR_FLOOR = 1e-6  # added to the square of a phasor's length

# Magnitudes of the decoder
LOG_OF_MEAN = 0.3  # nepers by which the mean of logs lies below the log of means
PHASE_GAIN = 3.0  # of the phase path's coefficient in the phasor of its bin
LOW_BIN_DROP = 1.5  # nepers by which magnitudes start lower where the phase path adds its coefficient
LOG_MAGNITUDE_RANGE = (-14.0, 5.0)  # nepers
LOW_GAIN_RANGE = (-4.0, 2.0)  # nepers, of the network's gain on the low bins
POWER_FLOOR, POWER_LIMIT = 1e-8, 100.0  # of a compressed low bin, before it is expanded

# Excitation
PITCHES, LOWEST_PITCH, HIGHEST_PITCH = 128, 60.0, 480.0  # Hz: steps of 1.6 %
PHASE_STEPS = 4096  # of a turn
LOBE_REACH = 1.5  # bins to each side of a harmonic, where the main lobe of the synthesis window ends
EXCITATION_GAIN = 2.5  # of its phasor, before the network's gain
EXCITATION_FLOOR = 0.01  # added to its power in a bin: between harmonics no phasor is to be followed

# Postfilter
POSTFILTER_STRENGTH = 0.4  # by which the peaks of a decoded spectrum are raised
POSTFILTER_CODEBOOKS = (12, 30)  # full strength up to the first number, none from the second on
POSTFILTER_LIMIT, POSTFILTER_FADE = 4000.0, 1000.0  # Hz: where it ends, and the width of its edges
PEAK_WIDTH, VALLEY_WIDTH = 150.0, 1550.0  # Hz, of the two means whose difference finds peaks
POSTFILTER_FLOOR = 1e-9  # added to the power of a bin before its logarithm


def synthesis_window(config: CodecConfig) -> np.ndarray:
    """Return the square root of a periodic Hann window, [short_window]: its square overlaps to one."""
    return np.sqrt(np.hanning(config.short_window + 1)[:-1]).astype(np.float32)


def analysis_window(config: CodecConfig) -> np.ndarray:
    """Return the long asymmetric window of the encoder, [long_window], of unit energy."""
    rise, fall = 3 * config.spectral_hop, config.spectral_hop
    window = np.concatenate([np.hanning(2 * rise)[:rise], np.hanning(2 * fall)[fall:]])
    return (window / np.sqrt(np.sum(window**2))).astype(np.float32)


def mel_filterbank(sample_rate: int, fft_length: int, bands: int) -> np.ndarray:
    """Return triangular mel filters of unit area, float64 [bins, bands].

    They equal `librosa.filters.mel(...).T` (a test compares them): Slaney's scale and normalization.

    Args:
        sample_rate: Hz.
        fft_length: samples; the filters cover its `fft_length // 2 + 1` bins.
        bands: number of filters, spread up to half the sample rate.
    """
    edges = _mel_edges(sample_rate, bands)
    return _triangles(edges, sample_rate, fft_length) * 2.0 / (edges[2:] - edges[:-2])


def band_weights(config: CodecConfig) -> np.ndarray:
    """Return the mel bands of the long window, float32 [bins, mel_bands].

    Columns sum to one, so a band is a mean power per bin.
    """
    edges = _mel_edges(config.sample_rate, config.mel_bands)
    weights = _triangles(edges, config.sample_rate, config.long_window)
    weights += 1e-12  # a band narrower than a bin stays finite
    return (weights / weights.sum(axis=0)).astype(np.float32)


def _triangles(edges: np.ndarray, sample_rate: int, fft_length: int) -> np.ndarray:
    """Return triangles of height one between the edges, Hz [bands + 2]: float64 [bins, bands]."""
    distances = edges - np.arange(fft_length // 2 + 1)[:, None] * sample_rate / fft_length
    rising, falling = -distances[:, :-2] / np.diff(edges)[:-1], distances[:, 2:] / np.diff(edges)[1:]
    return np.maximum(0.0, np.minimum(rising, falling))


def _mel_edges(sample_rate: int, bands: int) -> np.ndarray:
    """Return the edges of mel bands up to half the sample rate, Hz [bands + 2]."""
    return _mel_to_hz(np.linspace(0.0, _hz_to_mel(sample_rate / 2), bands + 2))


def _hz_to_mel(frequency: float) -> float:
    """Convert to Slaney's scale: 3 mel per 200 Hz up to 1 kHz, then 27 mel for each factor of 6.4."""
    return (
        15.0 + 27.0 * np.log(frequency / 1000.0) / np.log(6.4)
        if frequency >= 1000.0
        else frequency * 3.0 / 200.0
    )


def _mel_to_hz(mels: np.ndarray) -> np.ndarray:
    return np.where(mels >= 15.0, 1000.0 * 6.4 ** ((mels - 15.0) / 27.0), mels * 200.0 / 3.0)


def band_interpolation(config: CodecConfig) -> np.ndarray:
    """Return the linear interpolation from mel bands to synthesis bins, [mel_bands, synthesis_bins]."""
    weights = band_weights(config)
    centres = np.arange(len(weights)) @ weights / config.long_window  # cycles per sample
    bins = np.arange(config.synthesis_bins) / config.short_window
    return np.stack([np.interp(bins, centres, row) for row in np.eye(config.mel_bands)]).astype(np.float32)


def noise_table(channels: int) -> np.ndarray:
    """Return white Gaussian noise, [NOISE_PERIOD, channels], always the same."""
    generator = np.random.Generator(np.random.Philox(key=48))
    return generator.standard_normal((NOISE_PERIOD, channels)).astype(np.float32)


def random_phasors(config: CodecConfig) -> np.ndarray:
    """Return the phasors of white noise, complex64 [PHASOR_PERIOD, synthesis_bins], always the same.

    They belong to one signal, cut into frames as the synthesis adds them up, so neighboring frames fit each other.
    """
    generator = np.random.Generator(np.random.Philox(key=49))
    signal = generator.standard_normal(PHASOR_PERIOD * config.spectral_hop)
    blocks = signal.reshape(PHASOR_PERIOD, -1)
    spectra = np.fft.rfft(np.hstack([np.roll(blocks, 1, axis=0), blocks]) * synthesis_window(config))
    return (spectra / np.abs(spectra)).astype(np.complex64)


def noise_share(config: CodecConfig) -> np.ndarray:
    """Return the share of noise in the phasors below `phasor_limit`, [phasor_bins], 0 .. 1."""
    place = np.arange(config.phasor_bins) / config.phasor_bins
    return np.clip((place - PHASOR_FADE) / (1 - PHASOR_FADE), 0, 1).astype(np.float32)


def magnitude_offset(config: CodecConfig) -> np.ndarray:
    """Return where training starts the log-magnitude of each synthesis bin, above the decoded envelope."""
    offset = np.full(config.synthesis_bins, LOG_OF_MEAN, np.float32)
    offset[1 : 1 + config.phase_bins] -= LOW_BIN_DROP
    return offset


def pitches() -> np.ndarray:
    """Return the pitches of the excitation, Hz [PITCHES]."""
    return np.geomspace(LOWEST_PITCH, HIGHEST_PITCH, PITCHES)


def half_steps(config: CodecConfig) -> np.ndarray:
    """Return half of the phase step of each pitch between spectral frames, int32 [PITCHES]."""
    return np.rint(pitches() * config.spectral_hop / config.sample_rate / 2 * PHASE_STEPS).astype(np.int32)


def phase_turns() -> np.ndarray:
    """Return cosine and sine of each phase, float32 [PHASE_STEPS, 2]."""
    angles = 2 * np.pi * np.arange(PHASE_STEPS) / PHASE_STEPS
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)


def harmonic_lobes(config: CodecConfig) -> np.ndarray:
    """Return what each harmonic adds to the bins below `phasor_limit`, float32 [PITCHES, bin, harmonic].

    It is the main lobe of the synthesis window's transform: cos(pi u) / (1 - 4 u^2) at u bins from the harmonic. Every
    second bin has the other sign, since phases refer to the middle of a frame and a transform to its start.
    """
    width = config.sample_rate / config.short_window  # Hz, of a bin
    bins = np.arange(config.phasor_bins)
    numbers = np.arange(1, 1 + int((config.phasor_bins + LOBE_REACH) * width / LOWEST_PITCH))
    u = bins[:, None] - pitches()[:, None, None] / width * numbers
    u += 1e-6 * (np.abs(np.abs(u) - 0.5) < 1e-6)  # there the limit, pi / 4
    lobes = np.where(np.abs(u) < LOBE_REACH, np.cos(np.pi * u) / (1 - 4 * u * u), 0.0)
    return (np.where(bins % 2, -1.0, 1.0)[:, None] * lobes).astype(np.float32)


def postfilter_weights(config: CodecConfig) -> np.ndarray:
    """Return how much of the postfilter each of the lowest synthesis bins has, 0 .. 1, [bin]."""
    width = config.sample_rate / config.short_window  # Hz, of a bin
    count = min(config.synthesis_bins, round((POSTFILTER_LIMIT + VALLEY_WIDTH / 2) / width))
    frequencies = np.arange(count) * width
    edges = np.minimum(frequencies, POSTFILTER_LIMIT - frequencies) / POSTFILTER_FADE
    return np.clip(edges, 0, 1).astype(np.float32)


def postfilter_contrast(config: CodecConfig) -> np.ndarray:
    """Return the matrix from log-powers of the lowest bins to their contrast, [bin, bin].

    The contrast is a mean over the neighbors of a bin minus one over its wider surroundings. A spectrum times a power
    of it has higher peaks and lower valleys: on magnitudes what the short-term postfilter of speech coders does on
    samples (Chen and Gersho, Adaptive postfiltering for quality enhancement of coded speech, IEEE Trans. Speech and
    Audio Processing 3(1), 1995). Coding noise is most audible in the valleys, where the source masks little.
    """
    weights = postfilter_weights(config)
    places = np.arange(len(weights))
    means = []
    for width in (PEAK_WIDTH, VALLEY_WIDTH):
        reach = round(width * config.short_window / config.sample_rate) // 2  # bins to each side
        around = np.clip(places[:, None] + np.arange(-reach, reach + 1), 0, len(weights) - 1)
        means.append(np.eye(len(weights))[around].mean(axis=1))
    return (weights[:, None] * (means[0] - means[1])).T.astype(np.float32)


def postfilter_strength(num_codebooks: int) -> float:
    """Return the strength of the postfilter for frames of so many codebooks; 0 codebooks count as few."""
    return float(POSTFILTER_STRENGTH * np.interp(num_codebooks, POSTFILTER_CODEBOOKS, (1.0, 0.0)))


class LatentBlock(NamedTuple):
    """Neighboring latents: how many, and their mean variance."""

    dim: int
    variance: float


def latent_blocks(config: CodecConfig) -> tuple[LatentBlock, ...]:
    """Return envelope, phase and detail; the mean variance of the first two together is one."""
    dims = config.envelope_dim, config.phase_dim, config.detail_dim
    shares = 1 - PHASE_SHARE, PHASE_SHARE, DETAIL_SHARE
    return tuple(
        LatentBlock(dim, share * config.core_dim / dim) for dim, share in zip(dims, shares, strict=True)
    )


def to_mid_and_side(samples: np.ndarray) -> np.ndarray:
    """Return half the sum and half the difference of two channels, [time, 2]; other channels as they are."""
    if samples.shape[1] != 2:
        return samples
    left, right = samples.T
    return np.stack([(left + right) / 2, (left - right) / 2], axis=1)


def to_left_and_right(samples: np.ndarray) -> np.ndarray:
    """Undo `to_mid_and_side`."""
    if samples.shape[1] != 2:
        return samples
    mid, side = samples.T
    return np.stack([mid + side, mid - side], axis=1)
