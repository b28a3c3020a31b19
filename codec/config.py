"""What a model is made of: one frozen record, stored as JSON beside the weights.

Every conversion between samples, frames, codebooks and bits per second lives here.
"""

from __future__ import annotations

import dataclasses
import json

from codec.errors import PresetError

SHIPPED_CODEBOOKS = (3, 6, 12, 24, 30)
# Spectral frames, a divisor of tables.NOISE_PERIOD: at its multiples the phase of the decoder's pulses begins anew.
EXCITATION_PERIOD = 256
OLDER = {"encoder_expansion": 300, "decoder_expansion": 300}  # of models whose config does not tell


@dataclasses.dataclass(frozen=True)
class CodecConfig:
    """Sizes of the network; the defaults are the preset `lamella-48k`.

    Spectral frames come twice per code frame: `hop_length` is 20 ms, `spectral_hop` 10 ms.
    """

    sample_rate: int = 48000  # Hz
    hop_length: int = 960  # samples per code frame
    mel_bands: int = 64  # log energies up to half the sample rate
    spectrum_limit: int = 8000  # Hz; below it the encoder sees complex bins
    phase_limit: int = 1000  # Hz; below it the phase path carries complex bins
    phasor_limit: int = 2000  # Hz; from there up the directions of the decoder's bins are noise
    envelope_dim: int = 28  # latents of the envelope path
    phase_dim: int = 36  # latents of the phase path
    detail_dim: int = 32  # latents of the detail path, more of the envelope
    num_codebooks: int = 30
    base_codebooks: int = 3  # the first of them, which code the envelope part from frame to frame
    core_codebooks: int = 12  # those of low bitrates, which code no detail
    codebook_size: int = 1024
    encoder_fine_width: int = 256  # channels at 100 Hz
    encoder_width: int = 320  # channels at 50 Hz
    encoder_blocks: int = 4
    decoder_width: int = 384  # channels at 50 Hz
    decoder_blocks: int = 6
    decoder_fine_width: int = 256  # channels at 100 Hz
    decoder_fine_blocks: int = 2
    encoder_expansion: int = 200  # hidden channels of the encoder's blocks, percent of their width
    decoder_expansion: int = 150
    noise_channels: int = 16

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"`{field.name}` must be a positive integer, found {value!r}")
        if self.hop_length % 2 or self.sample_rate % self.spectral_hop:
            raise ValueError(
                f"`hop_length` {self.hop_length} must be even and half of it divide the sample rate {self.sample_rate}"
            )
        if self.codebook_size & (self.codebook_size - 1):
            raise ValueError(f"`codebook_size` must be a power of two, found {self.codebook_size}")
        if self.base_codebooks > min(self.core_codebooks, self.num_codebooks):
            found = f"{self.core_codebooks} `core_codebooks` and {self.num_codebooks} `num_codebooks`"
            raise ValueError(f"`base_codebooks` {self.base_codebooks} are more than {found}")
        for name in ("spectrum_limit", "phase_limit", "phasor_limit"):
            if getattr(self, name) > self.sample_rate // 2:
                raise ValueError(f"`{name}` {getattr(self, name)} Hz lies above half the sample rate")
        for name in ("encoder_expansion", "decoder_expansion"):
            if getattr(self, name) < 100:
                raise ValueError(f"`{name}` must be at least 100 percent, found {getattr(self, name)}")
        if self.phasor_bins <= self.phase_bins:
            raise ValueError(
                f"`phasor_limit` {self.phasor_limit} Hz must lie above `phase_limit` {self.phase_limit} Hz"
            )
        if not self.phase_bins:
            raise ValueError(
                f"`phase_limit` {self.phase_limit} Hz lies below the first bin of the short window"
            )

    @property
    def spectral_hop(self) -> int:
        """Samples per spectral frame; two spectral frames make a code frame."""
        return self.hop_length // 2

    @property
    def long_window(self) -> int:
        """Samples of the encoder's window: 40 ms, all of it in the past."""
        return 4 * self.spectral_hop

    @property
    def short_window(self) -> int:
        """Samples of the synthesis window, which the phase path shares."""
        return 2 * self.spectral_hop

    @property
    def spectrum_bins(self) -> int:
        """Complex bins of the long window that the encoder sees."""
        return self.spectrum_limit * self.long_window // self.sample_rate + 1

    @property
    def phase_bins(self) -> int:
        """Complex bins of the short window, from the first one up, that the phase path carries."""
        return self.phase_limit * self.short_window // self.sample_rate

    @property
    def phasor_bins(self) -> int:
        """Bins of the spectrum, from 0 up, whose directions the network makes; those of the others are noise."""
        return self.phasor_limit * self.short_window // self.sample_rate

    @property
    def synthesis_bins(self) -> int:
        """Bins of the spectrum that the decoder makes."""
        return self.short_window // 2 + 1

    @property
    def latent_dim(self) -> int:
        return self.core_dim + self.detail_dim

    @property
    def core_dim(self) -> int:
        """Latents of the envelope path and the phase path, the first ones: all that low bitrates code."""
        return self.envelope_dim + self.phase_dim

    @property
    def frame_rate(self) -> float:
        """Code frames per second."""
        return self.sample_rate / self.hop_length

    def frames_in(self, milliseconds: float) -> int:
        """Whole code frames in a time, at least one."""
        return max(1, int(milliseconds * self.frame_rate / 1000))

    @property
    def reset_interval(self) -> int:
        """Code frames after which the quantizer's prediction begins anew, a second: so codes depend on nothing else."""
        return max(1, round(self.frame_rate))

    @property
    def run_in_frames(self) -> int:
        """Code frames before its own that a frame's sound depends on: by kernels (3 and 7), pulses and overlap."""
        spectral = 6 * self.decoder_fine_blocks + EXCITATION_PERIOD + 1
        return 2 + 6 * self.decoder_blocks + (spectral + 1) // 2

    @property
    def bits_per_code(self) -> int:
        return self.codebook_size.bit_length() - 1

    @property
    def bitrates(self) -> tuple[int, ...]:
        """The rates the model is trained for, bits per second and channel, rising."""
        return tuple(self.bitrate_of(count) for count in self.shipped_codebooks)

    @property
    def shipped_codebooks(self) -> tuple[int, ...]:
        """How many codebooks the shipped rates use."""
        return tuple(count for count in SHIPPED_CODEBOOKS if count <= self.num_codebooks) or (
            self.num_codebooks,
        )

    def bitrate_of(self, num_codebooks: int) -> int:
        """Bits per second and channel of the first `num_codebooks` codes of each frame."""
        return round(num_codebooks * self.bits_per_code * self.frame_rate)

    def num_codebooks_for(self, bitrate: int) -> int:
        """The number of codebooks of a shipped rate; raises ValueError listing them for any other."""
        for count in self.shipped_codebooks:
            if self.bitrate_of(count) == bitrate:
                return count
        known = ", ".join(str(rate) for rate in self.bitrates)
        raise ValueError(f"bitrate {bitrate} bits per second is not one of {known}")

    def to_json(self) -> str:
        """Without what `OLDER` tells: so a model from before keeps its identity, and decodes its files."""
        told = {name: value for name, value in dataclasses.asdict(self).items() if OLDER.get(name) != value}
        return json.dumps(told, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> CodecConfig:
        """Read what `to_json` wrote; raises PresetError naming unknown keys or wrong values."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise PresetError(f"the config is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise PresetError(f"the config must be a JSON object, found {type(values).__name__}")
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise PresetError(f"the config has unknown keys: {', '.join(unknown)}")
        try:
            return cls(**(OLDER | values))
        except ValueError as error:
            raise PresetError(f"the config is not usable: {error}") from error
