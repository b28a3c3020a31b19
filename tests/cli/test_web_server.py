"""The server of `lamella serve`: for this machine alone, and only the page and .lam files."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.web_server import Server, parse_range

TALK = bytes(range(256)) * 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    (folder / "sub").mkdir(parents=True)
    (folder / "talk.lam").write_bytes(TALK)
    (folder / "größer & lauter #1?.lam").write_bytes(b"LAM")
    (folder / "secret.txt").write_bytes(b"secret")
    (folder / ".hidden.lam").write_bytes(b"secret")
    (folder / "sub" / "deep.lam").write_bytes(b"secret")
    (tmp_path / "outside.lam").write_bytes(b"secret")
    (folder / "link.lam").symlink_to(tmp_path / "outside.lam")
    return folder


@pytest.fixture
def server(folder: Path, tmp_path: Path) -> Iterator[Server]:
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("<h1>Lamella</h1>")
    (page / "page.json").write_text('{"runtime": null, "models": ["model/"], "files": []}')
    for name in ("main.js", "loader.mjs", "runtime.wasm", "model.onnx"):
        (page / name).write_bytes(b"content")
    with Server(page, folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(
    server: Server, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def test_the_page_lists_the_lam_files_of_the_folder(server: Server) -> None:
    answer, content = ask(server, "/page.json")
    files = json.loads(content)["files"]
    assert [file["name"] for file in files] == ["größer & lauter #1?.lam", "talk.lam"]
    assert answer.getheader("Content-Type") == "application/json"
    for file in files:
        answer, content = ask(server, "/" + file["url"])
        assert (answer.status, len(content)) == (200, file["bytes"])


def test_the_settings_of_the_page_stay_as_they_were_exported(server: Server) -> None:
    settings = json.loads(ask(server, "/page.json")[1])
    assert settings["models"] == ["model/"] and settings["runtime"] is None


@pytest.mark.parametrize(
    "path",
    [
        "/files/secret.txt",
        "/files/.hidden.lam",
        "/files/link.lam",
        "/files/sub/deep.lam",
        "/files/../outside.lam",
        "/files/..%2Foutside.lam",
        "/files/%2e%2e/outside.lam",
        "/files/sub%5Cdeep.lam",
        "/files/talk.lam%00",
        "/files/",
        "/files",
        "/../outside.lam",
        "//etc/passwd",
        "/recordings/talk.lam",
        "/%FF%FE",
    ],
)
def test_no_other_file_can_be_had(server: Server, path: str) -> None:
    answer, content = ask(server, path)
    assert answer.status == 404
    assert b"secret" not in content


@pytest.mark.parametrize("host", ["example.com", "example.com:80", "127.0.0.1.example.com", "127.0.0.1", ""])
def test_a_request_under_another_name_is_refused(server: Server, host: str) -> None:
    answer, content = ask(server, "/files/talk.lam", Host=host)
    assert answer.status == 421
    assert TALK not in content


def test_localhost_is_this_machine(server: Server) -> None:
    assert ask(server, "/", Host=f"localhost:{server.port}")[0].status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_only_get_and_head_are_answered(server: Server, method: str) -> None:
    assert ask(server, "/files/talk.lam", method)[0].status == 501


def test_head_has_the_headers_of_get_and_no_content(server: Server) -> None:
    head, content = ask(server, "/files/talk.lam", "HEAD")
    get, _ = ask(server, "/files/talk.lam")
    assert content == b""
    assert head.getheader("Content-Length") == get.getheader("Content-Length") == str(len(TALK))
    assert head.getheader("Accept-Ranges") == "bytes"


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        ("bytes=0-9", 206, TALK[:10]),
        ("bytes=5000-", 206, TALK[5000:]),
        ("bytes=-16", 206, TALK[-16:]),
        ("bytes=-99999", 206, TALK),
        ("bytes=10-99999", 206, TALK[10:]),
        ("bytes=5120-", 416, b""),
        ("bytes=9-3", 200, TALK),
        ("bytes=-", 200, TALK),
        ("bytes=0-1,4-5", 200, TALK),
        ("samples=0-1", 200, TALK),
        ("bytes=a-b", 200, TALK),
        (f"bytes={'9' * 30}-", 200, TALK),
    ],
)
def test_a_range_of_a_file_is_sent_for_seeking(server: Server, wanted: str, status: int, part: bytes) -> None:
    answer, content = ask(server, "/files/talk.lam", Range=wanted)
    assert (answer.status, content) == (status, part)
    assert answer.getheader("Content-Length") == str(len(part))


def test_a_range_names_its_place_in_the_file(server: Server) -> None:
    assert (
        ask(server, "/files/talk.lam", Range="bytes=-16")[0].getheader("Content-Range")
        == "bytes 5104-5119/5120"
    )
    assert ask(server, "/files/talk.lam", Range="bytes=5120-")[0].getheader("Content-Range") == "bytes */5120"


def test_an_empty_file_has_no_last_bytes() -> None:
    assert parse_range("bytes=-5", 0) == range(0)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/main.js", "text/javascript; charset=utf-8"),
        ("/loader.mjs", "text/javascript; charset=utf-8"),
        ("/runtime.wasm", "application/wasm"),
        ("/model.onnx", "application/octet-stream"),
        ("/files/talk.lam?x=1", "application/octet-stream"),
    ],
)
def test_files_have_the_type_that_browsers_need(server: Server, path: str, kind: str) -> None:
    answer, _ = ask(server, path)
    assert (answer.status, answer.getheader("Content-Type")) == (200, kind)
    assert answer.getheader("X-Content-Type-Options") == "nosniff"


def test_other_sites_get_no_permission_to_read(server: Server) -> None:
    answer, _ = ask(server, "/files/talk.lam", Origin="https://example.com")
    assert answer.getheader("Access-Control-Allow-Origin") is None
    assert answer.getheader("Cross-Origin-Resource-Policy") == "same-origin"


def test_a_file_that_was_added_is_listed_at_once(server: Server, folder: Path) -> None:
    (folder / "new.lam").write_bytes(b"LAM")
    assert "new.lam" in [file["name"] for file in json.loads(ask(server, "/page.json")[1])["files"]]


def test_without_a_folder_no_files_are_listed(server: Server) -> None:
    server.files = None
    assert json.loads(ask(server, "/page.json")[1])["files"] == []
    assert ask(server, "/files/talk.lam")[0].status == 404
