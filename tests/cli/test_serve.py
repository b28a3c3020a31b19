"""`lamella serve`: starts, says where the page is, and ends on Ctrl-C."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import ROOT, fails, refuses

pytest.importorskip("onnx", reason="pip install 'lamella[onnx]'")


@pytest.fixture
def process(tiny_preset: Path, lam: Path) -> Iterator[subprocess.Popen[str]]:
    arguments = ["serve", str(lam.parent), "--model", str(tiny_preset), "--no-browser"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "cli.main", *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def test_the_page_and_the_files_are_served_until_ctrl_c(process: subprocess.Popen[str], lam: Path) -> None:
    assert process.stderr is not None
    line = process.stderr.readline()
    match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/ \(Ctrl-C ends\)\n", line)
    assert match, line
    connection = http.client.HTTPConnection("127.0.0.1", int(match[1]), timeout=60)
    for path, start in (
        ("/", b"<!doctype html>"),
        ("/page/main.js", b"/**"),
        ("/model/manifest.json", b"{"),
        (f"/files/{lam.name}", b"LAM"),
    ):
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200, path
        assert answer.read().startswith(start), path
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_port_in_use_is_one_clear_line(tiny_preset: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        message = fails("serve", "--model", tiny_preset, "--no-browser", "--port", port)
    assert message == f"Error: port {port}: Address already in use; choose another --port\n"


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refuses("serve", tmp_path / "missing")
