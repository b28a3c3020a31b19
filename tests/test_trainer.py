"""The loop as a whole: from a folder of WAVs to a preset, stopped and gone on with in every way."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
import tensorflow as tf
import tiny_training as tiny
from safetensors.numpy import load_file

from codec.compression import compress, decompress
from codec.config import CodecConfig
from codec.errors import AudioError, CodecError, PresetError
from codec.presets import load_codec
from codec.training import checkpoint, schedule, trainer
from codec.training.checkpoint import Progress, read_progress
from codec.training.recipe import Recipe, Tuning, recipe_for
from codec.training.replicas import Replicas
from codec.training.steps import TensorFlowStepper
from codec.training.trainer import train
from codec.training.validation import Validation

RECIPE = tiny.recipe(6)  # after 2 steps of warm-up


class Whole(NamedTuple):
    """A run that nothing interrupted."""

    folder: Path
    output: Path
    said: list[str]
    results: Validation | None


@pytest.fixture(scope="module", autouse=True)
def in_little_time() -> Iterator[None]:
    """Steps without graphs, which take longer to build than a few steps; short validation."""
    patch = pytest.MonkeyPatch()
    patch.setattr(trainer, "HELD_OUT_SECONDS", 1.0)
    patch.setattr(trainer, "HELD_OUT_COUNT", 2)
    patch.setattr(trainer, "REPORT_SECONDS", 1e9)  # on a busy machine too
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
    patch.undo()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Do not write to it."""
    folder, said = tmp_path_factory.mktemp("whole"), list[str]()
    tiny.recordings(folder / "in")
    results = train(folder / "in", folder / "model", RECIPE, said.append, config=tiny.CONFIG)
    return Whole(folder / "in", folder / "model", said, results)


def copy_of(run: Path, output: Path) -> Path:
    """A run of one's own, to go on with."""
    (output / "training").mkdir(parents=True)
    for name in ("config.json", "weights.safetensors", "training/checkpoint.safetensors"):
        (output / name).write_bytes((run / name).read_bytes())
    return output


def state(output: Path) -> dict[str, np.ndarray]:
    return load_file(output / "training" / checkpoint.NAME)


def silent(line: str) -> None:
    """Nobody listens."""


def at_step(wanted: int, act: Callable[[], None]) -> Callable[[str], None]:
    """A status that acts once, after a step."""
    return lambda line: act() if line.startswith(f"step {wanted},") else None


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_the_preset_codes(whole: Whole, tmp_path: Path) -> None:
    codec = load_codec(whole.output)
    assert codec.config == tiny.CONFIG
    soundfile.write(tmp_path / "a.wav", tiny.sines(1.5, 7), tiny.RATE)
    compress(tmp_path / "a.wav", tmp_path / "a.lam", codec, 3)
    decompress(tmp_path / "a.lam", tmp_path / "b.wav", codec)
    decoded, rate = soundfile.read(tmp_path / "b.wav")
    assert (len(decoded), rate) == (round(1.5 * tiny.RATE), tiny.RATE)
    assert np.abs(decoded).max() > 0.01


def test_what_is_left_in_the_folder(whole: Whole) -> None:
    names = {path.relative_to(whole.output).as_posix() for path in whole.output.rglob("*") if path.is_file()}
    assert sum(name.startswith("training/board/events.out.") for name in names) == 1
    assert {name for name in names if not name.startswith("training/board/")} == {
        "card.md",
        "config.json",
        "prior.safetensors",
        "weights.safetensors",
        "training/checkpoint.safetensors",
        "training/cache/audio.int16",
        "training/cache/index.json",
    }
    progress, config = read_progress(whole.output / "training") or (None, None)
    assert progress is not None
    assert (progress.stage, progress.step, progress.since_step) == ("joint", 8, 2)
    assert progress.audio_seconds == 8 * RECIPE.batch_size * RECIPE.segment_seconds
    assert config == tiny.CONFIG


def test_the_card(whole: Whole) -> None:
    card = (whole.output / "card.md").read_text()
    assert whole.results is not None
    assert card.startswith("# model: 8 kHz, 600 to 600 bits per second and channel\n")
    assert "8 steps" in card
    assert f"| 600 | {whole.results.mel[0]:.3f} |" in card


