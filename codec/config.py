"""The sizes of a model: one frozen dataclass, stored as JSON beside the weights.

Every conversion between samples, frames, codebooks and bits per second stands here.
"""

from __future__ import annotations

import dataclasses
import json
import numbers
import reprlib

from codec.errors import PresetError, shortened

SHIPPED_CODEBOOKS = (3, 6, 12, 24, 30)
DEFAULT_BITRATE = 6000  # bits per second and channel
CODE_FIELDS = (  # never change this list: the identities of all models would change
    "sample_rate",
    "hop_length",
    "envelope_dim",
    "phase_dim",
    "detail_dim",
    "num_codebooks",
    "base_codebooks",
    "core_codebooks",
    "codebook_size",
)
# The largest value of each size. They are several times what a good model needs. Their purpose is that a `config.json`
# from a stranger cannot exhaust memory: they keep the tables that are computed from the sizes below some 100 MB.
# `codec.presets.parts` limits the weights, which lie in files.
LARGEST = {
    "sample_rate": 192_000,
    "hop_length": 4096,
    "mel_bands": 256,
    "spectrum_limit": 96_000,
    "phase_limit": 8000,
    "phasor_limit": 8000,
    "envelope_dim": 512,
    "phase_dim": 512,
    "detail_dim": 512,
    "num_codebooks": 255,  # one byte in the header of a file
    "base_codebooks": 255,
    "core_codebooks": 255,
    "codebook_size": 2**16,  # 16 bits in a file
    "encoder_fine_width": 4096,
    "encoder_width": 4096,
    "encoder_blocks": 64,
    "decoder_width": 4096,
    "decoder_blocks": 64,
    "decoder_fine_width": 4096,
    "decoder_fine_blocks": 64,
    "encoder_expansion": 1000,
    "decoder_expansion": 1000,
    "noise_channels": 256,
}
SMALLEST = {
    "sample_rate": 1000,
    "hop_length": 2,
    "codebook_size": 2,
    "encoder_expansion": 100,
    "decoder_expansion": 100,
}  # 1 for the others
MAX_FRAME_RATE = 500  # code frames per second
MAX_PHASOR_BINS = 256
MAX_JSON = 2**16  # characters
# Spectral frames after which the phase of the excitation is reset; a divisor of dsp.NOISE_PERIOD.
EXCITATION_PERIOD = 256


