r"""The layers of the encoder and the decoder, listed once and in no framework.

The Keras model (`codec.network`), the numpy runtime (`codec.runtime`), the shapes that a preset must have and the
exported graphs are all built from these lists. To add a layer, add a line to `encoder_layers` or `decoder_layers`.
The name of a layer is the first part of the names of its weights: `coarse_block_2.expand.kernel`.

    encoder   features at 100 Hz -> network -> at 50 Hz ----------------------> (+) -> standardize -> latents
                         \-> envelope_map, phase_map, detail_map (linear) ----/

    decoder   latents at 50 Hz -> coarse -> at 100 Hz -> (+) -> fine -> features -> head -> spectrum
                         \                 noise_map --/                            /
                          \-> envelope_map, phase_map, detail_map (linear) --------/
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from codec.config import EXCITATION_PERIOD, CodecConfig
from codec.dsp import PITCHES, latent_blocks

Shapes: TypeAlias = dict[str, tuple[int, ...]]

PARTS = ("encoder", "quantizer", "decoder")
KERNEL_SIZE = 7  # frames that a block mixes


class Dense(NamedTuple):
    """A linear map of each frame: `inputs` to `outputs` numbers.

    `initial` is how training begins: "glorot" (uniform), "small" (normal, deviation 0.02) or "zeros".
    """

    name: str
    inputs: int
    outputs: int
    bias: bool = True
    initial: str = "glorot"

    @property
    def shapes(self) -> Shapes:
        """Return the shape of each weight by name."""
        shapes: Shapes = {f"{self.name}.kernel": (self.inputs, self.outputs)}
        if self.bias:
            shapes[f"{self.name}.bias"] = (self.outputs,)
        return shapes


class Norm(NamedTuple):
    """A LayerNorm of each frame."""

    name: str
    width: int

    @property
    def shapes(self) -> Shapes:
        """Return the shape of each weight by name."""
        return {f"{self.name}.gamma": (self.width,), f"{self.name}.beta": (self.width,)}


class Conv(NamedTuple):
    """A causal convolution over frames."""

    name: str
    inputs: int
    outputs: int
    kernel_size: int

    @property
    def shapes(self) -> Shapes:
        """Return the shape of each weight by name."""
        kernel = (self.kernel_size, self.inputs, self.outputs)
        return {f"{self.name}.kernel": kernel, f"{self.name}.bias": (self.outputs,)}


class Block(NamedTuple):
    """A ConvNeXt block (Liu et al. 2022, arXiv 2201.03545), causal.

        x -> mix (depthwise, over frames) -> norm -> expand -> GELU -> project -> * scale -> + x

    `hidden` is the number of channels between `expand` and `project`.
    """

    name: str
    width: int
    hidden: int
    kernel_size: int = KERNEL_SIZE

    @property
    def norm(self) -> Norm:
        """Return the description of the norm inside."""
        return Norm(f"{self.name}.norm", self.width)

    @property
    def expand(self) -> Dense:
        """Return the description of the layer before GELU."""
        return Dense(f"{self.name}.expand", self.width, self.hidden)

    @property
    def project(self) -> Dense:
        """Return the description of the layer after GELU."""
        return Dense(f"{self.name}.project", self.hidden, self.width)

    @property
    def shapes(self) -> Shapes:
        """Return the shape of each weight by name."""
        mix = {
            f"{self.name}.mix.kernel": (self.kernel_size, self.width, 1),
            f"{self.name}.mix.bias": (self.width,),
        }
        inner = {**self.norm.shapes, **self.expand.shapes, **self.project.shapes}
        return {**mix, **inner, f"{self.name}.scale": (self.width,)}


class Pair(NamedTuple):
    """Join two frames into one: [2 n, width] -> [n, 2 width]. No weights."""

    name: str

    @property
    def shapes(self) -> Shapes:
        """Return the shape of each weight by name: none."""
        return {}


class Split(NamedTuple):
    """Split a frame into two: [n, 2 width] -> [2 n, width]. No weights."""

    name: str

    @property
    def shapes(self) -> Shapes:
        """Return the shape of each weight by name: none."""
        return {}


Layer: TypeAlias = Dense | Norm | Conv | Block | Pair | Split


class LinearPaths(NamedTuple):
    """The linear maps beside a network, which begin as principal components of the corpus."""

    envelope: Dense
    phase: Dense
    detail: Dense


class EncoderLayers(NamedTuple):
    """The layers of the encoder after its analysis."""

    network: tuple[Layer, ...]
    paths: LinearPaths


class HeadLayers(NamedTuple):
    """The linear layers of the decoder's head; they all read the features of one spectral frame."""

    magnitude: Dense
    phasor: Dense
    low_gain: Dense
    pitch: Dense
    excitation: Dense


