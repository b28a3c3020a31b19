"""Analysis and Synthesis against numpy: streaming, levels, and what goes in comes out."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
from support.contract import check_streams, white
from support.sounds import tone

from codec import dsp as tables
from codec.config import CodecConfig
from codec.network import spectral
from codec.network.spectral import Analysis, Synthesis

SMALL = CodecConfig(
    sample_rate=16000, hop_length=64, mel_bands=6, spectrum_limit=4000, phase_limit=2000, phasor_limit=3000
)
HOP = SMALL.spectral_hop  # 32 samples


def transform(audio: np.ndarray) -> np.ndarray:
    """What a synthesis of `audio` [time] needs: the spectra of frames over blocks t-1 and t, re then im."""
    padded = np.pad(audio, (HOP, 0))
    frames = np.stack([padded[start : start + 2 * HOP] for start in range(0, len(audio), HOP)])
    spectra = np.fft.rfft(frames * tables.synthesis_window(SMALL)) / np.sqrt(2 * HOP)
    return np.concatenate([spectra.real, spectra.imag], axis=-1).astype(np.float32)[None]


def expand(parts: np.ndarray, power: float) -> np.ndarray:
    """Undo `compress`: [.., 2 * bins] -> complex [.., bins]."""
    real, imaginary = np.split(parts.astype(np.float64), 2, axis=-1)
    value = real + 1j * imaginary
    return value * np.abs(value) ** (-power / (1 + power))


def test_analysis_streams() -> None:
    check_streams(Analysis(SMALL), white(2, 13 * HOP, 1))


def test_synthesis_streams() -> None:
    check_streams(Synthesis(SMALL), white(2, 13, 2 * SMALL.synthesis_bins))


def test_perfect_reconstruction_one_block_late() -> None:
    layer, audio = Synthesis(SMALL), white(40 * HOP)
    output = layer(transform(audio)).numpy()[0, :, 0]
    assert layer.latency == HOP
    np.testing.assert_allclose(output[HOP:], audio[:-HOP], atol=2e-6)
    np.testing.assert_allclose(output[:HOP], 0, atol=1e-6)


def test_the_low_bins_are_those_of_the_synthesis_frames() -> None:
    audio, layer = white(20 * HOP), Analysis(SMALL)
    low = expand(layer(audio[None, :, None]).numpy()[0][:, layer.slices[2]], tables.PHASE_POWER)
    real, imaginary = np.split(transform(audio)[0], 2, axis=-1)
    bins = slice(1, 1 + SMALL.phase_bins)
    np.testing.assert_allclose(low, (real + 1j * imaginary)[:, bins], atol=1e-4)


def test_low_bins_alone_bring_a_low_tone_back() -> None:
    time = np.arange(60 * HOP) / SMALL.sample_rate
    audio = (0.4 * np.sin(2 * np.pi * 900 * time)).astype(np.float32)
    layer = Analysis(SMALL)
    low = expand(layer(audio[None, :, None]).numpy()[:, :, layer.slices[2]], tables.PHASE_POWER)
    spectrum = np.pad(low, [(0, 0), (0, 0), (1, SMALL.synthesis_bins - 1 - SMALL.phase_bins)])
    whole = np.concatenate([spectrum.real, spectrum.imag], axis=-1).astype(np.float32)
    output = Synthesis(SMALL)(whole).numpy()[0, :, 0]
    error = output[5 * HOP :] - audio[4 * HOP : -HOP]
    assert np.mean(error**2) < 1e-4 * np.mean(audio**2)


def test_analysis_sees_an_impulse_at_once_and_for_four_frames() -> None:
    audio, layer = np.zeros((1, 12 * HOP, 1), np.float32), Analysis(SMALL)
    silence = layer(audio).numpy()
    audio[0, 5 * HOP + HOP // 2] = 1
    heard = np.any(np.abs(layer(audio).numpy() - silence) > 1e-3, axis=-1)[0]
    assert np.flatnonzero(heard).tolist() == [5, 6, 7, 8] and layer.latency == 0


@pytest.mark.parametrize("variance", [1.0, 0.01])
def test_levels_of_white_noise(variance: float) -> None:
    config = CodecConfig(
        sample_rate=16000,
        hop_length=320,
        mel_bands=10,
        spectrum_limit=8000,
        phase_limit=7000,
        phasor_limit=8000,
    )
    layer = Analysis(config)
    features = layer(np.sqrt(variance) * white(1, 400 * config.spectral_hop, 1)).numpy()[0, 4:]
    spectrum, bands, low = (features[:, part] for part in layer.slices)
    assert np.mean(np.abs(expand(spectrum, tables.SPECTRUM_POWER)) ** 2) == pytest.approx(variance, rel=0.03)
    assert np.mean(np.abs(expand(low, tables.PHASE_POWER)) ** 2) == pytest.approx(variance / 2, rel=0.03)
    assert np.mean(np.exp(2 * bands / tables.BAND_SCALE)) == pytest.approx(variance, rel=0.05)


def test_silence_is_finite_and_at_the_floor() -> None:
    layer = Analysis(SMALL)
    features = layer(np.zeros((1, 8 * HOP, 1), np.float32)).numpy()
    assert np.all(np.isfinite(features))
    floor = 0.5 * tables.BAND_SCALE * np.log(tables.BAND_FLOOR)
    np.testing.assert_allclose(features[..., layer.slices[1]], floor, rtol=1e-5)
    np.testing.assert_array_equal(features[..., layer.slices[0]], 0)


def test_feature_sizes_of_the_default() -> None:
    layer = Analysis(CodecConfig())
    assert [part.stop - part.start for part in layer.slices] == [2 * 321, 64, 2 * 20]
    assert layer.stride == 480


def test_windows() -> None:
    long, short = tables.analysis_window(SMALL), tables.synthesis_window(SMALL)
    assert np.sum(long**2) == pytest.approx(1)
    assert int(np.argmax(long)) in (3 * HOP - 1, 3 * HOP)
    np.testing.assert_allclose(short[:HOP] ** 2 + short[HOP:] ** 2, 1, atol=1e-6)


def test_bands() -> None:
    weights, interpolation = tables.band_weights(SMALL), tables.band_interpolation(SMALL)
    assert weights.shape == (2 * HOP + 1, 6) and interpolation.shape == (6, SMALL.synthesis_bins)
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(interpolation.sum(axis=0), 1, rtol=1e-5)
    assert np.all(np.isfinite(tables.band_weights(CodecConfig(mel_bands=200))))


@pytest.mark.parametrize(("sample_rate", "bands"), [(48000, 64), (16000, 24), (8000, 16)])
def test_bands_are_those_of_librosa(sample_rate: int, bands: int) -> None:
    hop = sample_rate // 50
    config = CodecConfig(sample_rate, hop, mel_bands=bands, spectrum_limit=4000)
    expected = librosa.filters.mel(sr=sample_rate, n_fft=config.long_window, n_mels=bands, norm=None).T
    expected = expected.astype(np.float64) + 1e-12
    np.testing.assert_allclose(tables.band_weights(config), expected / expected.sum(axis=0), atol=1e-6)


def test_a_tone_lights_its_band() -> None:
    config = CodecConfig(sample_rate=16000, hop_length=320, mel_bands=24, spectrum_limit=4000)
    layer, time = Analysis(config), np.arange(16000) / 16000
    for frequency in (500, 3000, 7000):
        bands = layer(np.sin(2 * np.pi * frequency * time)[None, :, None].astype(np.float32)).numpy()
        centres = np.arange(len(tables.band_weights(config))) @ tables.band_weights(config)
        brightest = centres[np.argmax(bands[0, 50, layer.slices[1]])] * 16000 / config.long_window
        assert brightest == pytest.approx(frequency, rel=0.15)


def test_compress() -> None:
    real, imaginary = spectral.compress(np.float32([3, 0, 0.3]), np.float32([4, 0, -0.4]), -0.7)
    size = np.hypot(real, imaginary)
    np.testing.assert_allclose(size, [5**0.3, 0, 0.5**0.3], rtol=1e-5)
    np.testing.assert_allclose(real * np.float32([4, 0, -4]), imaginary * np.float32([3, 0, 3]), atol=1e-5)


def test_gradients_at_silence_are_finite() -> None:
    import tensorflow as tf

    layer, audio = Analysis(SMALL), tf.zeros((1, 6 * HOP, 1))
    with tf.GradientTape() as tape:
        tape.watch(audio)
        total = tf.reduce_sum(layer(audio))
    assert np.all(np.isfinite(tape.gradient(total, audio)))


def test_a_loud_tone_stays_a_tone() -> None:
    """Nothing in between clips: what is ten times louder comes back ten times louder."""
    audio = tone(0.2, SMALL.sample_rate)[: 20 * HOP, 0]
    quiet, loud = (Synthesis(SMALL)(transform(gain * audio)).numpy() for gain in (1, 10))
    np.testing.assert_allclose(loud, 10 * quiet, atol=1e-5)
