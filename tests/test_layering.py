"""Which module may import which: a module imports only from its own tier and those below it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("c*/**/*.py"))
NETWORK = (
    "tables",
    "beam",
    "light",
    "light_folds",
    "light_layers",
    "light_pulses",
    "weights",
    "compiled",
    "streaming",
    "layers",
    "spectral",
    "encoder",
    "codebook",
    "quantizer",
    "predictive",
    "pulses",
    "decoder",
    "model",
    "graphs",
)

TIERS = (
    ("codec.errors", "codec.config", "codec.bitstream"),
    ("codec.audio", "codec.files", "codec.resampling", "codec.sndfile", "codec.wav"),
    tuple(f"codec.{name}" for name in NETWORK),
    (
        "codec.compression",
        "codec.decoding",
        "codec.export",
        "codec.packets",
        "codec.presets",
        "codec.quality",
        "codec.recovery",
        "codec.spans",
    ),
    ("codec.training", "codec.evaluation", "codec.batch"),
    ("cli",),
)

# What a place may not import, at any depth of its code.
FORBIDDEN = {
    "codec/errors.py": ("codec", "numpy", "keras", "tensorflow"),
    "codec/config.py": ("numpy", "keras", "tensorflow"),
    "codec/bitstream/": ("codec.config", "keras", "tensorflow", "soundfile", "soxr", "librosa"),
    "codec/audio.py": ("keras", "tensorflow", "codec.bitstream"),
    "codec/tables.py": ("keras", "tensorflow", "jax"),
    "codec/light.py": ("keras", "tensorflow", "jax"),
    "codec/light_folds.py": ("keras", "tensorflow", "jax"),
    "codec/light_layers.py": ("keras", "tensorflow", "jax"),
    "codec/light_pulses.py": ("keras", "tensorflow", "jax"),
    "codec/weights.py": ("keras", "tensorflow", "jax", "numpy"),
    "codec/presets.py": ("codec.audio", "codec.bitstream.reader", "codec.bitstream.writer", "soundfile"),
    "codec/evaluation/": ("codec.training",),
    **{f"codec/{name}.py": ("codec.audio", "codec.bitstream", "soundfile", "soxr") for name in NETWORK},
}

# The few places that know which backend Keras runs on.
TENSORFLOW = (
    "codec/compiled.py",
    "codec/export.py",
    "codec/training/replicas.py",
    "codec/training/steps.py",
)
JAX = ("codec/compiled.py", "codec/training/steps.py")

# Loaded only when a verb runs, so that `lamella --help` is quick.
CHEAP_FOR_CLI = ("codec", "codec.errors")


def imports(node: ast.AST) -> Iterator[str]:
    """Names of all modules imported below a node, `from a import b` as both a and a.b."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield child.module or ""
            yield from (f"{child.module}.{alias.name}" for alias in child.names)


def parse(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def within(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(place + ".") for place in places)


def tier_of(name: str) -> int | None:
    return next((number for number, places in enumerate(TIERS) if within(name, places)), None)


def dotted(module: str) -> str:
    return module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def at_import_time(tree: ast.Module) -> Iterator[str]:
    """Modules loaded by importing this one: not those under TYPE_CHECKING or inside a function."""
    for statement in tree.body:
        typing_only = isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"
        if not typing_only and not isinstance(statement, ast.FunctionDef | ast.ClassDef):
            yield from imports(statement)


def test_every_module_has_a_tier() -> None:
    assert [module for module in MODULES if tier_of(dotted(module)) is None] == ["codec/__init__.py"]


@pytest.mark.parametrize("module", MODULES)
def test_imports_only_lower_tiers(module: str) -> None:
    own = tier_of(dotted(module))
    if own is None:
        pytest.skip("the public names reach every tier")
    higher = {name for name in imports(parse(module)) if (tier_of(name) or 0) > own}
    assert not higher


@pytest.mark.parametrize(("place", "names"), FORBIDDEN.items())
def test_forbidden_imports(place: str, names: tuple[str, ...]) -> None:
    modules = [module for module in MODULES if module.startswith(place)]
    found = {(module, name) for module in modules for name in imports(parse(module)) if within(name, names)}
    assert not found


@pytest.mark.parametrize(("backend", "allowed"), [("tensorflow", TENSORFLOW), ("jax", JAX)])
def test_backends_are_named_in_few_places(backend: str, allowed: tuple[str, ...]) -> None:
    users = {module for module in MODULES if any(within(name, (backend,)) for name in imports(parse(module)))}
    assert users <= set(allowed)


def test_training_is_imported_by_itself_and_the_command_only() -> None:
    users = {
        module for module in MODULES if any(within(n, ("codec.training",)) for n in imports(parse(module)))
    }
    assert all(module.startswith(("codec/training/", "cli/")) for module in users)


@pytest.mark.parametrize("module", MODULES)
def test_imports_are_absolute(module: str) -> None:
    relative = [n for n in ast.walk(parse(module)) if isinstance(n, ast.ImportFrom) and n.level]
    assert not relative


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("cli/")])
def test_verbs_load_the_codec_late(module: str) -> None:
    early = {name for name in at_import_time(parse(module)) if within(name, ("codec", "numpy", "keras"))}
    homes = {name for name in early if not within(name, ("codec.errors",))}
    assert homes <= set(CHEAP_FOR_CLI)


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("codec", ("tensorflow", "keras", "jax", "librosa", "numpy")),
        ("codec.bitstream", ("tensorflow", "keras", "jax", "librosa", "soundfile")),
        ("codec.audio", ("tensorflow", "keras", "jax")),
        ("codec.presets", ("tensorflow", "keras", "jax", "librosa")),
        ("codec.light", ("tensorflow", "keras", "jax", "librosa")),
        ("cli.main", ("tensorflow", "keras", "jax", "librosa", "numpy", "soundfile")),
    ],
)
def test_what_an_import_loads(module: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(sorted(set(sys.modules) & set({heavy!r})))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_the_check_sees_a_planted_import() -> None:
    tree = ast.parse("def f():\n    import tensorflow as tf\n    from codec.training import losses\n")
    assert {"tensorflow", "codec.training.losses"} <= set(imports(tree))
    assert not list(at_import_time(tree))
