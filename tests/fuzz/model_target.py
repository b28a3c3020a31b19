"""The fuzz target of models: any bytes in one of the files give a model that codes, or a PresetError in one line.

The first byte selects the file and how the others fit it:

    bits 0..1   the file that the bytes replace: config, quantizer, decoder or prior
    bit 2       of tensors: the bytes are the JSON of the header, a zero byte and the data; the length is put in front
    bit 3       of the config: the weights are made for it, if they are few
    bits 4..7   if all 0, a little sound is coded with the model
"""

from __future__ import annotations

import math
import shutil
import struct
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from support.models import random_codec
from support.priors import random_prior

from codec.architecture import weight_shapes
from codec.config import CodecConfig
from codec.errors import PresetError
from codec.presets import identity_of, load, save_preset, save_prior
from codec.presets.catalog import CONFIG, PRIOR
from codec.presets.parts import part_path
from codec.runtime import NumpyCodec

FILES = (CONFIG, "quantizer.safetensors", "decoder.safetensors", PRIOR)
WITH_LENGTH, FITTING = 4, 8
FEW = 2**16  # weights
CONFIG_OF_SEEDS = CodecConfig(
    sample_rate=8000,
    hop_length=160,
    mel_bands=4,
    spectrum_limit=500,
    phase_limit=100,
    phasor_limit=200,
    envelope_dim=2,
    phase_dim=1,
    detail_dim=1,
    num_codebooks=3,
    base_codebooks=2,
    core_codebooks=2,
    codebook_size=16,
    encoder_fine_width=2,
    encoder_width=2,
    encoder_blocks=1,
    decoder_width=2,
    decoder_blocks=1,
    decoder_fine_width=2,
    decoder_fine_blocks=1,
    noise_channels=1,
)


class Models:
    """A folder with a valid model, whose files are replaced one at a time."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lamella-fuzz-"))
        save_preset(random_codec(CONFIG_OF_SEEDS), self.folder, "# Fuzzed\n")
        save_prior(random_prior(), self.folder)
        self.files = {path.name: path.read_bytes() for path in self.folder.iterdir()}

    def check(self, data: bytes) -> None:
        """Try one input. A fault raises AssertionError, or anything but a PresetError."""
        if not data:
            return
        mode, content = data[0], data[1:]
        name = FILES[mode % len(FILES)]
        changed = {name: with_length(content) if name != CONFIG and mode & WITH_LENGTH else content}
        try:
            if name == CONFIG and mode & FITTING:
                changed |= self.fitting(content)
            self.try_model(changed, codes=mode < 16)
        except PresetError as error:
            assert str(error).isprintable(), repr(error)
        finally:
            for file in changed:
                self.folder.joinpath(file).write_bytes(self.files[file])

    def fitting(self, content: bytes) -> dict[str, bytes]:
        """Return files of weights that fit a config, or none if they are many."""
        config = CodecConfig.from_json(content.decode(errors="replace"))
        parts = weight_shapes(config)
        if sum(math.prod(shape) for shapes in parts.values() for shape in shapes.values()) > FEW:
            return {}
        files = {}
        for part, shapes in parts.items():
            weights = {name: np.full(shape, 0.1, np.float16) for name, shape in shapes.items()}
            files[part_path(self.folder, part).name] = save(weights)
        return files

    def try_model(self, files: dict[str, bytes], codes: bool) -> None:
        """Load the model with these files; if it loads, maybe code a little sound with it."""
        for name, content in files.items():
            self.folder.joinpath(name).write_bytes(content)
        without_prior = len(files) > 1  # of fitting weights
        if without_prior:
            self.folder.joinpath(PRIOR).unlink()
        try:
            identity_of(self.folder)
            model = load(self.folder)
            for part in model.parts:
                assert model.parts[part]
            if codes:
                code(model)
        finally:
            if without_prior:
                self.folder.joinpath(PRIOR).write_bytes(self.files[PRIOR])

    def seeds(self) -> list[bytes]:
        """Return the first inputs: each file as it is, in all modes."""
        inputs = []
        for number, name in enumerate(FILES):
            content = self.files[name]
            if name == CONFIG:
                inputs += [bytes([number]) + content, bytes([number | FITTING]) + content]
            else:
                size = int.from_bytes(content[:8], "little")
                split = content[8 : 8 + size] + b"\0" + content[8 + size :]
                inputs += [bytes([number]) + content, bytes([number | WITH_LENGTH]) + split]
        return inputs

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder)


def code(model: NumpyCodec) -> None:
    """Decode and encode two frames; the prior must give back their codes."""
    config = model.config
    codes = np.zeros((1, 2, min(config.num_codebooks, 3)), np.int32)
    sound, _ = model.decode_step(codes, model.decoder_state(1))
    assert sound.shape == (1, 2 * config.hop_length, 1)
    codes, _ = model.encode_step(sound, model.encoder_state(1), codes.shape[2])
    assert codes.min() >= 0 and codes.max() < config.codebook_size
    if model.prior is not None:
        payloads = model.prior.pack(codes[None])
        assert np.array_equal(model.prior.unpack(payloads, *codes.shape).codes[0], codes)


def with_length(content: bytes) -> bytes:
    """Return a file of tensors of a header, a zero byte and data."""
    header, _, data = content.partition(b"\0")
    return struct.pack("<Q", len(header)) + header + data
