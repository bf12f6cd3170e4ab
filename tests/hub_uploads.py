"""A stand-in for the Hugging Face Hub on loopback that takes uploads of models and serves them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from tests.hub import Handler, Hub, serving

__all__ = ["READER", "WRITER", "Repository", "UploadHub", "upload_hub"]

WRITER = "hf_" + "Wr1te" * 7
READER = "hf_" + "Re4d0" * 7
_LARGE = (".safetensors", ".gguf", ".model")
_COMMIT = hashlib.sha1


@dataclass
class Repository:
    """Files by name; large ones lie in the store of the hub, by their sha256."""

    private: bool
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b"* -text\n"})
    commits: list[str] = field(default_factory=list)

    @property
    def sha(self) -> str:
        """The newest commit."""
        told = repr((sorted(self.files.items()), self.commits))
        return _COMMIT(told.encode()).hexdigest()


@dataclass
class UploadHub(Hub):
    """Repositories by name, and what was sent.

    `faults` gives the status that a request fails with, or None. `arriving` is called before the
    content of a large file is read, with its sha256; if it raises ConnectionError, that is lost.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    store: dict[str, bytes] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    faults: Callable[[str], int | None] = lambda asked: None
    arriving: Callable[[str], None] = lambda oid: None

    def environment(self, home: Path, token: str | None = WRITER) -> dict[str, str]:
        """The same, with a token; without one there is none anywhere."""
        variables = super().environment(home)
        variables["HF_TOKEN"] = token or ""
        return variables


@contextmanager
def upload_hub() -> Iterator[UploadHub]:
    """Take uploads until the block ends. `me` may write, and so may the organisation `us`."""
    hub = UploadHub()

    class OfUploads(_Uploads):
        state = hub

    with serving(hub, OfUploads):
        yield hub


class _Uploads(Handler):
    state: UploadHub

    def take(self, path: str) -> None:
        """Keep a large file if it is what it is said to be."""
        self.state.asked.append(f"PUT {path}")
        oid = path.rpartition("/")[2]
        try:
            self.state.arriving(oid)
        except ConnectionError:
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if status := self.state.faults(f"PUT {path}"):
            self.send(status, b"{}", {})
        elif hashlib.sha256(body).hexdigest() != oid:
            self.send(400, b"{}", {})
        else:
            self.state.store[oid] = body
            self.state.sent.append(oid)
            self.send(200, b"", {})

    def answer(self, path: str, body: bytes) -> None:
        """Check who asks, then answer."""
        asked = f"{self.command} {path}"
        self.state.asked.append(asked)
        self.state.bodies.append(body)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.state.tokens.append(token)
        if status := self.state.faults(asked):
            self._tell(status, {"error": f"fault of {status}"})
        elif token not in (WRITER, READER):
            self._tell(401, {"error": "Invalid credentials in Authorization header"})
        elif path == "/api/whoami-v2":
            role = "write" if token == WRITER else "read"
            access = {"auth": {"accessToken": {"role": role, "displayName": "x"}}}
            self._tell(200, {"name": "me", "type": "user", "orgs": [{"name": "us"}], **access})
        elif path == "/api/validate-yaml":
            self._tell(200, {"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif "/resolve/" in path:
            self._file(path)
        else:
            self._of_repository(path, body)

    def _tell(self, status: int, told: Any, **headers: str) -> None:
        body = json.dumps(told).encode()
        self.send(status, body, {"Content-Type": "application/json", **headers})

    def _create(self, told: dict[str, Any]) -> None:
        name = f"{told.get('organization') or 'me'}/{told['name']}"
        url = f"{self.state.address}/{name}"
        if name.partition("/")[0] not in ("me", "us"):
            self._tell(403, {"error": "You don't have the rights to create a model there"})
        elif name in self.state.repositories:
            self._tell(409, {"error": "You already created this model repo", "url": url})
        else:
            private = told.get("visibility") == "private" or told.get("private") is True
            self.state.repositories[name] = Repository(private)
            self._tell(200, {"url": url, "name": name, "id": name})

    def _of_repository(self, path: str, body: bytes) -> None:
        parts = path.removeprefix("/api/models").strip("/").split("/")
        name = f"{parts[0]}/{parts[1].removesuffix('.git')}" if len(parts) > 1 else ""
        found = self.state.repositories.get(name)
        what = parts[2] if len(parts) > 2 else "revision"
        if found is None:
            self._tell(404, {"error": "Repository not found"}, **{"X-Error-Code": "RepoNotFound"})
        elif what == "revision":
            siblings = [{"rfilename": file} for file in found.files]
            about = {"id": name, "sha": found.sha, "private": found.private, "tags": []}
            self._tell(200, {**about, "siblings": siblings})
        elif what == "tree":
            self._tell(200, [_entry(file, found) for file in found.files])
        elif what == "paths-info":
            wanted = parse_qs(body.decode())["paths"]
            self._tell(200, [_entry(file, found) for file in wanted if file in found.files])
        elif what == "preupload":
            self._tell(200, {"files": [_mode(f, found) for f in json.loads(body)["files"]]})
        elif what == "info":
            self._batch(json.loads(body))
        elif what == "commit":
            self._commit(name, found, [json.loads(line) for line in body.splitlines()])
        else:
            self._tell(404, {"error": f"unknown: {path}"})

    def _batch(self, told: dict[str, Any]) -> None:
        objects = []
        for each in told["objects"]:
            entry = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.state.store:
                href = f"{self.state.address}/lfs/{each['oid']}"
                entry["actions"] = {"upload": {"href": href, "header": {}}}
            objects.append(entry)
        self._tell(200, {"transfer": "basic", "objects": objects})

    def _commit(self, name: str, found: Repository, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            told = line["value"]
            if line["key"] == "file":
                found.files[told["path"]] = base64.b64decode(told["content"])
            elif line["key"] == "lfsFile":
                found.files[told["path"]] = self.state.store[told["oid"]]
            elif line["key"] == "deletedFile":
                del found.files[told["path"]]
        found.commits.append(lines[0]["value"]["summary"])
        url = f"{self.state.address}/{name}/commit/{found.sha}"
        self._tell(200, {"commitUrl": url, "commitOid": found.sha, "success": True})

    def _file(self, path: str) -> None:
        name, _, rest = path.strip("/").partition("/resolve/")
        file = rest.partition("/")[2]
        found = self.state.repositories.get(name)
        if found is None or file not in found.files:
            code = "RepoNotFound" if found is None else "EntryNotFound"
            self.send(404, b"", {"X-Error-Code": code})
            return
        told = _entry(file, found)
        self.send(200, found.files[file], {"ETag": f'"{told["oid"]}"', "X-Repo-Commit": found.sha})


def _entry(file: str, found: Repository) -> dict[str, Any]:
    body = found.files[file]
    blob = _COMMIT(b"blob %d\0" % len(body) + body).hexdigest()
    told: dict[str, Any] = {"type": "file", "path": file, "size": len(body), "oid": blob}
    if file.endswith(_LARGE):
        sha = hashlib.sha256(body).hexdigest()
        told["lfs"] = {"oid": sha, "size": len(body), "pointerSize": 134}
    return told


def _mode(told: dict[str, Any], found: Repository) -> dict[str, Any]:
    large = told["path"].endswith(_LARGE)
    mode: dict[str, Any] = {"path": told["path"], "uploadMode": "lfs" if large else "regular"}
    mode["shouldIgnore"] = False
    if told["path"] in found.files:
        entry = _entry(told["path"], found)
        mode["oid"] = entry["lfs"]["oid"] if large else entry["oid"]
    return mode
