"""What coding and starting cost, as counts of multiplications and of modules loaded, which no busy machine changes."""

from __future__ import annotations

import functools
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codec.architecture import weight_shapes
from codec.config import CodecConfig
from codec.presets import load
from codec.runtime import codec as light
from codec.runtime.codec import NumpyCodec

ROOT = Path(__file__).parent.parent

# Millions a second of audio, one channel at 6 kbit/s. More makes everything slower that anybody does with it.
MOST_PRODUCTS = {"encode": 289.0, "decode": 213.7}
# MiB that the default model takes once it is loaded, its prior included: a process shall have less than 200 in all.
MOST_MEMORY = 50

# Modules that are loaded: all (63, 135 and 302 on Python 3.11, others differ a little), ours, and those of packages.
MOST_MODULES = {
    "import codec": {"all": 70, "codec": 1},
    "--help": {"all": 150, "cli": 19, "codec": 2, "click": 13},
    "compress": {
        "all": 320,
        "cli": 19,
        "codec": 31,
        "click": 13,
        "numpy": 90,
        "safetensors": 3,
        "soundfile": 1,
        "soxr": 3,
    },
}


class Counted(np.ndarray):
    """An array whose matrix products are counted, and all that comes of them."""

    products = 0  # multiply-accumulates
    disordered = 0  # products with a large matrix not in order, which for a live step take six times as long
    __array_priority__ = 1  # what it is joined to others by is counted too

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [np.asarray(x) if isinstance(x, Counted) else x for x in inputs]
        if "out" in options:
            options["out"] = tuple(np.asarray(x) for x in options["out"])
        if ufunc is np.matmul:
            Counted.products += plain[0].size * plain[1].shape[-1]
            Counted.disordered += plain[1].size > 2**14 and not plain[1].flags.c_contiguous
        result = getattr(ufunc, method)(*plain, **options)
        return result.view(Counted) if isinstance(result, np.ndarray) else result


@pytest.fixture
def codec(monkeypatch: pytest.MonkeyPatch) -> NumpyCodec:
    """The default model, all weights the same."""
    for name in ("band_weights", "_low_bins", "postfilter_contrast"):
        table = getattr(light, name)
        monkeypatch.setattr(light, name, lambda config, table=table: table(config).view(Counted))
    shapes = weight_shapes(CodecConfig())
    weights = {name: np.full(shape, 1e-3, np.float32).view(Counted) for name, shape in shapes.items()}
    return NumpyCodec(CodecConfig(), weights)


def test_memory_of_the_default_model() -> None:
    tracemalloc.start()
    try:
        model = load()
        held = tracemalloc.get_traced_memory()[0] / 2**20
    finally:
        tracemalloc.stop()
    assert model.prior is not None
    assert 30 < held <= MOST_MEMORY  # the weights alone are 17


def test_products_of_a_second(codec: NumpyCodec) -> None:
    config, found = codec.config, {}
    audio = np.zeros((1, config.sample_rate, 1), np.float32).view(Counted)
    codes = np.zeros((1, config.reset_interval, 12), np.int32)
    steps = {
        "encode": functools.partial(codec.encode_step, audio, codec.encoder_state(1), 12),
        "decode": functools.partial(codec.decode_step, codes, codec.decoder_state(1)),
    }
    for name, step in steps.items():
        step()  # the first time its tables are made
        Counted.products = Counted.disordered = 0
        step()
        assert not Counted.disordered
        found[name] = Counted.products / 1e6
    assert all(found[name] <= most for name, most in MOST_PRODUCTS.items()), found
    assert all(found[name] > 0.9 * most for name, most in MOST_PRODUCTS.items()), found  # lower the limit


def loaded_by(code: str, *arguments: object) -> dict[str, int]:
    """Modules of each package that a fresh process has loaded after some code."""
    code = f"import sys\n{code}\nprint('|'.join(sys.modules))"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    names = [name.split(".")[0] for name in run.stdout.splitlines()[-1].split("|")]
    return {"all": len(names), **{name: names.count(name) for name in names}}


def test_modules_loaded(wav: Path, tiny_preset: Path, tmp_path: Path) -> None:
    lamella = "from cli.main import lamella\nlamella(sys.argv[1:], standalone_mode=False)"
    found = {
        "import codec": loaded_by("import codec"),
        "--help": loaded_by(lamella, "--help"),
        "compress": loaded_by(lamella, "compress", "-q", "-m", tiny_preset, wav, tmp_path / "a.lam"),
    }
    ours = {
        what: {name: counts.get(name, 0) for name in MOST_MODULES[what]} for what, counts in found.items()
    }
    assert all(ours[what][name] <= most[name] for what, most in MOST_MODULES.items() for name in most), ours
    for what, most in MOST_MODULES.items():
        heavy = {
            "tensorflow",
            "keras",
            "jax",
            "librosa",
            "scipy",
            "numba",
            "numpy",
            "soundfile",
            "multiprocessing",
        }
        assert not heavy & found[what].keys() - most.keys()
