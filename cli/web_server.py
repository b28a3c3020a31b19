"""A web server for this machine alone: the page of an export, and the .lam files of one folder.

It answers GET and HEAD on 127.0.0.1. A request must name this machine, so that no other web site can reach the files
through a name of its own (DNS rebinding). It serves a fixed list of the page's files, and from the folder only files
that end in .lam, by their bare names.
"""

from __future__ import annotations

import http.server
import json
import re
import socketserver
import sys
import urllib.parse
from http import HTTPStatus
from io import BufferedIOBase
from pathlib import Path
from typing import BinaryIO

ADDRESS = "127.0.0.1"
FILES = "/files/"  # where the .lam files of the folder stand
SETTINGS = "/page.json"  # of the page; the server adds the list of files
ENDING = ".lam"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}
HEADERS = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
COPY_BLOCK = 1 << 16  # bytes


class Server(socketserver.ThreadingTCPServer):
    """Serve the page in a folder, and the .lam files of another one.

    Args:
        page: folder that `lamella export --format web` wrote.
        files: folder with .lam files, or None.
        port: 0 takes any free one.

    Raises:
        OSError: the port is in use.
    """

    allow_reuse_address = True
    daemon_threads = True  # a transfer that goes on does not keep the command from ending

    def __init__(self, page: Path, files: Path | None, port: int = 0) -> None:
        self.page = page
        self.page_files = {
            f"/{path.relative_to(page).as_posix()}": path for path in page.rglob("*") if path.is_file()
        }
        self.files = files
        super().__init__((ADDRESS, port), Handler)

    @property
    def port(self) -> int:
        """Return the port that it listens on."""
        return self.socket.getsockname()[1]

    @property
    def url(self) -> str:
        """Return the address of the page."""
        return f"http://{ADDRESS}:{self.port}/"

    def list_files(self) -> list[dict[str, object]]:
        """Return name, address and size of each .lam file in the folder, by name."""
        if self.files is None:
            return []
        names = sorted(path.name for path in self.files.glob(f"*{ENDING}"))
        return [
            {"name": name, "url": FILES[1:] + urllib.parse.quote(name), "bytes": path.stat().st_size}
            for name in names
            if (path := self.find_file(name))
        ]

    def find_file(self, name: str) -> Path | None:
        """Return the path of a .lam file of the folder, or None. A link must not lead out of the folder."""
        if (
            self.files is None
            or not name.endswith(ENDING)
            or name.startswith(".")
            or re.search(r"[/\\\0]", name)
        ):
            return None
        path = (self.files / name).resolve()
        inside = path.is_relative_to(self.files.resolve())
        return path if inside and path.is_file() else None

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over a browser that went away; report anything else as usual."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answer one request."""

    protocol_version = "HTTP/1.1"
    server_version = "lamella"
    sys_version = ""
    timeout = 60  # seconds without a byte
    server: Server

    def do_GET(self) -> None:
        """Answer with headers and content."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer with headers."""
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Print nothing for a request."""

    def _answer(self) -> None:
        if self.headers.get("Host", "") not in self._hosts():
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "only for this machine")
            return
        target = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path, errors="replace")
        target = "/index.html" if target == "/" else target
        path = self._find(target)
        if path is None:
            self.send_error(HTTPStatus.NOT_FOUND)
        elif target == SETTINGS:
            self._send_settings(path)
        else:
            self._send_file(path)

    def _hosts(self) -> set[str]:
        port = self.server.port
        return {f"{name}:{port}" for name in (ADDRESS, "localhost")} | (
            {ADDRESS, "localhost"} if port == 80 else set()
        )

    def _find(self, target: str) -> Path | None:
        if target.startswith(FILES):
            return self.server.find_file(target.removeprefix(FILES))
        return self.server.page_files.get(target)

    def _send_settings(self, path: Path) -> None:
        settings = json.loads(path.read_text(encoding="utf-8"))
        content = json.dumps({**settings, "files": self.server.list_files()}).encode()
        self._send_head(HTTPStatus.OK, TYPES[".json"], len(content))
        if self.command == "GET":
            self.wfile.write(content)

    def _send_file(self, path: Path) -> None:
        try:
            file = path.open("rb")
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with file:
            size = path.stat().st_size
            part = parse_range(self.headers.get("Range"), size)
            if part is None:
                self._send_head(HTTPStatus.OK, _type(path), size)
                part = range(size)
            elif not part:
                self._send_head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, _type(path), 0, f"bytes */{size}")
            else:
                shown = f"bytes {part.start}-{part.stop - 1}/{size}"
                self._send_head(HTTPStatus.PARTIAL_CONTENT, _type(path), len(part), shown)
            if self.command == "GET":
                _copy(file, part, self.wfile)

    def _send_head(self, status: HTTPStatus, content_type: str, size: int, content_range: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(size))
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()

    def end_headers(self) -> None:
        """Add the headers that every answer has."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()


def parse_range(header: str | None, size: int) -> range | None:
    """Return the bytes that a Range header asks for.

    Args:
        header: its value, or None.
        size: of the file.

    Returns:
        A range, empty if it lies outside the file. None means the whole file: no header, or one that is not a single
        range.
    """
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header or "")
    if match is None or match[0] == "bytes=-":
        return None
    if not match[1]:
        return range(max(0, size - int(match[2])), size)
    start = int(match[1])
    stop = min(size, int(match[2]) + 1) if match[2] else size
    if match[2] and int(match[2]) < start:
        return None
    return range(start, stop)


def _type(path: Path) -> str:
    return TYPES.get(path.suffix, "application/octet-stream")


def _copy(file: BinaryIO, part: range, target: BufferedIOBase) -> None:
    file.seek(part.start)
    left = len(part)
    while left and (block := file.read(min(left, COPY_BLOCK))):
        target.write(block)
        left -= len(block)
