"""A server on loopback that speaks the hub's API as its client uses it: model information with hashes, files with
ranges and redirects to a delivery network on another port, refusals, and connections that are cut.

Guarantees that it keeps what was asked of it, so that a test can say what was fetched and who got the token.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from fakes.models import git_oid, sha256

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LFS = (".safetensors", ".bin", "tokenizer.json")


@dataclass
class Repo:
    """One repository."""

    files: dict[str, bytes]
    commit: str = COMMIT
    branches: tuple[str, ...] = ("main", "v1")
    needs: str | None = None
    """Token that may read it."""
    is_gated: bool = False
    """Whether its files ask for consent; what it holds is public all the same, as on the hub."""
    wrong_hash: str | None = None
    """A file whose stated hash is not its own."""


@dataclass
class FakeHub:
    """What the hub holds, how it fails, and what it was asked."""

    repos: dict[str, Repo] = field(default_factory=dict)
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Answers to the next requests, status and headers, instead of the real ones."""
    cuts: dict[str, list[int]] = field(default_factory=dict)
    """For a file: after how many bytes each of the next answers is cut."""
    ignores_ranges: bool = False
    hold: threading.Event | None = None
    """Where set: a file's second half waits for it."""
    held: threading.Event = field(default_factory=threading.Event)
    """Set once an answer waits."""
    sent: Counter[str] = field(default_factory=Counter)
    """Bytes of content by file."""
    asked: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    """Place (`hub` or `cdn`), path, range, authorization."""
    url: str = ""
    cdn_url: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub
    place: str

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.place, path, self.headers.get("Range"), self.headers.get("Authorization")))
        if self.hub.failures:
            status, headers = self.hub.failures.pop(0)
            self._send(status, headers)
        elif self.place == "cdn":
            _, org, name, file = path.split("/", 3)
            self._file(self.hub.repos[f"{org}/{name}"], file)
        elif path.startswith("/api/models/"):
            self._model(path.removeprefix("/api/models/"))
        else:
            self._resolve(path)

    def _send(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refused(self, name: str, *, is_file: bool = True) -> bool:
        repo = self.hub.repos.get(name)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        if token == "expired":
            self._send(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif repo is None or (repo.needs is not None and not repo.is_gated and token != repo.needs):
            self._send(
                404 if token else 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            )
        elif is_file and repo.is_gated and token != repo.needs:
            self._send(403 if token else 401, {"X-Error-Code": "GatedRepo"})
        else:
            return False
        return True

    def _model(self, path: str) -> None:
        name, _, revision = path.partition("/revision/")
        if self._refused(name, is_file=False):
            return
        repo = self.hub.repos[name]
        if revision and revision not in (*repo.branches, repo.commit):
            self._send(404, {"X-Error-Code": "RevisionNotFound"})
            return
        siblings: list[dict[str, Any]] = []
        for file, content in repo.files.items():
            item: dict[str, Any] = {"rfilename": file, "size": len(content), "blobId": git_oid(content)}
            if file.endswith(LFS):
                stated = "0" * 64 if file == repo.wrong_hash else sha256(content)
                item["lfs"] = {"sha256": stated, "size": len(content), "pointerSize": 134}
            siblings.append(item)
        body = {"_id": "1", "id": name, "modelId": name, "sha": repo.commit, "siblings": siblings, "tags": []}
        self._send(200, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def _resolve(self, path: str) -> None:
        org, name, _, revision, file = path.lstrip("/").split("/", 4)
        if self._refused(f"{org}/{name}"):
            return
        repo = self.hub.repos[f"{org}/{name}"]
        if revision != repo.commit or file not in repo.files:
            code = "EntryNotFound" if revision == repo.commit else "RevisionNotFound"
            self._send(404, {"X-Error-Code": code})
        elif file.endswith(LFS):
            marks = {"X-Repo-Commit": repo.commit, "X-Linked-Etag": f'"{sha256(repo.files[file])}"'}
            self._send(302, {**marks, "Location": f"{self.hub.cdn_url}/{org}/{name}/{file}"})
        else:
            self._file(repo, file)

    def _file(self, repo: Repo, file: str) -> None:
        content = repo.files[file]
        asked = self.headers.get("Range")
        first, last = 0, len(content) - 1
        if asked and not self.hub.ignores_ranges:
            begin, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(begin), min(last, int(end) if end else last)
        body = content[first : last + 1]
        self.send_response(206 if asked and not self.hub.ignores_ranges else 200)
        if asked and not self.hub.ignores_ranges:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("ETag", f'"{sha256(content)}"')
        self.send_header("X-Repo-Commit", repo.commit)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        cuts = self.hub.cuts.get(file)
        if cuts:
            body = body[: cuts.pop(0)]
            self.close_connection = True
        half = len(body) // 2 if self.hub.hold is not None and file.endswith(LFS) else len(body)
        self._write(file, body[:half])
        if half < len(body) and self.hub.hold is not None:
            self.hub.held.set()
            self.hub.hold.wait(30)
            self._write(file, body[half:])

    def _write(self, file: str, body: bytes) -> None:
        try:
            self.wfile.write(body)
            self.wfile.flush()
            self.hub.sent[file] += len(body)
        except OSError:  # the client was killed
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Runs the hub and its delivery network on two free ports."""
    servers = []
    for place in ("hub", "cdn"):
        handler = type("Handler", (_Handler,), {"hub": hub, "place": place})
        server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, name=place, daemon=True, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
    hub.url, hub.cdn_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
