"""A stand-in for the Hugging Face Hub on loopback that serves one data set's files."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["Handler", "Hub", "etag_of", "hub_of", "serving"]


@dataclass
class Hub:
    """Its address, and the requests that came, as `GET /path`."""

    address: str = ""
    asked: list[str] = field(default_factory=list)

    def environment(self, home: Path) -> dict[str, str]:
        """Variables that send a process here, with a cache of its own."""
        return {
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }


@contextmanager
def hub_of(name: str, files: Mapping[str, bytes]) -> Iterator[Hub]:
    """Serve the data set `name` (OWNER/NAME) with these files until the block ends."""
    hub = Hub()
    with serving(hub, _handler(hub, name, files)):
        yield hub


@contextmanager
def serving(hub: Hub, handler: type[BaseHTTPRequestHandler]) -> Iterator[None]:
    """Answer on loopback with this handler, at the hub's address, until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub: Hub, name: str, files: Mapping[str, bytes]) -> type[BaseHTTPRequestHandler]:
    class OfData(Handler):
        def answer(self, path: str, body: bytes) -> None:
            hub.asked.append(f"{self.command} {path}")
            self.serve(_Repository(name, files), path, body)

    return OfData


class _Repository:
    """The files of a data set, and what the Hub says of them."""

    def __init__(self, name: str, files: Mapping[str, bytes]) -> None:
        self.name = name
        self.files = files
        self.commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.tree = [
            {"type": "file", "path": path, "size": len(body), "oid": etag_of(body)}
            for path, body in files.items()
        ]

    def told(self, path: str, body: bytes) -> object:
        """The answer to a question about the repository, or None."""
        api = f"/api/datasets/{self.name}"
        if path in (api, f"{api}/revision/main", f"{api}/revision/{self.commit}"):
            siblings = [{"rfilename": each["path"]} for each in self.tree]
            return {"id": self.name, "sha": self.commit, "siblings": siblings, "tags": []}
        if path.startswith(f"{api}/tree/"):
            # It has no folders.
            return self.tree if path.count("/") == api.count("/") + 2 else []
        if path.startswith(f"{api}/paths-info/"):
            wanted = json.loads(body).get("paths", [])
            return [each for each in self.tree if each["path"] in wanted]
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: the requests are kept."""

    def do_HEAD(self) -> None:
        self.answer(self._asked(), b"")

    def do_GET(self) -> None:
        self.answer(self._asked(), b"")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.answer(self._asked(), self.rfile.read(length))

    def do_PUT(self) -> None:
        self.take(self._asked())

    def _asked(self) -> str:
        return unquote(urlsplit(self.path).path)

    def answer(self, path: str, body: bytes) -> None:
        """Send an answer to what was asked."""
        raise NotImplementedError

    def take(self, path: str) -> None:
        """Take a file that is sent, its content not yet read."""
        raise NotImplementedError

    def serve(self, repository: _Repository, path: str, body: bytes) -> None:
        """Send a file of the repository, or an answer about it."""
        told = repository.told(path, body)
        if told is not None:
            self.send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})
            return
        before, _, file = path.partition("/resolve/")
        found = repository.files.get(file.partition("/")[2])
        if before != f"/datasets/{repository.name}":
            self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif found is None:
            self.send(404, b"", {"X-Error-Code": "EntryNotFound"})
        else:
            headers = {"ETag": f'"{etag_of(found)}"', "X-Repo-Commit": repository.commit}
            self.send(200, found, headers)

    def send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def etag_of(body: bytes) -> str:
    """What tells one content of a file from another."""
    return hashlib.sha1(body).hexdigest()
