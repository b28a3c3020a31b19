"""The command as people meet it: round trips, pipes, manners, and bad input as one line and exit code 1."""

from __future__ import annotations

import io
import os
import pty
import re
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from conftest import tone

import codec
from cli import files
from cli.main import lamella, one_line
from cli.options import parse_bitrate
from cli.progress import progress
from cli.status import Status
from codec.bitstream import Reader

ROOT = Path(__file__).parent.parent
NEGATIVE = ROOT / "tests" / "negative"
LAMELLA = f"{shlex.quote(sys.executable)} -m cli.main"


def run(*arguments: object, **options: Any) -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(lamella, [str(argument) for argument in arguments], **options)


def works(*arguments: object, **options: Any) -> Result:
    result = run(*arguments, **options)
    assert result.exit_code == 0, result.stderr
    return result


def fails(*arguments: object, **options: Any) -> str:
    """Run what must end with one line on stderr and exit code 1; give the line."""
    result = run(*arguments, **options)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def refuses(*arguments: object) -> str:
    """Run what is a wrong command line: exit code 2."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    return result.stderr


def shell(command: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run real processes, `lamella` being this checkout's."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = f'set -o pipefail; lamella() {{ {LAMELLA} "$@"; }}; {command}'
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder to write to. Nothing half-written may be left in it, whatever a test does."""
    folder = tmp_path / "out"
    folder.mkdir()
    yield folder
    assert [path.name for path in folder.rglob("*") if path.name.startswith(".")] == []


