"""Budgets that keep the code and its tests readable, over the syntax tree of every module."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(path for package in ("codec", "cli") for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

Function = ast.FunctionDef | ast.AsyncFunctionDef


def parsed(files: list[Path]) -> dict[str, ast.Module]:
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in files}


TREES = parsed(FILES)
both = pytest.mark.parametrize("trees", [TREES, parsed(TESTS)], ids=["code", "tests"])


def functions(trees: dict[str, ast.Module]) -> list[tuple[str, Function]]:
    found = []
    for module, tree in trees.items():
        nodes = (node for node in ast.walk(tree) if isinstance(node, Function))
        found += [(f"{module}:{node.lineno} {node.name}", node) for node in nodes]
    return found


def public_definitions(tree: ast.Module) -> list[Function | ast.ClassDef]:
    """Functions and classes at the top of a module, and the methods of those classes."""
    tops = [n for n in tree.body if isinstance(n, Function | ast.ClassDef) and not n.name.startswith("_")]
    methods = [m for c in tops if isinstance(c, ast.ClassDef) for m in c.body if isinstance(m, Function)]
    return tops + [method for method in methods if not method.name.startswith("_")]


def parameters(function: Function) -> list[ast.arg]:
    """All parameters but `self` and `cls`."""
    arguments = function.args
    extra = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    everything = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *extra]
    return [argument for argument in everything if argument.arg not in ("self", "cls")]


def lines(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


@both
def test_function_lengths(trees: dict[str, ast.Module]) -> None:
    lengths = [lines(function) for _, function in functions(trees)]
    assert np.median(lengths) <= 10
    assert np.percentile(lengths, 95) <= 40
    assert [name for name, function in functions(trees) if lines(function) > 80] == []


def test_file_lengths() -> None:
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES + TESTS}
    assert {path: count for path, count in counts.items() if count > 400} == {}


def test_verbs_are_short() -> None:
    counts = {
        path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES if "cli" in path.parts
    }
    helpers = ("main.py", "backend.py", "files.py", "options.py", "several.py")
    assert {name: count for name, count in counts.items() if count > 60 and name not in helpers} == {}


@both
def test_parameter_counts(trees: dict[str, ast.Module]) -> None:
    assert [name for name, function in functions(trees) if len(parameters(function)) > 8] == []


@pytest.mark.parametrize("module", TREES)
def test_modules_and_public_tops_have_docstrings(module: str) -> None:
    tree = TREES[module]
    tops = [node for node in public_definitions(tree) if node in tree.body]
    assert ast.get_docstring(tree)
    assert [node.name for node in tops if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("module", TREES)
def test_public_signatures_are_annotated(module: str) -> None:
    nodes = [node for node in public_definitions(TREES[module]) if isinstance(node, Function)]
    bare = [n.name for n in nodes if n.returns is None or any(a.annotation is None for a in parameters(n))]
    assert bare == []


@pytest.mark.parametrize("module", [module for module in TREES if module.startswith("codec/")])
def test_the_library_does_not_print(module: str) -> None:
    calls = (node.func for node in ast.walk(TREES[module]) if isinstance(node, ast.Call))
    assert not [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]
