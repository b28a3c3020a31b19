"""The state of a run on disk: always complete, and refused if damaged or from another version."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from support import tiny_training as tiny

from codec.errors import CodecError, PresetError
from codec.network import Codec
from codec.training.checkpoint import NAME, load_checkpoint, read_progress, save_checkpoint
from codec.training.joint import JointStage
from codec.training.progress import Progress

PROGRESS = Progress(
    "joint", step=7, seconds=3.5, stage_start_seconds=1.5, stage_start_step=2, audio_seconds=14.0
)
RECIPE = tiny.recipe(9)


@pytest.fixture
def stage() -> Iterator[JointStage]:
    yield tiny.bench().stage
    tiny.bench().reset()


@pytest.fixture
def saved(tmp_path: Path, stage: JointStage) -> Path:
    """Return a folder with the state of the bench."""
    save_checkpoint(tmp_path / "run", stage, tiny.CONFIG, PROGRESS, RECIPE)
    return tmp_path / "run"


def edit(folder: Path, **changes: str) -> None:
    """Rewrite the metadata; an empty text removes a key."""
    with safe_open(folder / NAME, framework="numpy") as file:
        metadata = {**file.metadata(), **changes}
    tensors = load_file(folder / NAME)
    save_file(tensors, folder / NAME, {key: value for key, value in metadata.items() if value})


def refused(folder: Path, stage: JointStage) -> str:
    """Return the message about a state that cannot be loaded; the stage must not have changed."""
    before = tiny.values(stage)
    with pytest.raises(PresetError) as caught:
        read_progress(folder)
        load_checkpoint(folder, stage)
    after = tiny.values(stage)
    assert all(np.array_equal(after[name], before[name]) for name in before)
    assert "\n" not in str(caught.value)
    assert NAME in str(caught.value)
    return str(caught.value)


def test_a_saved_state_is_loaded_completely(saved: Path, stage: JointStage) -> None:
    expected = tiny.values(stage)
    names = (
        "master",
        "average",
        "weights.quantizer.counts",
        "weights.encoder.standardize.mean",
        "optimizer.0",
    )
    assert set(names) <= set(expected)
    for variable in stage.state().values():
        variable.assign(np.ones(variable.shape, variable.dtype))
    assert read_progress(saved) == (PROGRESS, tiny.CONFIG)
    load_checkpoint(saved, stage)
    found = tiny.values(stage)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert [path.name for path in saved.iterdir()] == [NAME]


def test_the_file_names_the_recipe(saved: Path) -> None:
    with safe_open(saved / NAME, framework="numpy") as file:
        assert json.loads(file.metadata()["recipe"])["steps"] == 9


def test_an_empty_folder_has_no_run(tmp_path: Path) -> None:
    assert read_progress(tmp_path) is None


@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_a_truncated_file_is_refused(saved: Path, stage: JointStage, kept: int) -> None:
    content = (saved / NAME).read_bytes()
    (saved / NAME).write_bytes(content[:kept])
    assert "is damaged" in refused(saved, stage)


def test_a_flipped_bit_is_found(saved: Path, stage: JointStage) -> None:
    content = bytearray((saved / NAME).read_bytes())
    content[-1000] ^= 1
    (saved / NAME).write_bytes(content)
    assert "checksum" in refused(saved, stage)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": ""},
        {"version": "1"},
        {"progress": ""},
        {"progress": "no JSON"},
        {"progress": '{"speed": 3}'},
        {"config": '{"depth": 3}'},
        {"config": "[]"},
    ],
)
def test_a_file_of_another_version_is_refused(
    saved: Path, stage: JointStage, changes: dict[str, str]
) -> None:
    edit(saved, **changes)
    message = refused(saved, stage)
    assert "not a checkpoint of this version" in message
    assert "delete" in message


def test_a_state_of_another_size_is_refused(saved: Path) -> None:
    other = JointStage(Codec(dataclasses.replace(tiny.CONFIG, codebook_size=32)), RECIPE)
    assert "tensors differ, first weights.quantizer.codebooks" in refused(saved, other)


def test_a_full_disk_leaves_the_old_state(saved: Path, stage: JointStage) -> None:
    before = (saved / NAME).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(CodecError, match="cannot be written") as caught:
            save_checkpoint(saved, stage, tiny.CONFIG, dataclasses.replace(PROGRESS, step=8), RECIPE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert (saved / NAME).read_bytes() == before
    assert [path.name for path in saved.iterdir()] == [NAME]


def test_a_folder_that_cannot_be_made_is_an_error(stage: JointStage, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CodecError, match="cannot be written"):
        save_checkpoint(tmp_path / "file" / "run", stage, tiny.CONFIG, PROGRESS, RECIPE)


SAVES_FOR_EVER = """
import sys, itertools, pathlib
import numpy as np
from support import tiny_training as tiny
from codec.network import Codec
from codec.training.checkpoint import save_checkpoint
from codec.training.joint import JointStage
from codec.training.progress import Progress
stage = JointStage(Codec(tiny.CONFIG), tiny.recipe(1))
for step in itertools.count():
    stage.parameters.master.assign(np.full(stage.parameters.master.shape, step, np.float32))
    save_checkpoint(pathlib.Path(sys.argv[1]), stage, tiny.CONFIG, Progress(step=step), tiny.recipe(1))
    print(step, flush=True)
"""


def test_a_kill_at_any_moment_leaves_a_complete_state(tmp_path: Path, stage: JointStage) -> None:
    process = tiny.start(SAVES_FOR_EVER, tmp_path)
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(5)]
    time.sleep(random.uniform(0, 0.1))
    os.kill(process.pid, signal.SIGKILL)
    printed, _ = process.communicate()
    found = read_progress(tmp_path)
    assert found is not None
    load_checkpoint(tmp_path, stage)
    last = int(printed.split()[-1]) if printed.split() else said[-1]
    assert found[0].step >= last
    assert set(tiny.values(stage)["master"]) == {found[0].step}