@pytest.fixture(scope="module")
def lam(tiny_preset: Path, wav: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tiny model makes of `wav` at 6 kbit/s a channel."""
    path = tmp_path_factory.mktemp("lam") / "talk.lam"
    works("compress", "--model", tiny_preset, wav, path)
    return path


class TestRoundTrip:
    @pytest.mark.parametrize("ending", [".wav", ".flac", ".ogg"])
    def test_length_rate_and_channels_come_back(
        self, ending: str, folder: Path, wav: Path, lam: Path, tiny_preset: Path
    ) -> None:
        target = folder / f"again{ending}"
        said = works("decompress", "-m", tiny_preset, lam, target)
        before, after = soundfile.info(wav), soundfile.info(target)
        assert (after.frames, after.samplerate, after.channels) == (
            before.frames, before.samplerate, before.channels
        )  # fmt: skip
        assert said.stdout == ""
        assert "1.50 s, 22050 Hz, 2 channels" in said.stderr

    @pytest.mark.parametrize(("bitrate", "count"), [("1.5k", 3), ("3k", 6), ("6000", 12), ("12K", 24)])
    def test_bitrates(self, bitrate: str, count: int, folder: Path, wav: Path, tiny_preset: Path) -> None:
        by_rate, by_count = folder / "rate.lam", folder / "count.lam"
        works("compress", "-m", tiny_preset, "--bitrate", bitrate, wav, by_rate)
        works("compress", "-m", tiny_preset, "--codebooks", count, wav, by_count)
        assert by_rate.read_bytes() == by_count.read_bytes()
        assert f"{count * 0.5:g}kbit/s a channel ({count} codebooks)" in works("info", by_rate).stdout

    def test_six_is_the_default(self, folder: Path, wav: Path, lam: Path, tiny_preset: Path) -> None:
        works("compress", "-m", tiny_preset, "-b", "6k", wav, folder / "six.lam")
        assert (folder / "six.lam").read_bytes() == lam.read_bytes()

    def test_standard_input_and_output(self, folder: Path, wav: Path, lam: Path, tiny_preset: Path) -> None:
        packed = works("compress", "-m", tiny_preset, "-", "-", input=wav.read_bytes())
        sound = works("decompress", "-m", tiny_preset, "-", "-", input=packed.stdout_bytes).stdout_bytes
        works("decompress", "-m", tiny_preset, lam, folder / "file.wav")
        from_pipe, from_file = soundfile.read(io.BytesIO(sound)), soundfile.read(folder / "file.wav")
        np.testing.assert_array_equal(from_pipe[0], from_file[0])
        assert from_pipe[1] == from_file[1]

    def test_raw_samples(self, folder: Path, wav: Path, tiny_preset: Path) -> None:
        samples, _ = soundfile.read(wav, dtype="int16")
        shape = ("--raw", "--rate", 22050, "--channels", 2)
        packed = works("compress", "-m", tiny_preset, *shape, "-", "-", input=samples.tobytes())
        raw = works("decompress", "-m", tiny_preset, "--raw", "-", "-", input=packed.stdout_bytes)
        assert len(raw.stdout_bytes) == samples.nbytes

    @pytest.mark.parametrize("length", [0, 1, 321])
    def test_short_sounds(self, length: int, folder: Path, tiny_preset: Path) -> None:
        soundfile.write(folder / "in.wav", np.zeros(length, np.float32), 8000)
        works("compress", "-m", tiny_preset, folder / "in.wav", folder / "in.lam")
        works("decompress", "-m", tiny_preset, folder / "in.lam", folder / "out.wav")
        assert soundfile.info(folder / "out.wav").frames == length
        works("info", folder / "in.lam")

    def test_quiet(self, folder: Path, wav: Path, tiny_preset: Path) -> None:
        result = works("compress", "-q", "-m", tiny_preset, wav, folder / "talk.lam")
        result = works("decompress", "-q", "-m", tiny_preset, folder / "talk.lam", folder / "talk.wav")
        assert result.output == ""


def test_info(lam: Path) -> None:
    said = works("info", lam).stdout
    assert "duration:    1.500 s (33075 samples)" in said
    assert "sample rate: 22050 Hz" in said
    assert "channels:    2" in said
    assert said == works("info", "-", input=lam.read_bytes()).stdout


def test_models(monkeypatch: pytest.MonkeyPatch, tiny_preset: Path, tmp_path: Path) -> None:
    monkeypatch.setattr("codec.presets._assets", lambda: tiny_preset.parent)
    assert works("models").stdout.startswith("tiny: Tiny: for tests, untrained\n")
    monkeypatch.setattr("codec.presets._assets", lambda: tmp_path)
    assert "no model came with this installation" in fails("models")


class TestDemo:
    def test_a_file_of_ones_own(self, folder: Path, wav: Path, tiny_preset: Path) -> None:
        table = works("demo", "-m", tiny_preset, "--output", folder, wav).stdout.splitlines()
        rates = ["1.5k", "3k", "6k", "12k"]
        assert [line.split()[0] for line in table[2:6]] == rates
        sizes = [int(line.split()[1]) for line in table[2:6]]
        assert sizes == [(folder / f"{rate}.lam").stat().st_size for rate in rates] == sorted(sizes)
        assert soundfile.info(folder / "12k.wav").frames == soundfile.info(folder / "source.wav").frames
        assert all(float(line.split()[3]) > 0 for line in table[2:6])

    def test_the_shipped_clip(
        self, folder: Path, wav: Path, tiny_preset: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cli.demo.row", lambda *_: "")
        monkeypatch.setattr("codec.presets.samples", lambda: wav.parent)
        assert works("demo", "-m", tiny_preset, "-o", folder / "new").stdout.startswith("talk.wav, ")
        monkeypatch.setattr("codec.presets.samples", lambda: folder / "nothing")
        assert "no clip" in fails("demo", "-m", tiny_preset, "-o", folder / "other")

    def test_a_full_folder_needs_force(
        self, folder: Path, wav: Path, tiny_preset: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cli.demo.row", lambda *_: "")
        (folder / "mine.txt").write_text("mine")
        assert "not empty" in fails("demo", "-m", tiny_preset, "-o", folder, wav)
        works("demo", "-m", tiny_preset, "-o", folder, "--force", wav)
        assert (folder / "mine.txt").read_text() == "mine"

    def test_bad_audio_leaves_no_folder(self, folder: Path, tiny_preset: Path) -> None:
        fails("demo", "-m", tiny_preset, "-o", folder / "new", NEGATIVE / "empty.lam")
        assert not (folder / "new").exists()


class TestTrain:
    @pytest.fixture(autouse=True)
    def plain_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the verb tells TensorFlow to do is not meant for the other tests."""
        for name in ("ONEDNN_DEFAULT_FPMATH_MODE", "TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS"):
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)

    @pytest.fixture
    def given(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        """What the trainer is called with, in place of training."""
        given: dict[str, Any] = {}

        def record(folder: Path, output: Path, recipe: Any, say: Any, codec: Any, **more: Any) -> None:
            given.update(folder=folder, output=output, recipe=recipe, codec=codec, **more)
            say("step 1")

        monkeypatch.setattr("codec.training.trainer.train", record)
        return given

    def test_arguments_reach_the_trainer(self, folder: Path, given: dict[str, Any]) -> None:
        said = works("train", folder, "-o", folder / "model", "--steps", 5, "--batch-size", 2, "--segment", 1)
        assert (given["folder"], given["output"]) == (folder, folder / "model")
        recipe = given["recipe"]
        assert (recipe.steps, recipe.batch_size, recipe.segment_seconds) == (5, 2, 1.0)
        assert (given["codec"], given["show"], given["replicas"].count) == (None, None, 1)
        assert said.stdout == ""
        assert said.stderr.splitlines()[0].startswith("starting")
        assert said.stderr.splitlines()[1:] == ["step 1"]

    def test_from_a_model(self, folder: Path, given: dict[str, Any], tiny_preset: Path) -> None:
        said = works("train", folder, "-o", folder / "m", "--from", tiny_preset, "--hours", 0.5, "-q")
        assert given["codec"].config.sample_rate == 16000
        assert given["recipe"].hours == 0.5
        assert said.output == ""

    def test_hours_or_steps(self, folder: Path) -> None:
        assert "not both" in refuses("train", folder, "-o", folder, "--hours", 1, "--steps", 1)
        refuses("train", folder, "-o", folder, "--hours", 0)

    def test_a_recipe_for_a_device(self, folder: Path, given: dict[str, Any]) -> None:
        works("train", folder, "-o", folder / "m", "--recipe", "gpu", "--steps", 3, "-q")
        assert (given["recipe"].steps, given["recipe"].batch_size) == (3, 64)
        works("train", folder, "-q")
        assert (given["output"], given["recipe"].batch_size) == (Path("lamella-model"), 8)
        assert "'tpu' is not one of" in refuses("train", folder, "--recipe", "tpu")

    def test_a_folder_that_is_none_or_has_no_audio(self, folder: Path) -> None:
        assert "no such folder" in fails("train", folder / "nothing", "-o", folder / "model")
        (folder / "notes.txt").write_text("no audio")
        result = run("train", folder, "-o", folder / "model", "--steps", 1)
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1].startswith("Error: no audio found in")

    def test_a_model_is_overwritten_only_by_force(
        self, folder: Path, given: dict[str, Any], tiny_preset: Path
    ) -> None:
        assert "--force overwrites it" in fails("train", folder, "-o", tiny_preset)
        works("train", folder, "-o", tiny_preset, "--force")
        assert given["output"] == tiny_preset

    @pytest.mark.parametrize(
        ("stop", "line"),
        [
            (KeyboardInterrupt("stopped after 3 steps"), "Error: stopped after 3 steps"),
            (KeyboardInterrupt(), "Error: interrupted before the training began"),
        ],
    )
    def test_an_interrupt_is_one_line(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException, line: str
    ) -> None:
        def interrupted(*_: object, **__: object) -> None:
            raise stop

        monkeypatch.setattr("codec.training.trainer.train", interrupted)
        result = run("train", folder, "-o", folder / "model", "--quiet")
        assert (result.exit_code, result.stderr.strip()) == (1, line)

    def test_the_status_changes_in_place_on_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        screen = io.StringIO()
        monkeypatch.setattr(sys, "stderr", screen)
        monkeypatch.setattr(screen, "isatty", lambda: True)
        status = Status(quiet=False)
        status.show("step 1")
        status.show("step 2")  # too soon
        status.say("done")
        assert screen.getvalue() == "\r\x1b[Kstep 1\r\x1b[Kdone\n"
        assert not Status(quiet=True).terminal