class DecoderLayers(NamedTuple):
    """The layers of the decoder before its synthesis."""

    coarse: tuple[Layer, ...]
    noise: Dense
    fine: tuple[Layer, ...]
    paths: LinearPaths
    head: HeadLayers


def encoder_layers(config: CodecConfig) -> EncoderLayers:
    """Return the layers of the encoder, in the order of the data."""
    features = 2 * config.spectrum_bins + config.mel_bands
    fine, coarse = config.encoder_fine_width, config.encoder_width
    fine_hidden, hidden = (config.encoder_expansion * width // 100 for width in (fine, coarse))
    network: tuple[Layer, ...] = (
        Dense("input", features, fine),
        Norm("input_norm", fine),
        Block("fine_block_1", fine, fine_hidden),
        Pair("pair"),
        Dense("coarse_input", 2 * fine, coarse),
        *(Block(f"coarse_block_{number}", coarse, hidden) for number in _numbers(config.encoder_blocks)),
        Norm("output_norm", coarse),
        Dense("output", coarse, config.latent_dim, initial="small"),
    )
    bands, bins = 2 * config.mel_bands, 4 * config.phase_bins  # of both spectral frames
    return EncoderLayers(
        network,
        LinearPaths(
            Dense("envelope_map", bands, config.envelope_dim),
            Dense("phase_map", bins, config.phase_dim, bias=False),
            Dense("detail_map", bands, config.detail_dim, bias=False),
        ),
    )


def decoder_layers(config: CodecConfig) -> DecoderLayers:
    """Return the layers of the decoder, in the order of the data."""
    fine, coarse = config.decoder_fine_width, config.decoder_width
    fine_hidden, hidden = (config.decoder_expansion * width // 100 for width in (fine, coarse))
    bands, bins = 2 * config.mel_bands, 4 * config.phase_bins  # of both spectral frames
    return DecoderLayers(
        coarse=(
            Conv("coarse_input", config.latent_dim, coarse, kernel_size=3),
            *(Block(f"coarse_block_{number}", coarse, hidden) for number in _numbers(config.decoder_blocks)),
            Dense("coarse_output", coarse, 2 * fine),
            Split("split"),
        ),
        noise=Dense("noise_map", config.noise_channels, fine, bias=False),
        fine=(
            *(
                Block(f"fine_block_{number}", fine, fine_hidden)
                for number in _numbers(config.decoder_fine_blocks)
            ),
            Norm("fine_norm", fine),
        ),
        paths=LinearPaths(
            Dense("envelope_map", config.envelope_dim, bands),
            Dense("phase_map", config.phase_dim, bins, bias=False),
            Dense("detail_map", config.detail_dim, bands, bias=False),
        ),
        head=HeadLayers(
            magnitude=Dense("head.magnitude", fine, config.synthesis_bins, initial="zeros"),
            phasor=Dense("head.phasor", fine, 2 * config.phasor_bins),
            low_gain=Dense("head.low_gain", fine, config.phase_bins, initial="zeros"),
            pitch=Dense("head.pitch", fine, PITCHES + 1, initial="zeros"),
            excitation=Dense("head.excitation", fine, 3 * config.phasor_bins, initial="zeros"),
        ),
    )


def weight_shapes(config: CodecConfig) -> dict[str, Shapes]:
    """Return the shape of every weight that a preset stores, by part and name."""
    encoder, decoder = encoder_layers(config), decoder_layers(config)
    standardize = {
        "standardize.mean": (config.latent_dim,),
        "standardize.variance": (len(latent_blocks(config)),),
    }
    return {
        "encoder": {**_shapes(*encoder.network, *encoder.paths), **standardize},
        "quantizer": {
            "codebooks": (config.num_codebooks, config.codebook_size, config.latent_dim),
            "prediction": (config.envelope_dim, config.envelope_dim),
        },
        "decoder": _shapes(*decoder.coarse, decoder.noise, *decoder.fine, *decoder.paths, *decoder.head),
    }


def _shapes(*layers: Layer) -> Shapes:
    return {name: shape for layer in layers for name, shape in layer.shapes.items()}


def run_in_frames(config: CodecConfig) -> int:
    """Return how many earlier code frames the decoded sound of a frame depends on.

    It depends on them through kernels, the phase of the excitation, and the overlap of the synthesis.
    """
    layers = decoder_layers(config)
    spectral_frames = _context(layers.fine) + EXCITATION_PERIOD + 1
    return _context(layers.coarse) + -(-spectral_frames // 2)


def _context(layers: tuple[Layer, ...]) -> int:
    """Return how many earlier frames an output frame depends on, in layers of one frame rate."""
    return sum(layer.kernel_size - 1 for layer in layers if isinstance(layer, Conv | Block))


def _numbers(count: int) -> range:
    return range(1, count + 1)