def test_what_is_said(whole: Whole) -> None:
    beginnings = (
        "reading 3 audio files",
        "3 files, ",
        "0.0 million weights",
        "principal components",
        "PCA start: ",
        "warm-up: building the graph",
        "step 1, warm-up: log-mel ",
        "codebooks from k-means",
        "joint: building the graph",
        "step 3, joint 17%, 0:00:",
        "distance of decoded from held-out audio",
        "latents: ",
    )
    for line, beginning in zip(whole.said, beginnings, strict=False):
        assert line.startswith(beginning)
    assert whole.said[-3].startswith("| bits per second |")


def test_a_finished_run_without_its_prior_fits_it(whole: Whole, tmp_path: Path) -> None:
    output, said = copy_of(whole.output, tmp_path / "model"), list[str]()
    train(whole.folder, output, RECIPE, said.append)
    assert (output / "prior.safetensors").read_bytes() == (whole.output / "prior.safetensors").read_bytes()


def test_a_finished_run_says_how_to_go_on(whole: Whole) -> None:
    said: list[str] = []
    assert train(whole.folder / "vanished", whole.output, RECIPE, said.append) is None
    (line,) = said
    assert line.startswith(f"{whole.output} is finished, after 8 steps, 0:0")
    assert line.endswith("of training; to go on, ask for more hours or steps")


def test_more_steps_go_on(whole: Whole, tmp_path: Path) -> None:
    output, said = copy_of(whole.output, tmp_path / "model"), list[str]()
    results = train(whole.folder, output, dataclasses.replace(RECIPE, steps=7, batch_size=3), said.append)
    assert results is not None
    assert any(line.startswith("going on after 8 steps") for line in said)
    progress, _ = read_progress(output / "training") or (Progress(), None)
    assert progress.step == 9
    assert not np.array_equal(state(output)["master"], state(whole.output)["master"])


def test_interrupted_and_resumed_equals_uninterrupted(whole: Whole, tmp_path: Path) -> None:
    output, config = tmp_path / "model", tiny.CONFIG
    for step in (1, 5):  # in the warm-up, in the joint stage
        with pytest.raises(
            KeyboardInterrupt, match=f"stopped after {step} steps, .* the same command goes on"
        ):
            train(whole.folder, output, RECIPE, silent, config=config, show=at_step(step, interrupt))
        assert (output / "config.json").is_file() is (step > 2)
    assert "Not measured yet" in (output / "card.md").read_text()
    load_codec(output)
    assert train(whole.folder, output, RECIPE, silent) is not None
    found, expected = state(output), state(whole.output)
    assert set(found) == set(expected)
    assert [name for name in found if not np.array_equal(found[name], expected[name])] == []