def is_whole(value: object) -> bool:
    """Return True for a whole number of Python or numpy; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


@dataclasses.dataclass(frozen=True)
class CodecConfig:
    """Sizes of the network; the defaults are the preset `lamella-48k`.

    There are two spectral frames in a code frame: `hop_length` is 20 ms, `spectral_hop` 10 ms.

    Raises:
        ValueError: a size is no integer within `SMALLEST` and `LARGEST`, or two sizes contradict each other.
    """

    sample_rate: int = 48000  # Hz
    hop_length: int = 960  # samples per code frame
    mel_bands: int = 64  # log energies up to half the sample rate
    spectrum_limit: int = 8000  # Hz; below it the encoder sees complex bins
    phase_limit: int = 1000  # Hz; below it the phase path carries complex bins
    phasor_limit: int = 2000  # Hz; from there up the phasors of the decoder's bins are those of noise
    envelope_dim: int = 28  # latents of the envelope path
    phase_dim: int = 36  # latents of the phase path
    detail_dim: int = 32  # latents of the detail path, more of the envelope
    num_codebooks: int = 30
    base_codebooks: int = 3  # the first ones, which code the change of the envelope from frame to frame
    core_codebooks: int = 12  # the first ones, which code no detail
    codebook_size: int = 1024
    encoder_fine_width: int = 256  # channels at 100 Hz
    encoder_width: int = 320  # channels at 50 Hz
    encoder_blocks: int = 4
    decoder_width: int = 384  # channels at 50 Hz
    decoder_blocks: int = 6
    decoder_fine_width: int = 256  # channels at 100 Hz
    decoder_fine_blocks: int = 2
    encoder_expansion: int = 200  # hidden channels of a block, percent of its width
    decoder_expansion: int = 150
    noise_channels: int = 16

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, least, most = getattr(self, field.name), SMALLEST.get(field.name, 1), LARGEST[field.name]
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                shown = reprlib.repr(value)
                raise ValueError(f"`{field.name}` must be an integer from {least} to {most}, found {shown}")
        self._check_frequencies()
        self._check_codebooks()

    def _check_frequencies(self) -> None:
        if self.hop_length % 2 or self.sample_rate % self.spectral_hop:
            raise ValueError(
                f"`hop_length` {self.hop_length} must be even, and half of it must divide "
                f"the sample rate {self.sample_rate}"
            )
        if self.frame_rate > MAX_FRAME_RATE:
            raise ValueError(
                f"`hop_length` {self.hop_length} gives {self.frame_rate:g} frames per second, "
                f"expected at most {MAX_FRAME_RATE}"
            )
        for name in ("spectrum_limit", "phase_limit", "phasor_limit"):
            if getattr(self, name) > self.sample_rate // 2:
                raise ValueError(f"`{name}` {getattr(self, name)} Hz lies above half the sample rate")
        if self.phasor_bins <= self.phase_bins:
            raise ValueError(
                f"`phasor_limit` {self.phasor_limit} Hz must lie above `phase_limit` {self.phase_limit} Hz"
            )
        if self.phasor_bins > MAX_PHASOR_BINS:
            raise ValueError(
                f"`phasor_limit` {self.phasor_limit} Hz covers {self.phasor_bins} bins of the short window, "
                f"expected at most {MAX_PHASOR_BINS}"
            )
        if not self.phase_bins:
            raise ValueError(
                f"`phase_limit` {self.phase_limit} Hz lies below the first bin of the short window"
            )

    def _check_codebooks(self) -> None:
        if self.codebook_size & (self.codebook_size - 1):
            raise ValueError(f"`codebook_size` must be a power of two, found {self.codebook_size}")
        if self.base_codebooks > min(self.core_codebooks, self.num_codebooks):
            others = f"{self.core_codebooks} `core_codebooks` and {self.num_codebooks} `num_codebooks`"
            raise ValueError(f"`base_codebooks` {self.base_codebooks} are more than {others}")

    @property
    def spectral_hop(self) -> int:
        """Return the samples of a spectral frame, half a code frame."""
        return self.hop_length // 2

    @property
    def long_window(self) -> int:
        """Return the samples of the encoder's window: 40 ms, all of it in the past."""
        return 4 * self.spectral_hop

    @property
    def short_window(self) -> int:
        """Return the samples of the synthesis window, which the phase path shares."""
        return 2 * self.spectral_hop

    @property
    def spectrum_bins(self) -> int:
        """Return how many complex bins of the long window the encoder sees."""
        return self.spectrum_limit * self.long_window // self.sample_rate + 1

    @property
    def phase_bins(self) -> int:
        """Return how many complex bins of the short window, from bin 1 up, the phase path carries."""
        return self.phase_limit * self.short_window // self.sample_rate

    @property
    def phasor_bins(self) -> int:
        """Return the bins, from 0 up, whose phasors the network makes; the others have those of noise."""
        return self.phasor_limit * self.short_window // self.sample_rate

    @property
    def synthesis_bins(self) -> int:
        """Return the bins of the decoded spectrum."""
        return self.short_window // 2 + 1

    @property
    def latent_dim(self) -> int:
        """Return the numbers in a latent vector."""
        return self.core_dim + self.detail_dim

    @property
    def core_dim(self) -> int:
        """Return the latents of envelope and phase, the first ones: low bitrates code no others."""
        return self.envelope_dim + self.phase_dim

    @property
    def frame_rate(self) -> float:
        """Return the code frames per second."""
        return self.sample_rate / self.hop_length

    def frames_in(self, milliseconds: float) -> int:
        """Return the whole code frames in a time, at least one."""
        return max(1, int(milliseconds * self.frame_rate / 1000))

    @property
    def reset_interval(self) -> int:
        """Return the code frames after which the predictor is reset, a second: earlier codes do not matter then."""
        return max(1, round(self.frame_rate))

    @property
    def bits_per_code(self) -> int:
        """Return the bits of an index into a codebook."""
        return self.codebook_size.bit_length() - 1

    @property
    def bitrates(self) -> tuple[int, ...]:
        """Return the rates the model is trained for, bits per second and channel, rising."""
        return tuple(self.bitrate_of(count) for count in self.shipped_codebooks)

    @property
    def shipped_codebooks(self) -> tuple[int, ...]:
        """Return the numbers of codebooks of these rates."""
        return tuple(count for count in SHIPPED_CODEBOOKS if count <= self.num_codebooks) or (
            self.num_codebooks,
        )

    def bitrate_of(self, num_codebooks: int) -> int:
        """Return the bits per second and channel of the first `num_codebooks` codes of each frame."""
        return round(num_codebooks * self.bits_per_code * self.frame_rate)

    def num_codebooks_for(self, bitrate: int) -> int:
        """Return the number of codebooks of a rate. Raises ValueError, listing the model's rates, for any other."""
        for count in self.shipped_codebooks:
            if self.bitrate_of(count) == bitrate:
                return count
        known = ", ".join(str(rate) for rate in self.bitrates)
        raise ValueError(f"bitrate {bitrate} bits per second is not one of {known}")

    def choose_codebooks(self, bitrate: int | None = None, num_codebooks: int | None = None) -> int:
        """Return the number of codebooks that a caller asks for.

        Args:
            bitrate: bits per second and channel. Default: the model's rate nearest to 6000.
            num_codebooks: in place of `bitrate`.

        Raises:
            ValueError: both are given, or the model has no such rate or number.
        """
        if bitrate is not None and num_codebooks is not None:
            raise ValueError("give `bitrate` or `num_codebooks`, not both")
        if num_codebooks is not None:
            if not is_whole(num_codebooks) or not 1 <= num_codebooks <= self.num_codebooks:
                raise ValueError(
                    f"`num_codebooks` must be 1 to {self.num_codebooks}, found {num_codebooks!r}"
                )
            return int(num_codebooks)
        if bitrate is None:
            bitrate = min(self.bitrates, key=lambda rate: abs(rate - DEFAULT_BITRATE))
        return self.num_codebooks_for(bitrate)

    def to_json(self) -> str:
        """Return the sizes as JSON, in the order of the fields."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def codes_json(self) -> str:
        """Return the sizes that decide what codes mean, as JSON: the identity of a model is made of them.

        A wider decoder, or a new field for the encoder, leaves them as they are, so old files stay readable.
        """
        return json.dumps({name: getattr(self, name) for name in CODE_FIELDS})

    @classmethod
    def from_json(cls, text: str) -> CodecConfig:
        """Read what `to_json` wrote. Raises PresetError naming unknown keys or wrong values."""
        if len(text) > MAX_JSON:
            raise PresetError(f"the config has {len(text)} characters, expected at most {MAX_JSON}")
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PresetError(f"the config is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise PresetError(f"the config must be a JSON object, found {type(values).__name__}")
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise PresetError(f"the config has unknown keys: {shortened(unknown)}")
        try:
            return cls(**values)
        except ValueError as error:
            raise PresetError(f"the config is not usable: {error}") from error