class TestBadSound:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_samples_that_are_no_numbers(self, value: float, folder: Path, tiny_preset: Path) -> None:
        samples = tone(2.5, 16000)
        samples[-1] = value
        soundfile.write(folder / "bad.wav", samples, 16000, "FLOAT")
        line = fails("compress", "-m", tiny_preset, folder / "bad.wav", folder / "bad.lam")
        assert "sample 39999 (2.500 s)" in line
        assert not (folder / "bad.lam").exists()

    @pytest.mark.parametrize("content", [b"", b"this is no sound\n" * 9, b"RIFF", bytes(1000)])
    def test_what_is_no_sound(self, content: bytes, folder: Path, tiny_preset: Path) -> None:
        source, target = folder / "bad.wav", folder / "bad.lam"
        source.write_bytes(content)
        target.write_bytes(b"old")
        assert "bad.wav" in fails("compress", "-m", tiny_preset, "--force", source, target)
        fails("compress", "-m", tiny_preset, "-", target, "--force", input=content)
        assert target.read_bytes() == b"old"

    def test_truncated(self, folder: Path, wav: Path, tiny_preset: Path) -> None:
        (folder / "cut.wav").write_bytes(wav.read_bytes()[:-1000])
        fails("compress", "-m", tiny_preset, folder / "cut.wav", folder / "cut.lam")
        assert not (folder / "cut.lam").exists()

    @pytest.mark.parametrize(("rate", "channels"), [(4000, 1), (384000, 1), (48000, 9)])
    def test_unsupported_shapes(self, rate: int, channels: int, folder: Path, tiny_preset: Path) -> None:
        soundfile.write(folder / "odd.wav", np.zeros((100, channels)), rate)
        line = fails("compress", "-m", tiny_preset, folder / "odd.wav", folder / "odd.lam")
        assert "expected" in line

    def test_missing_files_and_folders(self, folder: Path, wav: Path, tiny_preset: Path) -> None:
        assert "No such file" in fails("compress", "-m", tiny_preset, folder / "no.wav", folder / "no.lam")
        assert "s a directory" in fails("compress", "-m", tiny_preset, folder, folder / "no.lam")