def test_an_interrupt_waits_for_the_step_and_for_saving(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, said = copy_of(whole.output, tmp_path / "model"), list[str]()
    step, save = TensorFlowStepper.step, checkpoint.save_checkpoint

    def interrupted(*arguments: Any) -> Any:
        interrupt()
        return step(*arguments)

    def interrupted_again(*arguments: Any) -> None:
        interrupt()
        save(*arguments)

    monkeypatch.setattr(TensorFlowStepper, "step", interrupted)
    monkeypatch.setattr(checkpoint, "save_checkpoint", interrupted_again)
    with pytest.raises(KeyboardInterrupt, match="stopped after 9 steps"):
        train(whole.folder, output, dataclasses.replace(RECIPE, steps=20), said.append)
    assert "stopping after this step" in said
    progress, _ = read_progress(output / "training") or (Progress(), None)
    assert progress.step == 9
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class OtherStops(Replicas):
    """Among several processes, of which another one is interrupted in the first step."""

    def total(self, *values: float) -> list[float]:
        return [*values[:1], *(value + 1 for value in values[1:])]


def test_where_one_process_stops_all_do(whole: Whole, tmp_path: Path) -> None:
    output = copy_of(whole.output, tmp_path / "model")
    more = dataclasses.replace(RECIPE, steps=20)
    with pytest.raises(KeyboardInterrupt, match="stopped after 9 steps"):
        train(whole.folder, output, more, silent, replicas=OtherStops())
    progress, _ = read_progress(output / "training") or (Progress(), None)
    assert progress.step == 9


def test_only_the_chief_writes_and_speaks(whole: Whole, tmp_path: Path) -> None:
    output, said = copy_of(whole.output, tmp_path / "model"), list[str]()
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    other = Replicas(chief=False)
    results = train(whole.folder, output, dataclasses.replace(RECIPE, steps=7), said.append, replicas=other)
    assert results is not None and said == []
    after = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    new = {path.parent.name for path in after.keys() - before.keys()}
    assert new == {"cache"} and all(after[path] == before[path] for path in before)


def test_from_a_codec_no_warm_up(whole: Whole, tmp_path: Path) -> None:
    said: list[str] = []
    codec = load_codec(whole.output)
    train(whole.folder, tmp_path / "new", tiny.recipe(1), said.append, codec)
    progress, _ = read_progress(tmp_path / "new" / "training") or (Progress(), None)
    assert (progress.stage, progress.step) == ("joint", 1)
    assert not any("warm-up" in line or "k-means" in line for line in said)


def nan_at(steps: Callable[[int], bool]) -> Callable[..., Any]:
    """A step of TensorFlow whose audio is NaN at some steps."""
    step = TensorFlowStepper.step

    def poisoned(self: TensorFlowStepper, arrays: Any, learning_rate: float, number: int) -> Any:
        audio = np.full_like(arrays.audio, np.nan) if steps(number) else arrays.audio
        return step(self, arrays._replace(audio=audio), learning_rate, number)

    return poisoned


def test_a_step_that_is_no_number_is_undone(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, said = copy_of(whole.output, tmp_path / "model"), list[str]()
    monkeypatch.setattr(TensorFlowStepper, "step", nan_at(lambda number: number == 9))
    train(whole.folder, output, dataclasses.replace(RECIPE, steps=9), said.append)
    assert [line for line in said if "back to the last checkpoint" in line] != []
    assert all(np.isfinite(tensor).all() for tensor in state(output).values())


def test_training_that_is_no_number_ends(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TensorFlowStepper, "step", nan_at(lambda _: True))
    monkeypatch.setattr(trainer, "MAX_SETBACKS", 2)
    output, said = copy_of(whole.output, tmp_path / "model"), list[str]()
    with pytest.raises(
        CodecError, match="step 10: the gradient was not a finite number; training cannot go on"
    ):
        train(whole.folder, output, dataclasses.replace(RECIPE, steps=20), said.append)
    assert len([line for line in said if "back to the last checkpoint" in line]) == 2
    with pytest.raises(CodecError, match="step 0: "):
        train(whole.folder, tmp_path / "new", RECIPE, silent, config=tiny.CONFIG)


def test_a_checkpoint_in_the_warm_up_comes_without_a_preset(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves = list[Progress]()

    def save(folder: Path, stage: object, config: CodecConfig, progress: Progress, recipe: Recipe) -> None:
        saves.append(progress)
        if progress.stage == "joint":
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_checkpoint", save)
    often = dataclasses.replace(RECIPE, checkpoint_minutes=0.0)
    with pytest.raises(KeyboardInterrupt):
        train(whole.folder, tmp_path / "model", often, silent, config=tiny.CONFIG)
    assert [(progress.stage, progress.step) for progress in saves[:3]] == [
        ("warm-up", 1),
        ("warm-up", 2),
        ("joint", 2),
    ]


def tuned(steps: int, **changes: Any) -> Recipe:
    """Half of the steps are the decoder stage's."""
    small = {"windows": (0.032, 0.016), "limit": 2000.0, "widths": (4, 4, 4, 4), "crop_seconds": 0.3}
    return dataclasses.replace(RECIPE, steps=steps, tuning=Tuning(part=0.5, **{**small, **changes}))  # type: ignore[arg-type]


def test_the_decoder_stage_follows_stopped_or_not(whole: Whole, tmp_path: Path) -> None:
    outputs = [copy_of(whole.output, tmp_path / name) for name in ("model", "stopped")]
    said: list[str] = []
    # The joint stage, of 6 steps, is over: its half of 12.
    assert train(whole.folder, outputs[0], tuned(12), said.append) is not None
    with pytest.raises(KeyboardInterrupt, match="stopped after 10 steps"):
        train(whole.folder, outputs[1], tuned(12), silent, show=at_step(10, interrupt))
    assert train(whole.folder, outputs[1], tuned(12), silent) is not None
    progress, _ = read_progress(outputs[0] / "training") or (Progress(), None)
    assert (progress.stage, progress.since_step, progress.step) == ("decoder", 8, 14)
    found, expected = (state(output) for output in outputs)
    assert [name for name in found if not np.array_equal(found[name], expected[name])] == []
    before, after = (load_file(path / "weights.safetensors") for path in (whole.output, outputs[0]))
    changed = {name for name in after if not np.array_equal(after[name], before[name])}
    assert changed and all(name.startswith("decoder.") for name in changed)
    assert train(whole.folder, outputs[0], tuned(12), said.append) is None
    assert "is finished" in said[-1]


def test_a_decoder_stage_that_spoils_the_sound_ends(whole: Whole, tmp_path: Path) -> None:
    output, said = copy_of(whole.output, tmp_path / "model"), list[str]()
    spoiling = tuned(40, learning_rate=1.0, shares=(1.0, 1.0), head_start=1)
    often = dataclasses.replace(spoiling, checkpoint_minutes=0.0, rise_steps=1, averaging=0.0)
    train(whole.folder, output, dataclasses.replace(often, steps=12), said.append)
    assert any("the decoder stage ends here" in line for line in said)
    before, after = (load_file(path / "weights.safetensors") for path in (whole.output, output))
    assert all(np.array_equal(after[name], before[name]) for name in after)


def test_a_folder_that_has_vanished(whole: Whole, tmp_path: Path) -> None:
    output = copy_of(whole.output, tmp_path / "model")
    with pytest.raises(AudioError, match="there is no such folder"):
        train(tmp_path / "vanished", output, dataclasses.replace(RECIPE, steps=9), silent)


def test_a_damaged_run(whole: Whole, tmp_path: Path) -> None:
    output = copy_of(whole.output, tmp_path / "model")
    (output / "training" / checkpoint.NAME).write_bytes(b"no checkpoint")
    with pytest.raises(PresetError, match="is damaged"):
        train(whole.folder, output, RECIPE, silent)


def test_a_run_of_another_size(whole: Whole) -> None:
    other = dataclasses.replace(tiny.CONFIG, decoder_width=8)
    with pytest.raises(PresetError, match="a model of another size"):
        train(whole.folder, whole.output, RECIPE, silent, config=other)


def recipe(steps: int, part: float = 0, minutes: float = 60) -> Recipe:
    """A recipe that gives this part of itself to the decoder stage."""
    return Recipe(steps=steps, hours=minutes / 60, tuning=Tuning(part=part))


@pytest.mark.parametrize(
    ("recipe", "progress", "done"),
    [
        (recipe(10), Progress("warm-up", 5), 0.0),
        (recipe(10), Progress("joint", 100, since_step=100), 0.0),
        (recipe(10), Progress("joint", 105, since_step=100), 0.5),
        (recipe(10), Progress("joint", 200, since_step=100), 1.0),
        (recipe(0, minutes=2), Progress("joint", 9, seconds=60.0, since=0.0), 0.5),
        (recipe(0, minutes=2), Progress("joint", 9, seconds=90.0, since=60.0), 0.5),
        (recipe(0, minutes=1), Progress("joint", 9, seconds=90.0, since=80.0), 1.0),
        (recipe(10, part=0.5), Progress("joint", 104, since_step=100), 0.8),
        (recipe(10, part=0.5), Progress("decoder", 106, since_step=105), 0.2),
        (recipe(0, part=0.5, minutes=2), Progress("joint", 9, seconds=30.0), 0.5),
        (recipe(0, part=0.5, minutes=2), Progress("decoder", 9, seconds=90.0, since=60.0), 0.5),
        (recipe(10, part=1.0), Progress("joint", 0), 1.0),
    ],
)
def test_how_much_of_a_stage_is_done(recipe: Recipe, progress: Progress, done: float) -> None:
    assert schedule.fraction(recipe, progress) == pytest.approx(done)
    last = progress.stage == ("decoder" if recipe.tuning.part else "joint")
    assert schedule.finished(recipe, progress) is (done == 1 and last)


def test_the_noise_of_the_warm_up() -> None:
    recipe = Recipe()
    assert [recipe.noise_variance(count) for count in (3, 6, 12, 24)] == pytest.approx(recipe.warm_up_noise)
    assert recipe.noise_variance(1) == recipe.noise_variance(3) > recipe.noise_variance(4)
    assert recipe.noise_variance(48) == recipe.noise_variance(24)


@pytest.mark.parametrize(
    "wrong", [{"steps": -1}, {"hours": 0.0}, {"batch_size": 0}, {"segment_seconds": 0.1}]
)
def test_a_wrong_recipe(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Recipe(**wrong)


def test_recipes_for_devices() -> None:
    assert recipe_for("cpu") == Recipe()
    big = recipe_for("gpu", steps=7)
    assert (big.steps, recipe_for("cpu", steps=7).steps) == (7, 7)
    assert big.batch_size > Recipe().batch_size and len(big.tuning.windows) > len(Recipe().tuning.windows)
    with pytest.raises(ValueError, match="found tpu"):
        recipe_for("tpu")


@pytest.mark.parametrize("wrong", [{"erasure": 2.0}, {"part": -0.1}, {"part": 1.1}, {"shares": (0.4, 2.0)}])
def test_a_wrong_tuning(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Tuning(**wrong)


# Runs in processes of their own

RUN = """
import sys, pathlib
import keras, numpy as np, tiny_training as tiny
from codec.training import trainer
trainer.HELD_OUT_SECONDS, trainer.HELD_OUT_COUNT = 1.0, 2
folder, output, steps, minutes = sys.argv[1:]
say = lambda line: print(line, flush=True)
made = tiny.recipe(int(steps), checkpoint_minutes=float(minutes))
trainer.train(pathlib.Path(folder), pathlib.Path(output), made, say, config=tiny.CONFIG, show=say)
print(keras.backend.backend(), "tensorflow" in sys.modules)
"""


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_equals_uninterrupted(whole: Whole, tmp_path: Path) -> None:
    moments = np.random.default_rng()  # of another seed each time: no moment may matter
    killed, steps = tmp_path / "killed", 16
    for least in (3, 8):
        process = tiny.start(RUN, whole.folder, killed, steps, 0.0)  # saves after every step
        wait_for_step(process, least)
        time.sleep(moments.uniform(0, 1))
        process.kill()
        process.communicate()
        progress, _ = read_progress(killed / "training") or (Progress(), None)
        assert least - 1 <= progress.step < steps
    tiny.finish(tiny.start(RUN, whole.folder, killed, steps, 0.0))
    tiny.finish(tiny.start(RUN, whole.folder, tmp_path / "whole", steps, 0.0))
    found, expected = state(killed), state(tmp_path / "whole")
    assert [name for name in expected if not np.array_equal(found[name], expected[name])] == []
    assert [path.name for path in killed.rglob("*.part")] == []


def wait_for_step(process: subprocess.Popen[str], least: int) -> None:
    """Read what a run prints until it is there."""
    assert process.stdout is not None
    for line in process.stdout:
        words = line.split()
        if words[:1] == ["step"] and int(words[1].rstrip(",")) >= least:
            return


@pytest.mark.slow
def test_begun_on_one_backend_and_ended_on_the_other(whole: Whole, tmp_path: Path) -> None:
    output = tmp_path / "model"
    printed = tiny.finish(tiny.start(RUN, whole.folder, output, 2, 5.0, KERAS_BACKEND="tensorflow"))
    assert "\ntensorflow True" in printed
    printed = tiny.finish(tiny.start(RUN, whole.folder, output, 4, 5.0, KERAS_BACKEND="jax"))
    assert "going on after 4 steps" in printed
    assert "\njax " in printed
    progress, _ = read_progress(output / "training") or (Progress(), None)
    assert progress.step == 6
    train(whole.folder, output, dataclasses.replace(RECIPE, steps=5), silent)  # and back
    assert all(np.isfinite(tensor).all() for tensor in state(output).values())