class TestBadStream:
    @pytest.mark.parametrize("name", sorted(path.name for path in NEGATIVE.glob("*.lam")))
    def test_damaged_files(self, name: str, folder: Path, tiny_preset: Path) -> None:
        target = folder / "bad.wav"
        target.write_bytes(b"old")
        assert name in fails("decompress", "-m", tiny_preset, "--force", NEGATIVE / name, target)
        content = (NEGATIVE / name).read_bytes()
        fails("decompress", "-m", tiny_preset, "--force", "-", target, input=content)
        assert target.read_bytes() == b"old"

    @pytest.mark.parametrize("damage", ["cut", "flip"])
    def test_damage_behind_a_good_start(
        self, damage: str, folder: Path, lam: Path, tiny_preset: Path
    ) -> None:
        content = bytearray(lam.read_bytes())
        content = content[:-200] if damage == "cut" else content
        content[-200] ^= 16
        (folder / "bad.lam").write_bytes(content)
        assert "bad.lam" in fails("decompress", "-m", tiny_preset, folder / "bad.lam", folder / "bad.wav")
        assert not (folder / "bad.wav").exists()
        assert "bad.lam" in fails("info", folder / "bad.lam")

    def test_another_model(self, folder: Path, tiny_preset: Path) -> None:
        golden = ROOT / "tests" / "golden" / "v1" / "mono.lam"
        line = fails("decompress", "-m", tiny_preset, golden, folder / "no.wav")
        assert "expected" in line
        assert "model" in line
        assert not (folder / "no.wav").exists()

    def test_unknown_endings_are_listed(self, folder: Path, lam: Path, tiny_preset: Path) -> None:
        assert ".flac" in fails("decompress", "-m", tiny_preset, lam, folder / "talk.xyz")


class TestManners:
    def test_nothing_is_overwritten_without_force(
        self, folder: Path, wav: Path, lam: Path, tiny_preset: Path
    ) -> None:
        target = folder / "there"
        target.write_bytes(b"mine")
        assert "--force" in fails("compress", "-m", tiny_preset, wav, target)
        assert "--force" in fails("decompress", "-m", tiny_preset, lam, target)
        assert target.read_bytes() == b"mine"
        works("compress", "-m", tiny_preset, "-f", wav, target)
        assert target.read_bytes() == lam.read_bytes()

    @pytest.mark.parametrize("place", ["nothing/talk.lam", "/proc/talk.lam", "."])
    def test_places_that_cannot_be_written(
        self, place: str, folder: Path, wav: Path, tiny_preset: Path
    ) -> None:
        fails("compress", "-m", tiny_preset, wav, folder / place)

    def test_wrong_rates_say_which_there_are(self, folder: Path, wav: Path, tiny_preset: Path) -> None:
        common = ("compress", "-m", tiny_preset, wav, folder / "no.lam")
        assert "1.5k, 3k, 6k, 12k" in refuses(*common, "--bitrate", "5k")
        assert "1 to 24" in refuses(*common, "--codebooks", 25)
        assert "1 to 24" in refuses(*common, "--codebooks", 0)
        assert "not both" in refuses(*common, "--codebooks", 3, "--bitrate", "6k")
        assert "write 6k or 6000" in refuses(*common, "--bitrate", "fast")
        assert list(folder.iterdir()) == []

    def test_raw_takes_all_three(self, folder: Path, wav: Path) -> None:
        for some in (("--raw",), ("--rate", 8000), ("--raw", "--rate", 8000), ("--channels", 1)):
            assert "all three" in refuses("compress", *some, wav, folder / "no.lam")

    def test_unknown_models(self, folder: Path, wav: Path) -> None:
        assert "no model 'nobody'" in fails("compress", "-m", "nobody", wav, folder / "no.lam")
        assert "no model" in fails("compress", "-m", folder, wav, folder / "no.lam")

    def test_a_device_is_written_to(self, wav: Path, tiny_preset: Path) -> None:
        works("compress", "-m", tiny_preset, wav, "/dev/null")
        assert not Path("/dev/null").is_file()

    def test_interrupted(
        self, folder: Path, wav: Path, tiny_preset: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(self: object, codes: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("codec.bitstream.Writer.write_chunks", interrupt)
        assert "interrupted" in fails("compress", "-m", tiny_preset, wav, folder / "talk.lam")
        assert list(folder.iterdir()) == []

    def test_version(self) -> None:
        assert works("--version").stdout == f"lamella, version {codec.__version__}\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (BrokenPipeError(32, "Broken pipe"), "whoever read the output has stopped reading"),
        (FileNotFoundError(2, "No such file or directory", "a.wav"), "a.wav: No such file or directory"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("odd"), "odd"),
        (codec.CodecError("two\nlines"), "two lines"),
        (MemoryError(), "not enough memory"),
        (KeyError("x"), "internal error, please report it: KeyError: 'x'"),
    ],
)
def test_every_error_is_one_line(error: BaseException, line: str) -> None:
    assert one_line(error) == line


def test_a_traceback_for_those_who_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAMELLA_TRACEBACK", "1")
    assert isinstance(run("info", tmp_path / "no.lam").exception, codec.CodecError)


@pytest.mark.parametrize(
    ("text", "bitrate"), [("6k", 6000), ("1.5K", 1500), ("12000", 12000), (" 3k ", 3000)]
)
def test_bitrates_as_people_write_them(text: str, bitrate: int) -> None:
    assert parse_bitrate(text) == bitrate


@pytest.mark.parametrize("text", ["", "k", "-6k", "6m", "1e3", "6k6", "9" * 30])
def test_what_is_no_bitrate(text: str) -> None:
    with pytest.raises(click.BadParameter):
        parse_bitrate(text)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal in the place of stderr."""
    screen = Terminal()
    monkeypatch.setattr("cli.progress.sys", SimpleNamespace(stderr=screen))
    return screen


class TestTerminal:
    def test_a_bar(self, screen: Terminal) -> None:
        with progress(10.0, quiet=False) as tell:
            assert tell is not None
            tell(5.0)
            tell(10.0)
        assert "100%" in screen.getvalue()

    def test_seconds_where_the_end_is_not_known(self, screen: Terminal) -> None:
        with progress(None, quiet=False) as tell:
            assert tell is not None
            tell(7.0)
        assert "\r7 s" in screen.getvalue()

    def test_nothing_when_quiet_or_no_terminal(self, screen: Terminal) -> None:
        with progress(10.0, quiet=True) as tell:
            assert tell is None
        screen.isatty = lambda: False  # type: ignore[method-assign]
        with progress(10.0, quiet=False) as tell:
            assert tell is None
        assert screen.getvalue() == ""

    def test_binary_stays_off_the_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        main, terminal = pty.openpty()
        with open(terminal, "r+b", buffering=0) as screen, io.TextIOWrapper(screen) as text:  # type: ignore[type-var]
            monkeypatch.setattr(sys, "stdout", text)
            monkeypatch.setattr(sys, "stdin", text)
            with pytest.raises(click.UsageError, match="does not go to a terminal"):
                files.target("-", force=False)
            with pytest.raises(click.UsageError, match="standard input is a terminal"):
                files.source("-")
            monkeypatch.undo()
        os.close(main)


class TestProcesses:
    """Real processes; each that loads the model takes some seconds."""

    @pytest.fixture
    def model(self, tiny_preset: Path) -> str:
        return f"-m {shlex.quote(str(tiny_preset))}"

    def test_a_pipe(self, wav: Path, model: str, folder: Path) -> None:
        target = shlex.quote(str(folder / "out.wav"))
        chain = f"cat {wav} | lamella compress {model} - - | lamella decompress {model} - - > {target}"
        result = shell(chain)
        assert result.returncode == 0, result.stderr
        assert soundfile.info(folder / "out.wav").frames == soundfile.info(wav).frames

    def test_errors_are_all_that_is_said(self, model: str, folder: Path, lam: Path) -> None:
        bad = folder / "bad.lam"
        bad.write_bytes(lam.read_bytes()[:-150])
        result = shell(f"lamella decompress {model} - {folder}/bad.wav < {bad}")
        assert (result.returncode, result.stdout) == (1, b"")
        assert result.stderr.startswith(b"Error: standard input: ")
        assert result.stderr.count(b"\n") == 1
        assert not (folder / "bad.wav").exists()

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device that is always full")
    def test_a_full_disk(self, wav: Path, model: str) -> None:
        result = shell(f"lamella compress {model} {wav} - > /dev/full")
        assert result.returncode == 1
        assert result.stderr == b"Error: standard output: cannot be written: No space left on device\n"

    def test_a_disk_that_fills_up(self, lam: Path, model: str, folder: Path) -> None:
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # noqa: E731
        result = shell(f"lamella decompress {model} {lam} {folder}/out.wav", preexec_fn=limit)
        assert result.returncode == 1
        assert result.stderr.startswith(b"Error: ")
        assert result.stderr.count(b"\n") == 1
        assert list(folder.iterdir()) == []

    def test_a_reader_that_leaves(self, lam: Path, model: str) -> None:
        result = shell(f"lamella decompress {model} {lam} - | head -c 10 | wc -c")
        assert result.returncode == 1
        assert result.stdout.strip() == b"10"
        assert result.stderr == b"Error: whoever read the output has stopped reading\n"

    @pytest.mark.parametrize("verb", ["", "compress", "decompress", "info", "demo", "train", "models"])
    def test_help_is_quick(self, verb: str) -> None:
        def seconds() -> float:
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            return used.ru_utime + used.ru_stime

        took = []
        for _ in range(3):
            before = seconds()
            command = [sys.executable, "-m", "cli.main", *verb.split(), "--help"]
            assert subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
            took.append(seconds() - before)
        assert min(took) < 0.3

    def test_the_installed_command(self, tmp_path: Path) -> None:
        if not (command := shutil.which("lamella", path=str(Path(sys.executable).parent))):
            pytest.skip("lamella is not installed here")
        result = subprocess.run([command, "--version"], cwd=tmp_path, capture_output=True, check=True)
        assert result.stdout == f"lamella, version {codec.__version__}\n".encode()


class TestThin:
    @pytest.fixture
    def lam(self, wav: Path, folder: Path, tiny_preset: Path) -> Path:
        works("compress", "-q", "-m", tiny_preset, "-b", "12k", wav, folder / "full.lam")
        return folder / "full.lam"

    @pytest.mark.parametrize("bitrate", ["1.5k", "3k", "6k", "12k"])
    def test_is_what_compressing_at_that_bitrate_gives(
        self, lam: Path, wav: Path, folder: Path, tiny_preset: Path, bitrate: str
    ) -> None:
        works("thin", "-m", tiny_preset, "-b", bitrate, lam, folder / "thin.lam")
        works("compress", "-q", "-m", tiny_preset, "-b", bitrate, wav, folder / "anew.lam")
        assert (folder / "thin.lam").read_bytes() == (folder / "anew.lam").read_bytes()

    def test_through_a_pipe(self, lam: Path, folder: Path, tiny_preset: Path) -> None:
        works("thin", "-m", tiny_preset, "--codebooks", 4, lam, folder / "thin.lam")
        piped = shell(f"lamella thin -q -m {tiny_preset} --codebooks 4 - - < {lam}", check=True)
        assert piped.stdout == (folder / "thin.lam").read_bytes()

    def test_more_than_there_is(self, lam: Path, folder: Path, tiny_preset: Path) -> None:
        works("thin", "-m", tiny_preset, "-b", "3k", lam, folder / "thin.lam")
        words = fails("thin", "-m", tiny_preset, "-b", "6k", folder / "thin.lam", folder / "more.lam")
        assert "thin.lam: num_codebooks 12, expected 1 to 6" in words
        assert not (folder / "more.lam").exists()

    def test_damage_leaves_no_file(self, lam: Path, folder: Path, tiny_preset: Path) -> None:
        lam.write_bytes(lam.read_bytes()[:-40])
        assert "full.lam: " in fails("thin", "-m", tiny_preset, "-b", "3k", lam, folder / "thin.lam")
        assert not (folder / "thin.lam").exists()

    def test_below_the_base_and_without_a_rate(self, lam: Path, folder: Path, tiny_preset: Path) -> None:
        assert "below 3" in refuses("thin", "-m", tiny_preset, "--codebooks", 2, lam, folder / "thin.lam")
        assert "say how low" in refuses("thin", "-m", tiny_preset, lam, folder / "thin.lam")


class TestQuality:
    @pytest.fixture
    def talk(self, folder: Path) -> Path:
        sound = tone(5.0, 16000)
        sound[16000:64000] = 0
        soundfile.write(folder / "talk.wav", sound, 16000)
        return folder / "talk.wav"

    def test_a_file_and_a_pipe(self, talk: Path, folder: Path, tiny_preset: Path) -> None:
        lam, command = folder / "a.lam", f"lamella compress -q -m {tiny_preset} --quality 6"
        said = works("compress", "-m", tiny_preset, "--quality", 6, talk, lam).stderr
        assert re.search(r"a\.lam: 5\.00 s in \d+ bytes, \d+\.\d\d kbit/s", said)
        assert re.search(r"of 24 codebooks on average, 2 of 6 chunks silent", works("info", lam).stdout)
        assert "whole" in works("verify", lam).stdout
        piped = shell(f"{command} {talk} - | lamella decompress -q -m {tiny_preset} - -", check=True)
        works("decompress", "-m", tiny_preset, lam, folder / "a.wav")
        expected, found = soundfile.read(folder / "a.wav")[0], soundfile.read(io.BytesIO(piped.stdout))[0]
        assert len(found) == len(expected) == 80_000
        assert np.abs(found[36_000:60_000]).max() == 0
        np.testing.assert_allclose(found, expected, atol=1e-3)
        live = shell(f"{command} --live --chunk-ms 100 - - < {talk} | lamella info -", check=True)
        assert b"of 50 chunks silent" in live.stdout or b"of 51 chunks silent" in live.stdout

    def test_thinned(self, talk: Path, folder: Path, tiny_preset: Path) -> None:
        works("compress", "-m", tiny_preset, "--quality", 9, talk, folder / "a.lam")
        works("thin", "-m", tiny_preset, "--codebooks", 4, folder / "a.lam", folder / "b.lam")
        with open(folder / "a.lam", "rb") as one, open(folder / "b.lam", "rb") as other:
            pairs = list(zip(Reader(one), Reader(other), strict=True))
        assert {thin.codes.shape[2] for _, thin in pairs} == {0, 4}
        for whole, thin in pairs:
            np.testing.assert_array_equal(thin.codes, whole.codes[..., :4])

    def test_what_is_refused(self, talk: Path, folder: Path, tiny_preset: Path) -> None:
        names = ("-m", tiny_preset, talk, folder / "a.lam")
        assert "not two of them" in refuses("compress", "--quality", 4, "--bitrate", "6k", *names)
        assert "0<=x<=10" in refuses("compress", "--quality", 11, *names)
        assert "No such option" in refuses("thin", "--quality", 4, *names)


class TestVerify:
    def test_says_what_is_whole(self, folder: Path) -> None:
        shutil.copy(ROOT / "tests" / "golden" / "v1" / "mono.lam", folder / "a.lam")
        shutil.copy(ROOT / "tests" / "golden" / "v1" / "silent.lam", folder / "b.lam")
        lines = works("verify", folder / "a.lam", folder / "b.lam").stdout.splitlines()
        assert [line.split(": ")[1].split(",")[0] for line in lines] == ["whole", "whole"]
        assert works("verify", "--quiet", folder / "a.lam").stdout == ""

    def test_stops_at_the_first_damage_and_says_where(self, folder: Path) -> None:
        good = (ROOT / "tests" / "golden" / "v1" / "mono.lam").read_bytes()
        (folder / "good.lam").write_bytes(good)
        (folder / "bad.lam").write_bytes(good[:60] + bytes([good[60] ^ 1]) + good[61:])
        result = run("verify", folder / "good.lam", folder / "bad.lam", folder / "good.lam")
        assert result.exit_code == 1
        assert result.stdout.count("whole") == 1
        assert "bad.lam: chunk 0 at byte 43 (0.00 s): checksum" in result.stderr

    def test_a_pipe(self) -> None:
        done = shell(f"lamella verify - < {ROOT / 'tests' / 'golden' / 'v1' / 'stereo-live.lam'}", check=True)
        assert b"whole" in done.stdout

    def test_no_file_at_all(self) -> None:
        assert "Missing argument 'FILE...'" in refuses("verify")
